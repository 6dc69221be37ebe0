"""The microblog on Starlette: SQLAlchemy's async sessions, Jinja, a signed session cookie; served by uvicorn.

`python -m …starlette_blog` in an empty folder makes the database. BLOG_DATABASE is the URL of another one.
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from sqlalchemy import DateTime, ForeignKey, String, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates
from werkzeug.security import check_password_hash, generate_password_hash
from wtforms import BooleanField, Form, PasswordField, StringField, TextAreaField
from wtforms.validators import DataRequired, Length

from tests.benchmarks.peers.microblogs import content

engine = create_async_engine(os.environ.get("BLOG_DATABASE") or f"sqlite+aiosqlite:///{Path.cwd() / 'blog.sqlite3'}")
sessions = async_sessionmaker(engine, expire_on_commit=False)
templates = Jinja2Templates(env=Environment(loader=FileSystemLoader(content.TEMPLATES), autoescape=True))
templates.env.filters.update(ago=content.ago, avatar=content.avatar)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012  SQLAlchemy's own form


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    about_me: Mapped[str] = mapped_column(String(140))
    last_seen: Mapped[datetime]


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    body: Mapped[str] = mapped_column(String(140))
    created_at: Mapped[datetime]
    author: Mapped[User] = relationship()


class LoginForm(Form):
    username = StringField("用户名", [DataRequired()])
    password = PasswordField("密码", [DataRequired()])
    remember_me = BooleanField("记住我")


class PublishForm(Form):
    body = TextAreaField("说点什么", [DataRequired(), Length(max=140)], render_kw={"rows": 3})


class ProfileForm(Form):
    username = StringField("用户名", [DataRequired(), Length(max=64)])
    about_me = TextAreaField("关于我", [Length(max=140)], render_kw={"rows": 4})


async def visitor_of(request: Request, session: AsyncSession) -> User | None:
    key = request.session.get("user")
    return None if key is None else await session.get(User, key)


async def timeline(request: Request, session: AsyncSession, author: User | None = None) -> dict[str, Any]:
    query = select(Post).options(joinedload(Post.author)).order_by(Post.id.desc()).limit(content.PAGE_SIZE + 1)
    if author is not None:
        query = query.where(Post.author_id == author.id)
    if before := request.query_params.get("before"):
        query = query.where(Post.id < int(before))
    posts = (await session.scalars(query)).all()
    shown = posts[: content.PAGE_SIZE]
    return {"posts": shown, "older": shown[-1].id if len(posts) > len(shown) else None}


def page(request: Request, template: str, **values: Any) -> Response:
    messages = [request.session.pop("message")] if "message" in request.session else []
    return templates.TemplateResponse(request, template, {"messages": messages, **values})


async def home(request: Request) -> Response:
    async with sessions() as session:
        visitor = await visitor_of(request, session)
        posts = await timeline(request, session)
    form = PublishForm() if visitor else None
    return page(request, "home.html", title="首页", visitor=visitor, form=form, **posts)


async def person(request: Request) -> Response:
    async with sessions() as session:
        visitor = await visitor_of(request, session)
        found = await session.scalar(select(User).where(User.username == request.path_params["username"]))
        if found is None:
            raise HTTPException(404)
        posts = await timeline(request, session, found)
    return page(request, "person.html", title=found.username, visitor=visitor, person=found, **posts)


async def login(request: Request) -> Response:
    form = LoginForm(formdata=await request.form() if request.method == "POST" else None)
    if request.method == "POST" and form.validate():
        async with sessions() as session:
            found = await session.scalar(select(User).where(User.username == form.username.data))
        if found is not None and check_password_hash(found.password_hash, form.password.data or ""):
            request.session["user"] = found.id
            return RedirectResponse("/", 302)
    return page(request, "form.html", title="登录", form=form)


async def edit(request: Request) -> Response:
    async with sessions() as session:
        visitor = await visitor_of(request, session)
        if visitor is None:
            return RedirectResponse("/login", 302)
        form = ProfileForm(formdata=await request.form() if request.method == "POST" else None, obj=visitor)
        if request.method == "POST" and form.validate():
            visitor.username = form.username.data or ""
            visitor.about_me = form.about_me.data or ""
            await session.commit()
            request.session["message"] = "您的修改已保存"
            return RedirectResponse("/user/edit", 302)
    return page(request, "form.html", title="编辑个人资料", visitor=visitor, form=form)


async def hello(_request: Request) -> Response:
    return PlainTextResponse("Hello, World!")


app = Starlette(
    routes=[
        Route("/", home),
        Route("/user/info/{username}", person),
        Route("/login", login, methods=["GET", "POST"]),
        Route("/user/edit", edit, methods=["GET", "POST"]),
        Route("/hello", hello),
    ],
    middleware=[Middleware(SessionMiddleware, secret_key="only for a benchmark")],
)


async def fill() -> None:
    """Make the database."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        if engine.dialect.name == "sqlite":
            await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    secret = generate_password_hash(content.PASSWORD, "pbkdf2:sha256:1")
    async with sessions() as session:
        people = [
            User(username=name, password_hash=secret, about_me="About me.", last_seen=datetime.now(UTC))
            for name in content.names()
        ]
        session.add_all(people)
        session.add_all(
            Post(author=people[number % len(people)], body=body[:140], created_at=content.written_at(number))
            for number, body in enumerate(content.bodies())
        )
        await session.commit()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(fill())
