"""Whatever one record holds, those around it arrive, and what is counted is what arrived."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import pickle
import re
import signal
import sys
import threading
from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quartblog.delivery import Delivery, FileOptions, MailingOptions, MailOptions, Outbox, OutboxOptions, scope
from quartblog.delivery.capture.handler import BoundedQueueHandler
from quartblog.delivery.options import QueueOptions
from quartblog.delivery.statistics import Statistics
from tests.support.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


logger = logging.getLogger("tests.delivery.odd")

GOOD = 100
RAISED: list[type[BaseException]] = [
    RuntimeError,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    RecursionError,
    MemoryError,
    StopIteration,
]


def raising(kind: type[BaseException]) -> Any:
    """An object that raises this from whatever Python asks it."""

    def refuse(*_: Any) -> Any:
        raise kind

    names = ("str", "repr", "eq", "hash", "format", "bool", "len", "int", "index", "lt", "ge", "iter", "getattr")
    return type("Refusing", (), {f"__{name}__": refuse for name in names})()


class NoText:
    """Its texts are none."""

    def __str__(self) -> Any:
        return 7  # noqa: PLE0307  that is what is odd

    __repr__ = __str__


class Lying(str):
    """A text that changes while it is looked at."""

    __slots__ = ()

    def __str__(self) -> str:
        return Lying("another")

    def __eq__(self, _: object) -> bool:
        raise SystemExit

    __hash__ = str.__hash__

    def startswith(self, *_: Any) -> bool:
        raise SystemExit

    def __len__(self) -> int:
        raise SystemExit


class Level(IntEnum):
    """As people number theirs."""

    BAD = 45


class Braces(logging.LogRecord):
    """As a library makes records that are formatted another way."""

    def getMessage(self) -> str:  # noqa: N802  logging's name
        return str(self.msg).format(*(self.args or ()))


class Nosy(logging.LogRecord):
    """Answers with something else than a text."""

    def getMessage(self) -> str:  # noqa: N802  logging's name
        return 7  # type: ignore[return-value]  # that is what is odd


class Homeless(type):
    """A class of classes that raises whatever it is asked."""

    __module__: Any = property(lambda _: sys.exit("no module"))
    __name__: Any = property(lambda _: sys.exit("no name"))

    def __hash__(cls) -> int:
        raise SystemExit

    def __eq__(cls, _: object) -> bool:
        raise SystemExit


def odd_exceptions() -> Iterator[BaseException]:
    for kind in RAISED:

        def refuse(*_: Any, kind: type[BaseException] = kind) -> Any:
            raise kind

        yield type("Speechless", (Exception,), {"__str__": refuse})()
        yield type("Noted", (Exception,), {"__notes__": property(refuse)})()
        yield type("Caused", (Exception,), {"__cause__": property(refuse), "__traceback__": property(refuse)})()
        yield type("Disguised", (Exception,), {"__class__": property(refuse)})()
        noted = ValueError("a note")
        noted.__notes__ = [raising(kind)]
        yield noted
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    yield one
    yield Homeless("Anonymous", (Exception,), {})()
    yield ValueError("long " * 20_000_000)
    chain = ValueError("at the end")
    for number in range(3_000):
        chain, chain.__cause__ = ValueError(f"{number} {'x' * 1_000}"), chain
    yield chain
    yield ValueError("lone \ud800 surrogate")
    yield SystemExit(3)
    yield KeyboardInterrupt()


ODD_VALUES: list[Any] = [
    3, -1, 0, 10**400, -(10**400), 1 << 70, True, None, "", "text", "\ud800", "\x00", "a" * 100_000, b"\xff", 1.5,
    float("nan"), float("inf"), float("-inf"), 1e300, -1.0, [], {}, (), (1, 2), (1, 2, 3), {"a": 1}, object(), NoText(),
    Lying("lying"), Level.BAD, (ValueError, ValueError("x"), None), (ValueError, "no exception", "no traceback"),
    ValueError("bare"), type, *map(raising, RAISED),
]  # fmt: skip
EXTRA = [
    "breadcrumbs", "identity", "template", "_scope", "_crumbs", "_failure", "_queued_by", "error_id", "method", "route",
    "user_id", "getMessage", "taskName", "anything", "__class__", "__dict__",
]  # fmt: skip
STANDARD = [
    "name", "levelname", "pathname", "filename", "module", "lineno", "funcName", "created", "msecs", "relativeCreated",
    "thread", "threadName", "process", "processName", "exc_info", "exc_text", "stack_info", "msg", "args",
]  # fmt: skip
ODD_EXCEPTIONS = list(odd_exceptions())


def good(number: int) -> None:
    logger.error("the good record %d", number)


def odd(name: str, value: Any, *, level: Any = logging.ERROR) -> None:
    """A record with such an attribute, the way a caller, a factory or a filter gives it one."""
    record = logging.LogRecord("tests.odd", level, "odd.py", 7, "an odd record", None, None)
    record.__dict__[name] = value
    logging.root.handle(record)


@contextlib.contextmanager
def delivering(folder: Path, **options: Any) -> Iterator[Delivery]:
    """A delivery that nobody else listens with, so that nothing but it is tested."""
    others, logging.root.handlers[:] = logging.root.handlers[:], []
    file = FileOptions(path=folder / "site.log", max_bytes=10**9, format=options.pop("format", "text"))
    queue = QueueOptions(size=1_000_000)
    try:
        with Delivery(file=file, queue=queue, outbox=OutboxOptions(folder / "outbox.sqlite3"), **options) as delivery:
            yield delivery
    finally:
        logging.root.handlers[:] = others


def errors_in(folder: Path) -> dict[str, int]:
    """How often each kind of error is in the outbox, by the message of its latest sample."""
    outbox = Outbox(OutboxOptions(folder / "outbox.sqlite3"))
    try:
        groups = outbox.groups(limit=10_000)
    finally:
        outbox.close()
    counts: dict[str, int] = {}
    for group in groups:
        message = re.sub(r"\d+", "N", group.samples[0].message)
        counts[message] = counts.get(message, 0) + group.count
    return counts


def check(folder: Path, figures: Statistics, odd_ones: int) -> None:
    counts = errors_in(folder)
    assert counts["the good record N"] == GOOD
    assert (folder / "site.log").read_text("utf-8").count("the good record ") == GOOD
    assert sum(counts.values()) == figures.grouped == GOOD + odd_ones
    assert figures.dropped == figures.file_lost == 0
    assert not figures.refused


def test_breadcrumbs_of_a_callers_own_cost_nobody_else_anything(tmp_path: Path) -> None:
    with delivering(tmp_path) as delivery:
        for number in range(GOOD):
            good(number)
        logger.error("odd", extra={"breadcrumbs": 3})
        assert delivery.drain(30)
        figures = delivery.statistics()

    check(tmp_path, figures, 1)
    assert errors_in(tmp_path)["odd"] == 1


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("name", [*EXTRA, *STANDARD])
def test_no_attribute_that_a_caller_may_choose_is_trusted(tmp_path: Path, name: str, form: str) -> None:
    with delivering(tmp_path, format=form) as delivery:
        for number in range(GOOD):
            good(number)
            if number < len(ODD_VALUES):
                with scope("POST", "/odd"):
                    odd(name, ODD_VALUES[number])
        assert delivery.drain(30)
        figures = delivery.statistics()

    # A record that says it is the delivery's own is not mailed: a logger's name alone is believed.
    check(tmp_path, figures, len(ODD_VALUES))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        # By their numbers: hypothesis would show the values, and they refuse.
        st.dictionaries(st.sampled_from([*EXTRA, *STANDARD]), st.integers(0, len(ODD_VALUES) - 1), max_size=6),
        max_size=20,
    )
)
def test_good_errors_arrive_among_any_odd_ones(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    with delivering(folder) as delivery:
        for number in range(GOOD):
            good(number)
            if number < len(records):
                record = logging.LogRecord("tests.odd", logging.ERROR, "odd.py", 7, "an odd record", None, None)
                record.__dict__.update({name: ODD_VALUES[value] for name, value in records[number].items()})
                logging.root.handle(record)
        assert delivery.drain(30)
        figures = delivery.statistics()

    check(folder, figures, len(records))


def test_no_exception_costs_another_record_anything(tmp_path: Path) -> None:
    with delivering(tmp_path) as delivery:
        for error in ODD_EXCEPTIONS:
            with scope():
                logger.error("an odd exception", exc_info=(type(error), error, None))
        for number in range(GOOD):
            good(number)
        assert delivery.drain(60)
        figures = delivery.statistics()

    check(tmp_path, figures, len(ODD_EXCEPTIONS))
    assert (tmp_path / "site.log").read_text("utf-8").count("ERROR: an odd exception") == len(ODD_EXCEPTIONS)
    assert (tmp_path / "site.log").stat().st_size < 5_000_000


@pytest.mark.parametrize("kind", RAISED)
def test_nothing_that_an_argument_raises_reaches_the_code_that_logs(tmp_path: Path, kind: type[BaseException]) -> None:
    with delivering(tmp_path) as delivery:
        logger.error(raising(kind))
        logger.error("%s", raising(kind))
        logger.error("%(a)s", {"a": raising(kind)})
        for number in range(GOOD):
            good(number)
        assert delivery.drain(30)
        figures = delivery.statistics()

    check(tmp_path, figures, 3)
    assert (tmp_path / "site.log").read_text().count(f"could not be built: {kind.__name__}") == 3


@pytest.mark.parametrize("level", [10**30, Level.BAD])
def test_any_number_is_a_level(tmp_path: Path, level: int) -> None:
    with delivering(tmp_path) as delivery:
        for number in range(GOOD):
            good(number)
        odd("anything", 1, level=level)
        assert delivery.drain(30)
        figures = delivery.statistics()

    check(tmp_path, figures, 1)


@pytest.mark.parametrize("make", [lambda: "ERROR", lambda: None, lambda: 40.0, lambda: raising(SystemExit)])
def test_an_invalid_level_counts_as_an_error(tmp_path: Path, make: Callable[[], Any]) -> None:
    record = logging.LogRecord("tests.odd", logging.ERROR, "odd.py", 7, "an odd record", None, None)
    record.levelno = make()
    with delivering(tmp_path) as delivery:
        # The loggers compare it themselves: only a handler can be given such a record.
        [handler] = logging.root.handlers
        handler.handle(record)
        for number in range(GOOD):
            good(number)
        assert delivery.drain(30)
        figures = delivery.statistics()

    check(tmp_path, figures, 1)


@pytest.mark.parametrize(
    ("kind", "message"), [(Braces, "an odd record of {braces}"), (Nosy, "(the message could not be built")]
)
def test_a_record_of_another_class_uses_the_message_of_that_class(
    tmp_path: Path, kind: type[logging.LogRecord], message: str
) -> None:
    with delivering(tmp_path) as delivery:
        logging.root.handle(kind("app", logging.ERROR, "a.py", 1, "an odd record of {}", ("{braces}",), None))
        assert delivery.drain()

    assert f"ERROR: {message}" in (tmp_path / "site.log").read_text()


def test_a_record_that_cannot_be_queued_is_a_line_with_the_reason_and_its_error_id(tmp_path: Path) -> None:
    record = logging.LogRecord("app", logging.ERROR, "a.py", 1, "text", None, None)
    del record.msg
    with delivering(tmp_path) as delivery, scope() as work:
        logging.root.handle(record)
        assert delivery.drain()
        found = re.search(r"ERROR: \((.*)\) \[in a.py:1\] \[id (\w+)\]", (tmp_path / "site.log").read_text())

    assert found
    assert "could not be" in found[1]
    assert found[2] == work.error_id


def test_an_odd_breadcrumb_does_not_cost_its_error(tmp_path: Path) -> None:
    with delivering(tmp_path) as delivery, scope() as work:
        odd("created", float("nan"), level=logging.INFO)
        odd("levelname", raising(SystemExit), level=logging.INFO)
        logger.info("a step")
        logger.error("failed")
        assert delivery.drain()

    outbox = Outbox(OutboxOptions(tmp_path / "outbox.sqlite3"))
    group = outbox.group(work.error_id)
    outbox.close()
    assert group is not None
    nan, raised, step = group.samples[0].breadcrumbs
    assert "could not be shown" in nan
    assert "could not be shown" in raised
    assert step.endswith("a step")


def test_an_extra_that_was_taken_from_an_earlier_record_hides_no_later_one(tmp_path: Path) -> None:
    with delivering(tmp_path) as delivery:
        seen: list[dict[str, Any]] = []

        class Keeping(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                seen.append(dict(record.__dict__))

        logging.root.addHandler(Keeping())
        for number in range(GOOD):
            good(number)
        logging.root.handlers.pop()
        for attributes in seen:
            logging.root.handle(logging.makeLogRecord(attributes))
        assert delivery.drain(30)
        assert delivery.statistics().grouped == 2 * GOOD


def test_a_handler_of_somebody_else_can_pickle_the_record_that_was_queued() -> None:
    handler = BoundedQueueHandler(QueueOptions())
    record = logging.LogRecord("app", logging.ERROR, "a.py", 1, "text", None, None)
    handler.handle(record)

    assert pickle.loads(pickle.dumps(record.__dict__))["msg"] == "text"


def test_the_mails_report_all_good_errors_among_the_odd_ones(
    tmp_path: Path, accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = {"mail": mail_to(accepting_server), "mailing": MailingOptions(batch_seconds=0.0, mails_per_hour=10_000)}
    with delivering(tmp_path, **options) as delivery:
        for number, value in enumerate(ODD_VALUES):
            for name in ("breadcrumbs", "user_id", "created", "exc_info", "_failure"):
                odd(name, value)
            good(number)
        for number in range(len(ODD_VALUES), GOOD):
            good(number)
        assert delivery.drain(30)
        assert delivery.drain(30, mail=True)

    outbox = Outbox(OutboxOptions(tmp_path / "outbox.sqlite3"))
    [group] = [group for group in outbox.groups(limit=1_000) if "good record" in group.title]
    outbox.close()
    assert group.count == GOOD
    assert group.reported > 0
    assert any("the good record" in str(mail.get_body(["plain"])) for mail in accepting_server.messages)


def test_json_readers_get_numbers_they_can_hold(tmp_path: Path) -> None:
    with delivering(tmp_path, format="json") as delivery:
        logger.error("failed", extra={"user_id": 1 << 70})
        assert delivery.drain()

    line = json.loads((tmp_path / "site.log").read_text().splitlines()[-1])
    assert line["user_id"] == str(1 << 70)


class Interrupting:
    """Ctrl-C arrives while it is written."""

    def __str__(self) -> str:
        signal.raise_signal(signal.SIGINT)
        return "written"


def test_ctrl_c_reaches_the_program_also_in_the_midst_of_a_logging_call(tmp_path: Path) -> None:
    with delivering(tmp_path) as delivery:
        with pytest.raises(KeyboardInterrupt):
            logger.error("%s", Interrupting())
        good(1)
        assert delivery.drain()

    assert errors_in(tmp_path) == {"the good record N": 1}


@pytest.mark.parametrize("kind", [SystemExit, TimeoutError])
def test_what_a_signal_handler_raises_reaches_the_program(tmp_path: Path, kind: type[BaseException]) -> None:
    def handle(*_: object) -> None:
        raise kind

    before = signal.signal(signal.SIGINT, handle)
    try:
        with delivering(tmp_path), pytest.raises(kind):
            logger.error("%s", Interrupting())
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_record_from_a_stack_that_is_nearly_full_is_written_or_counted(tmp_path: Path) -> None:
    def deeper(logged: list[int]) -> None:
        logged[0] += 1
        logger.error("the good record %d", logged[0])
        deeper(logged)

    def to_the_end(logged: list[int]) -> None:
        with contextlib.suppress(RecursionError):
            deeper(logged)

    with delivering(tmp_path) as delivery:
        logged = [0]
        thread = threading.Thread(target=to_the_end, args=(logged,))
        thread.start()
        thread.join(60)
        for number in range(GOOD):
            good(number)
        assert delivery.drain(60)

    counts = errors_in(tmp_path)
    assert counts["the good record N"] >= GOOD + logged[0] - 50
