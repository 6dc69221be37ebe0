"""What a visitor sends is in no sink: not in the file, the mail, the outbox, on stderr or in anybody's own handler."""

import base64
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NoReturn

import pytest
from quart import Quart, request
from sqlalchemy import text

from quartblog.app import create_app
from quartblog.database import transaction
from quartblog.delivery import Delivery
from quartblog.operations.health import DELIVERY
from quartblog.settings import Settings
from quartblog.web.origin import from_anywhere
from tests.support.browsing import FROM_OURSELVES, Configuration, Visitor
from tests.support.smtp import MailServer

PASSWORD = "sesame-open-4711"
COOKIE = "cookie-value-4712"
TOKEN = "bearer-token-4713"
BASIC = "basic-password-4714"
QUERY = "query value 4715/ä"
FIELD = "typed\r\nin-a-field-4716"
EMAIL = "stranger@elsewhere.example"
PATH = "somebody-4717"
SHORT_PASSWORD = "Z~7"
PARAMETER = "parameter-4718@elsewhere.example"
CANARIES = [
    PASSWORD,
    SHORT_PASSWORD,
    COOKIE,
    TOKEN,
    BASIC,
    QUERY,
    "query+value+4715",
    "in-a-field-4716",
    EMAIL,
    PATH,
    "parameter-4718",
]

Shape = Callable[[str], NoReturn]


class Bug(Exception):
    """What nobody expected."""


def plainly(told: str) -> NoReturn:
    raise Bug(told)


def by_repr(told: str) -> NoReturn:
    raise Bug(repr(told))


def chained(told: str) -> NoReturn:
    try:
        raise Bug(told)  # noqa: TRY301  an exception in an exception is the point
    except Bug as error:
        raise LookupError(f"because of {told}") from error


def in_context(told: str) -> NoReturn:
    try:
        raise Bug(told)  # noqa: TRY301  an exception in an exception is the point
    except Bug:
        raise LookupError("meanwhile")  # noqa: B904  the implicit chain is the point


def grouped(told: str) -> NoReturn:
    raise ExceptionGroup(told, [Bug(told), ExceptionGroup("inside", [ValueError(told)])])


def in_a_note(told: str) -> NoReturn:
    error = Bug("see below")
    error.add_note(f"It was {told}")
    raise error


def as_a_key(told: str) -> NoReturn:
    raise KeyError(told)


def as_code(told: str) -> NoReturn:
    compile(f"{told!r} = = 1", told, "exec")
    raise AssertionError


SHAPES: list[Shape] = [plainly, by_repr, chained, in_context, grouped, in_a_note, as_a_key, as_code]


class Everything:
    """All that left the process, as text."""

    def __init__(self, app: Quart, server: MailServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.app, self._server, self._folder, self._capsys = app, server, folder, capsys
        self.delivery: Delivery = app.extensions[DELIVERY]

    def sinks(self) -> dict[str, str]:
        """By the name of the sink; a mail as it was sent and as it is read."""
        assert self.delivery.drain(10, mail=True)
        found = {
            str(path.relative_to(self._folder)): path.read_bytes().decode("utf-8", "replace")
            for path in self._folder.rglob("*")
            if path.is_file() and "quartblog.sqlite3" not in path.name
        }
        found["mail"] = "\n".join(f"{mail.subject}\n{mail.text}" for mail in self._server.mails)
        found["stderr"] = "".join(self._capsys.readouterr())
        return found

    def tells(self, words: str) -> set[str]:
        """The sinks that hold these words."""
        return {name for name, content in self.sinks().items() if words in content}


@pytest.fixture
def log_format() -> str:
    return "text"


@pytest.fixture
async def everything(
    configuration: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str], log_format: str
) -> AsyncIterator[Everything]:
    extra = logging.FileHandler(tmp_path / "extra.log")
    extra.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    with MailServer() as server:
        configuration["logging"]["format"] = log_format
        app = create_app(Settings.model_validate(configuration | {"mail": server.settings}))
        app.extensions[DELIVERY]._extra_sinks = (extra,)

        @app.route("/fail/<shape>/<name>", methods=["GET", "POST"])
        async def fail(shape: str, name: str) -> NoReturn:
            form = await request.form
            told = [*request.cookies.values(), *request.args.values(), *form.values(), name, EMAIL, QUERY_STRING()]
            if request.authorization:
                told += [str(request.authorization.token), str(request.authorization.password)]
            for value in told:
                app.logger.info("Looking for %s", value)
            app.logger.warning(f"odd: {' '.join(map(str, told))}")  # noqa: G004  as people write it
            if shape == "in_the_database":
                async with transaction() as session:
                    await session.execute(text("INSERT INTO nothing VALUES (:it)"), {"it": PARAMETER})
            next(one for one in SHAPES if one.__name__ == shape)(" and ".join(map(str, told)))

        def QUERY_STRING() -> str:  # noqa: N802  it is the request's
            return request.query_string.decode()

        async with app.test_app():
            yield Everything(app, server, tmp_path, capsys)
    extra.close()


async def send(everything: Everything, shape: str, authorization: str) -> str:
    visitor = Visitor(everything.app)
    visitor.set_cookie("theirs", COOKIE)
    page = await visitor.client.post(
        f"/fail/{shape}/{PATH}",
        query_string={"q": QUERY},
        form={
            "password": PASSWORD,
            "password2": SHORT_PASSWORD,
            "about_me": FIELD,
            "email": EMAIL,
            "remember_me": "y",
        },
        headers={"Authorization": authorization} | FROM_OURSELVES,
    )
    assert page.status_code == 500
    return page.headers["X-Error-Id"]


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"ada:{password}".encode()).decode()


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", basic(BASIC)])
@pytest.mark.parametrize("shape", [*(shape.__name__ for shape in SHAPES), "in_the_database"])
async def test_no_sink_tells_what_the_visitor_sent(everything: Everything, shape: str, authorization: str) -> None:
    error_id = await send(everything, shape, authorization)

    sinks = everything.sinks()
    assert [(name, canary) for name, content in sinks.items() for canary in CANARIES if canary in content] == []
    assert all("[redacted]" in sinks[name] for name in ("logs/microblog.log", "extra.log", "mail"))
    assert all(error_id in sinks[name] for name in ("logs/microblog.log", "mail"))


async def test_what_is_no_visitors_is_told_in_every_sink(everything: Everything) -> None:
    await send(everything, "plainly", "")

    assert everything.tells("Bug: ") >= {"logs/microblog.log", "extra.log", "mail"}
    assert everything.tells("raise Bug(told)") >= {"logs/microblog.log", "extra.log", "mail"}
    assert everything.tells("Exception on request POST /fail/<shape>/<name>") >= {"logs/microblog.log", "mail"}


async def test_a_ticked_box_takes_no_word_out_of_a_record(everything: Everything) -> None:
    await send(everything, "plainly", "")

    assert everything.tells(" and y and ") >= {"logs/microblog.log", "extra.log", "mail"}


async def test_a_short_name_in_the_path_takes_no_word_out_of_a_record(everything: Everything) -> None:
    app = everything.app

    @app.get("/short/<name>")
    async def short(name: str) -> str:
        raise Bug("neither is this a word")

    await Visitor(app).get("/short/a")

    assert everything.tells("neither is this a word") >= {"logs/microblog.log", "mail"}


async def test_of_json_that_a_view_parses_no_value_is_told(everything: Everything) -> None:
    app = everything.app

    @app.post("/json")
    @from_anywhere
    async def parse() -> NoReturn:
        document = await request.get_json()
        raise Bug(f"{document} and {document['deep'][0]['password']}")

    page = await Visitor(app).client.post("/json", json={"email": EMAIL, "deep": [{"password": SHORT_PASSWORD}]})

    assert page.status_code == 500
    assert everything.tells("Bug: ") >= {"logs/microblog.log", "extra.log", "mail"}
    assert not everything.tells(EMAIL) | everything.tells(SHORT_PASSWORD)


async def test_the_operators_own_addresses_stay_readable(everything: Everything) -> None:
    logging.getLogger("tests").error("ask ada@example.org, not ada@example.com")

    assert "ask ada@example.org, not [redacted]" in everything.sinks()["logs/microblog.log"]


async def test_a_sign_in_token_is_hidden_though_the_cookie_signs_it(
    everything: Everything, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def fail(_: object, token: str, __: object) -> NoReturn:
        seen.append(token)
        raise Bug(f"no row for {token}")

    visitor = Visitor(everything.app)
    await visitor.submit(
        "/register", username="lin", email="lin@example.com", password="long enough 1", password2="long enough 1"
    )
    await visitor.submit("/login", username="lin", password="long enough 1")
    monkeypatch.setattr("quartblog.auth.service.by_token", fail)
    await visitor.get("/")

    assert seen
    assert everything.tells("no row for [redacted]")
    assert not everything.tells(seen[0])
