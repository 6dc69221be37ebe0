"""Whatever a record holds, it arrives as one record, or as one line that says why it does not."""

from __future__ import annotations

import json
import logging
import random
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quartblog.delivery import Delivery, FileOptions, MailOptions, QueueOptions, scope
from tests.support.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


logger = logging.getLogger("tests.delivery.hostile")

BEGINNING = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?:INFO|ERROR): .*$", re.MULTILINE)
HERE = f"[in {__file__}:"
"""In each line of ours; the delivery has some of its own."""
FORGED = "2026-01-01 00:00:00,000 ERROR: forged [in x.py:1]"
HEADERS = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "List-Id",
    "References",
}
TEXTS = [
    f"\n{FORGED}",
    f"\r\n{FORGED}",
    f"\u2028{FORGED}",
    "\x1b[2J\x07\x00\x7f",
    "lone \ud800 surrogate \udfff",
    "Subject: forged\r\nBcc: everybody@example.com\r\n\r\nbody",
    "\r\n.\r\nMAIL FROM:<x@example.com>",
    "%s %d %(name)s %",
    "{0} {name} {",
    "\u202ereversed",
    "\u200eun\u200bseen\ufeff \U000e0041",
    "=?utf-8?q?=0A=0AAll_is_well?=",
    "=?utf-8?q?a=0ABcc:_x?=",
    "",
    "a" * 100_000,
    "]\n" * 300,
]


class Raising:
    def __str__(self) -> str:
        raise RuntimeError("I will not be logged")

    __repr__ = __str__


class Lying(str):
    __slots__ = ()

    def __str__(self) -> str:
        return Lying("not what it seems\n")

    def __len__(self) -> int:
        raise RuntimeError


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("nor will I")


class Deceiving(Exception):
    __notes__: Any = property(lambda self: 1 / 0)
    __cause__ = property(lambda self: 1 / 0)


class Homeless(type):
    """A class of classes that will not say where they are from."""

    __module__: Any = property(lambda self: 1 / 0)


class Anonymous(Exception, metaclass=Homeless):
    pass


ANYTHING: list[Any] = [*TEXTS, Raising(), Lying("x"), None, 10**400, object(), b"\xff\n", [Raising()], {"a": TEXTS[:8]}]
ENCODED = [text for text in TEXTS if "=?" in text]
ERRORS: list[Callable[[Any], BaseException]] = [
    ValueError,
    KeyError,
    lambda _: Speechless(),
    lambda _: Deceiving(),
    lambda _: Anonymous(),
    lambda what: ExceptionGroup("several\n", [ValueError(what), Speechless()]),
    lambda what: SyntaxError(what, ("x.py\n", 3, 1, f"{FORGED}\n")),
]


def log(template: Any, argument: Any, error: BaseException | None) -> None:
    """One record, and never an exception."""
    with scope(method=str(template)[:20] if isinstance(template, str) else None) as work:
        work.hide(lambda: [template] if isinstance(template, str) else [])
        logger.info("before %s", argument)
        logger.error(template, argument, exc_info=error)


def caught(error: BaseException) -> BaseException:
    try:
        raise error  # noqa: TRY301  it is to have a traceback
    except BaseException as raised:  # noqa: BLE001  whatever it is
        return raised


@contextmanager
def running(path: Path, **options: Any) -> Iterator[Delivery]:
    """A delivery with room for every record, alone on the root logger: pytest fails for a record it cannot format."""
    file = FileOptions(path=path, max_bytes=10**9, format=options.pop("format", "text"))
    others = logging.root.handlers[:]
    logging.root.handlers.clear()
    try:
        with Delivery(queue=QueueOptions(size=1_000_000), file=file, **options) as delivery:
            yield delivery
    finally:
        logging.root.handlers[:] = others


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(ANYTHING) | st.text(max_size=50),
            st.sampled_from(ANYTHING) | st.text(max_size=50) | st.integers(),
            st.none()
            | st.builds(lambda make, what: caught(make(what)), st.sampled_from(ERRORS), st.sampled_from(TEXTS)),
        ),
        min_size=1,
        max_size=40,
    )
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_any_record_arrives_as_one(tmp_path: Path, form: str, records: list[tuple[Any, Any, Any]]) -> None:
    path = tmp_path / f"{form}.log"
    path.unlink(missing_ok=True)
    with running(path, format=form) as delivery:
        for record in records:
            log(*record)
        assert delivery.drain(30)
        figures = delivery.statistics()

    written = path.read_text("utf-8")
    if form == "json":
        lines = [f"[in {json.loads(line)['path']}:" for line in written.splitlines()]
    else:
        lines = BEGINNING.findall(written)
    assert len(lines) == figures.written
    assert sum(HERE in line for line in lines) == 2 * len(records)
    assert figures.grouped == len(records)
    assert not figures.refused
    assert figures.file_lost == 0


@pytest.mark.parametrize("records", [5_000, pytest.param(30_000, marks=pytest.mark.server)])
def test_thousands_of_hostile_records_all_arrive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], records: int
) -> None:
    chance = random.Random(4711)
    errors = [caught(make(text)) for make in ERRORS for text in TEXTS[:8]]
    short = [one for one in ANYTHING if not isinstance(one, str) or type(one) is not str or len(one) < 1_000]
    with running(tmp_path / "site.log") as delivery:
        for _ in range(records):
            logger.error(chance.choice(short), chance.choice(short), exc_info=chance.choice([None, *errors]))
        assert delivery.drain(60)
        figures = delivery.statistics()

    lines = BEGINNING.findall((tmp_path / "site.log").read_text("utf-8"))
    assert len(lines) == figures.written
    assert figures.grouped == sum(HERE in line for line in lines) == records
    assert "failed" not in capsys.readouterr().err


def test_ten_megabytes_are_shortened_and_said_so(tmp_path: Path) -> None:
    huge = "a" * 10_000_000
    with running(tmp_path / "site.log") as delivery:
        log("%s", huge, caught(ValueError(huge)))
        assert delivery.drain(30)

    text = (tmp_path / "site.log").read_text()
    assert len(text) < 500_000
    assert text.count("characters left out") == 3


def test_no_mail_has_a_header_that_we_did_not_write(
    tmp_path: Path, accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    with running(tmp_path / "site.log", mail=mail_to(accepting_server)) as delivery:
        for text in TEXTS:
            logger.error(text)
            logger.error("%s", text, exc_info=caught(ValueError(text)))
        assert delivery.drain(30, mail=True)

    assert accepting_server.messages
    for mail in accepting_server.messages:
        assert set(mail.keys()) <= HEADERS
        assert all(mail.get_all(name) == [mail[name]] for name in mail)
        assert "\n" not in mail["Subject"]
    assert all(
        set(to) == {"ada@example.org", "grace@example.org", "linus@example.org"} for to in accepting_server.recipients
    )


@pytest.mark.parametrize("text", ENCODED)
def test_an_encoded_word_in_a_failure_of_any_site_reaches_the_reader_as_it_was_typed(
    tmp_path: Path, accepting_server: MailServer, mail_to: Callable[..., MailOptions], text: str
) -> None:
    options = mail_to(accepting_server, site=text, sender=f"{text} <blog@example.org>")
    with running(tmp_path / "site.log", mail=options) as delivery:
        logger.error("it failed", exc_info=caught(ValueError(text)))
        assert delivery.drain(30, mail=True)

    [mail] = accepting_server.messages
    body = mail.get_body(["plain"])
    assert set(mail.keys()) <= HEADERS
    assert mail["Subject"].startswith(f"ValueError: {text} ({text} on ")
    assert mail["Subject"].endswith(", 1 error)")
    assert mail["From"].addresses[0].display_name == text
    assert body is not None
    assert f"ValueError: {text}" in body.get_content().splitlines()
