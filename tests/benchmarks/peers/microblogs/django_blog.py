"""The microblog on Django: its ORM, its users and sessions, its templates; served by gunicorn.

`python -m …django_blog` in an empty folder makes the database.
"""

from __future__ import annotations

import sys
from pathlib import Path

import django
from django.conf import settings

if not settings.configured:
    settings.configure(
        SECRET_KEY="only for a benchmark",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": Path.cwd() / "blog.sqlite3",
                "CONN_MAX_AGE": None,
            }
        },
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "django.contrib.messages",
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [Path(__file__).parent / "templates"],
                "OPTIONS": {
                    "builtins": ["tests.benchmarks.peers.microblogs.django_filters"],
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ],
                },
            }
        ],
    )
    django.setup()

from django import forms
from django.contrib import messages
from django.contrib.auth import authenticate
from django.contrib.auth import login as sign_in
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection, models, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils import timezone

from tests.benchmarks.peers.microblogs import content


class Profile(models.Model):
    user = models.OneToOneField(User, models.CASCADE, primary_key=True)
    about_me = models.CharField(max_length=140, blank=True)
    last_seen = models.DateTimeField()

    class Meta:
        app_label = "auth"


class Post(models.Model):
    author = models.ForeignKey(User, models.CASCADE)
    body = models.CharField(max_length=140)
    created_at = models.DateTimeField()

    class Meta:
        app_label = "auth"


class LoginForm(forms.Form):
    username = forms.CharField(label="用户名")
    password = forms.CharField(label="密码", widget=forms.PasswordInput)
    remember_me = forms.BooleanField(label="记住我", required=False)


class PublishForm(forms.Form):
    body = forms.CharField(label="说点什么", max_length=140, widget=forms.Textarea(attrs={"rows": 3}))


class ProfileForm(forms.Form):
    username = forms.CharField(label="用户名", max_length=64)
    about_me = forms.CharField(label="关于我", max_length=140, required=False, widget=forms.Textarea(attrs={"rows": 4}))


def page(request: HttpRequest, template: str, **values: object) -> HttpResponse:
    visitor = request.user if request.user.is_authenticated else None
    context = {"visitor": visitor, "token_name": "csrfmiddlewaretoken", **values}
    return render(request, template, context)


def timeline(request: HttpRequest, author: User | None = None) -> dict[str, object]:
    query = Post.objects.select_related("author").order_by("-id")
    if author is not None:
        query = query.filter(author=author)
    if before := request.GET.get("before"):
        query = query.filter(id__lt=int(before))
    posts = list(query[: content.PAGE_SIZE + 1])
    shown = posts[: content.PAGE_SIZE]
    return {"posts": shown, "older": shown[-1].id if len(posts) > len(shown) else None}


def home(request: HttpRequest) -> HttpResponse:
    form = PublishForm() if request.user.is_authenticated else None
    return page(request, "home.html", title="首页", form=form, **timeline(request))


def person(request: HttpRequest, username: str) -> HttpResponse:
    found = get_object_or_404(User.objects.select_related("profile"), username=username)
    shown = {"username": found.username, "about_me": found.profile.about_me, "last_seen": found.profile.last_seen}
    return page(request, "person.html", title=found.username, person=shown, **timeline(request, found))


def login(request: HttpRequest) -> HttpResponse:
    form = LoginForm(request.POST or None)
    if form.is_valid():
        user = authenticate(request, username=form.cleaned_data["username"], password=form.cleaned_data["password"])
        if user is not None:
            sign_in(request, user)
            return redirect("/")
    return page(request, "form.html", title="登录", form=form)


@login_required
def edit(request: HttpRequest) -> HttpResponse:
    user = request.user
    before = {"username": user.username, "about_me": user.profile.about_me}
    form = ProfileForm(request.POST or None, initial=before)
    if form.is_valid():
        with transaction.atomic():
            user.username = form.cleaned_data["username"]
            user.save(update_fields=["username"])
            user.profile.about_me = form.cleaned_data["about_me"]
            user.profile.save(update_fields=["about_me"])
        messages.success(request, "您的修改已保存")
        return redirect("/user/edit")
    return page(request, "form.html", title="编辑个人资料", form=form)


def hello(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("Hello, World!", content_type="text/plain; charset=utf-8")


urlpatterns = [
    path("", home),
    path("user/info/<username>", person),
    path("login", login),
    path("user/edit", edit),
    path("hello", hello),
]
app = get_wsgi_application()


def fill() -> None:
    """Make the database in the current folder."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    with connection.schema_editor() as schema:
        for model in (Profile, Post):
            schema.create_model(model)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")
    people = [User.objects.create_user(name, password=content.PASSWORD) for name in content.names()]
    Profile.objects.bulk_create(Profile(user=one, about_me="About me.", last_seen=timezone.now()) for one in people)
    Post.objects.bulk_create(
        Post(author=people[number % len(people)], body=body[:140], created_at=content.written_at(number))
        for number, body in enumerate(content.bodies())
    )


if __name__ == "__main__":
    # Django names a model after its module: it must be the same one that the server imports.
    sys.modules["tests.benchmarks.peers.microblogs.django_blog"] = sys.modules["__main__"]
    fill()
