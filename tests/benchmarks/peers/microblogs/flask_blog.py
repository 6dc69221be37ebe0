"""The microblog on Flask: Flask-SQLAlchemy, Flask-Login, Flask-WTF; served by gunicorn.

`python -m …flask_blog` in an empty folder makes the database.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from flask import Flask, abort, flash, get_flashed_messages, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect, FlaskForm
from flask_wtf.csrf import generate_csrf
from sqlalchemy import ForeignKey, String, select
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship
from werkzeug.security import check_password_hash, generate_password_hash
from wtforms import BooleanField, PasswordField, StringField, TextAreaField
from wtforms.validators import DataRequired, Length

from tests.benchmarks.peers.microblogs import content

app = Flask(__name__, template_folder=str(content.TEMPLATES))
app.config.update(SECRET_KEY="only for a benchmark", SQLALCHEMY_DATABASE_URI=f"sqlite:///{Path.cwd() / 'blog.sqlite3'}")
app.jinja_env.filters.update(ago=content.ago, avatar=content.avatar)
db = SQLAlchemy(app)
CSRFProtect(app)
logins = LoginManager(app)
logins.login_view = "login"


class User(db.Model, UserMixin):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    about_me: Mapped[str] = mapped_column(String(140))
    last_seen: Mapped[datetime]


class Post(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    body: Mapped[str] = mapped_column(String(140))
    created_at: Mapped[datetime]
    author: Mapped[User] = relationship()


class LoginForm(FlaskForm):
    username = StringField("用户名", [DataRequired()])
    password = PasswordField("密码", [DataRequired()])
    remember_me = BooleanField("记住我")


class PublishForm(FlaskForm):
    body = TextAreaField("说点什么", [DataRequired(), Length(max=140)], render_kw={"rows": 3})


class ProfileForm(FlaskForm):
    username = StringField("用户名", [DataRequired(), Length(max=64)])
    about_me = TextAreaField("关于我", [Length(max=140)], render_kw={"rows": 4})


@logins.user_loader  # type: ignore[untyped-decorator]
def load(key: str) -> User | None:
    return db.session.get(User, int(key))


class Token:
    """Made when a template shows it: a page without a form needs none, and no cookie for it."""

    def __str__(self) -> str:
        return generate_csrf()


def page(template: str, **values: object) -> str:
    visitor = current_user if current_user.is_authenticated else None
    return render_template(
        template,
        visitor=visitor,
        token_name="csrf_token",
        csrf_token=Token(),
        messages=get_flashed_messages(),
        **values,
    )


def timeline(author: User | None = None) -> dict[str, object]:
    query = select(Post).options(joinedload(Post.author)).order_by(Post.id.desc()).limit(content.PAGE_SIZE + 1)
    if author is not None:
        query = query.where(Post.author_id == author.id)
    if before := request.args.get("before", type=int):
        query = query.where(Post.id < before)
    posts = db.session.scalars(query).all()
    shown = posts[: content.PAGE_SIZE]
    return {"posts": shown, "older": shown[-1].id if len(posts) > len(shown) else None}


@app.get("/")
def home() -> ResponseReturnValue:
    form = PublishForm() if current_user.is_authenticated else None
    return page("home.html", title="首页", form=form, **timeline())


@app.get("/user/info/<username>")
def person(username: str) -> ResponseReturnValue:
    found = db.session.scalar(select(User).where(User.username == username)) or abort(404)
    return page("person.html", title=found.username, person=found, **timeline(found))


@app.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    form = LoginForm()
    if form.validate_on_submit():
        found = db.session.scalar(select(User).where(User.username == form.username.data))
        if found is not None and check_password_hash(found.password_hash, form.password.data or ""):
            login_user(found)
            return redirect("/")
    return page("form.html", title="登录", form=form)


@app.route("/user/edit", methods=["GET", "POST"])
@login_required  # type: ignore[untyped-decorator]
def edit() -> ResponseReturnValue:
    form = ProfileForm(obj=current_user)
    if form.validate_on_submit():
        current_user.username = form.username.data
        current_user.about_me = form.about_me.data
        db.session.commit()
        flash("您的修改已保存")
        return redirect("/user/edit")
    return page("form.html", title="编辑个人资料", form=form)


@app.get("/hello")
def hello() -> ResponseReturnValue:
    return "Hello, World!", {"Content-Type": "text/plain; charset=utf-8"}


def fill() -> None:
    """Make the database in the current folder."""
    with app.app_context():
        db.create_all()
        db.session.connection().exec_driver_sql("PRAGMA journal_mode=WAL")
        secret = generate_password_hash(content.PASSWORD, "pbkdf2:sha256:1")
        people = [
            User(username=name, password_hash=secret, about_me="About me.", last_seen=datetime.now(UTC))
            for name in content.names()
        ]
        db.session.add_all(people)
        db.session.add_all(
            Post(author=people[number % len(people)], body=body[:140], created_at=content.written_at(number))
            for number, body in enumerate(content.bodies())
        )
        db.session.commit()


if __name__ == "__main__":
    fill()
