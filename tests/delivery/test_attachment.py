"""New logging configuration in a running program -> errors still reach the log, the groups and the mail."""

from __future__ import annotations

import logging
import logging.config
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import Delivery, FileOptions, MailOptions, Outbox, OutboxOptions
from quartblog.delivery.capture.handler import BoundedQueueHandler
from tests.support.processes import eventually
from tests.support.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Kept

APP = "tests.delivery.attached.app"
EMPTY: dict[str, Any] = {"version": 1}
KEEPING: dict[str, Any] = {"version": 1, "disable_existing_loggers": False}
CONSOLE = {"handlers": {"console": {"class": "logging.StreamHandler"}}}
FILE_CONFIG = """
[loggers]
keys=root
[handlers]
keys=
[formatters]
keys=
[logger_root]
level=CRITICAL
handlers=
"""


def our_handler() -> logging.Handler:
    [found] = [handler for handler in logging.root.handlers if isinstance(handler, BoundedQueueHandler)]
    return found


def by_file(folder: Path) -> None:
    (folder / "logging.ini").write_text(FILE_CONFIG)
    logging.config.fileConfig(folder / "logging.ini")


def propagates_no_more(*names: str) -> None:
    for name in names:
        logging.getLogger(name).propagate = False


def disabled(*names: str) -> None:
    for name in names:
        logging.getLogger(name).disabled = True


CHANGES: dict[str, Callable[[Path], object]] = {
    "dictConfig": lambda _: logging.config.dictConfig(EMPTY),
    "dictConfig with a root": lambda _: logging.config.dictConfig(EMPTY | {"root": {"level": "WARNING"}}),
    "dictConfig of a console": lambda _: logging.config.dictConfig(
        KEEPING | CONSOLE | {"root": {"level": "CRITICAL", "handlers": ["console"]}}
    ),
    "dictConfig of a logger": lambda _: logging.config.dictConfig(
        KEEPING | CONSOLE | {"loggers": {"tests": {"handlers": ["console"], "propagate": False}}}
    ),
    "fileConfig": by_file,
    "basicConfig": lambda _: logging.basicConfig(force=True),
    "basicConfig with a level": lambda _: logging.basicConfig(force=True, level=logging.CRITICAL),
    "disable": lambda _: logging.disable(),
    "disable more than there is": lambda _: logging.disable(1_000_000),
    "removeHandler": lambda _: logging.root.removeHandler(our_handler()),
    "handlers.clear": lambda _: logging.root.handlers.clear(),
    "root.setLevel": lambda _: logging.root.setLevel(logging.CRITICAL + 1),
    "handler.setLevel": lambda _: our_handler().setLevel(logging.CRITICAL + 1),
    "propagate": lambda _: propagates_no_more("tests"),
    "propagate of ours": lambda _: propagates_no_more("quartblog", "quartblog.delivery", APP),
    "disabled": lambda _: disabled(APP, "quartblog.delivery", "uncaught"),
    "shutdown": lambda _: logging.shutdown(),
}


@pytest.fixture(autouse=True)
def logging_is_left_as_it_was() -> Iterator[None]:
    """Without the handlers that pytest has on the root logger: some of these changes close them."""
    handlers, logging.root.handlers[:] = logging.root.handlers[:], []
    level, disable = logging.root.level, logging.root.manager.disable
    before = {one: (one.disabled, one.propagate, one.handlers[:], one.level) for one in loggers()}
    yield
    logging.disable(disable)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    for one in loggers():
        one.disabled, one.propagate, one.handlers[:], level = before.get(one, (False, True, [], logging.NOTSET))
        one.setLevel(level)


def loggers() -> list[logging.Logger]:
    return [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]


@pytest.fixture
def app() -> logging.Logger:
    return logging.getLogger(APP)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def delivery(folder: Path, app: logging.Logger) -> Iterator[Delivery]:
    file, outbox = FileOptions(path=folder / "site.log"), OutboxOptions(folder / "outbox.sqlite3")
    with Delivery(file=file, outbox=outbox) as delivery:
        yield delivery


def errors(folder: Path) -> list[str]:
    outbox = Outbox(OutboxOptions(folder / "outbox.sqlite3"))
    try:
        return [group.samples[0].message for group in outbox.groups()]
    finally:
        outbox.close()


def written(delivery: Delivery, folder: Path, words: str) -> str:
    """The log once it holds the words; "" before. It is healthy again a moment before it says why it was not."""
    assert delivery.drain()
    log = (folder / "site.log").read_text()
    return log if words in log else ""


@pytest.mark.parametrize("change", CHANGES)
def test_the_delivery_comes_back_within_seconds_and_logs_the_cause(
    delivery: Delivery, folder: Path, app: logging.Logger, change: str, capfd: pytest.CaptureFixture[str]
) -> None:
    app.error("before")
    CHANGES[change](folder)

    assert eventually(lambda: delivery.healthy)
    app.error("after it")
    app.info("news")
    # A configuration that closes the handlers and leaves them attached removes none.
    reported = change != "shutdown"
    log = eventually(lambda: written(delivery, folder, "WARNING: Logging was configured anew" if reported else "news"))
    assert "ERROR: before" in log
    assert "ERROR: after it" in log
    assert "INFO: news" in log
    assert set(errors(folder)) == {"before", "after it"}
    if reported:
        assert log.count("WARNING: Logging was configured anew") == 1
        assert "Logging was configured anew" in capfd.readouterr().err


@pytest.mark.parametrize("change", sorted(set(CHANGES) - {"shutdown"}))
def test_until_then_it_is_not_healthy(folder: Path, app: logging.Logger, change: str) -> None:
    # The first heartbeat, which repairs it, comes a second after the start.
    with Delivery(file=FileOptions(path=folder / "site.log")) as delivery:
        assert delivery.healthy
        CHANGES[change](folder)

        assert not delivery.healthy


def test_the_mail_goes_on_too(
    folder: Path, app: logging.Logger, accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    with Delivery(file=FileOptions(path=folder / "site.log"), mail=mail_to(accepting_server)) as delivery:
        logging.config.dictConfig(EMPTY | {"root": {"level": "CRITICAL"}})
        assert eventually(lambda: delivery.healthy)
        app.error("after it")
        assert delivery.drain(mail=True)

    assert ["after it" in mail["Subject"] for mail in accepting_server.messages] == [True]


def test_repeated_changes_do_not_fill_the_log(delivery: Delivery, folder: Path, app: logging.Logger) -> None:
    for _ in range(3):
        logging.root.setLevel(logging.CRITICAL)
        assert eventually(lambda: delivery.healthy)

    assert delivery.drain()
    assert (folder / "site.log").read_text().count("Logging was configured anew") == 1


def test_extra_sinks_that_somebody_closed_go_on(folder: Path, app: logging.Logger, kept: Kept) -> None:
    with Delivery(file=FileOptions(path=folder / "site.log"), extra_sinks=[kept]) as delivery:
        logging.config.dictConfig(KEEPING)
        app.error("after it")
        assert delivery.drain()

    assert "after it" in kept.messages


def test_loggers_muted_before_the_start_or_by_themselves_stay_muted(folder: Path, app: logging.Logger) -> None:
    noisy, apart = logging.getLogger(f"{APP}.noisy"), logging.getLogger(f"{APP}.apart")
    noisy.disabled, apart.propagate = True, False
    with Delivery(file=FileOptions(path=folder / "site.log")) as delivery:
        late = logging.getLogger(f"{APP}.late")
        late.propagate = False
        app.setLevel(logging.CRITICAL)

        assert delivery.healthy
        assert (noisy.disabled, apart.propagate, late.propagate, app.level) == (True, False, False, logging.CRITICAL)


def test_a_lower_level_of_the_root_logger_is_somebodys_own_wish(delivery: Delivery) -> None:
    logging.root.setLevel(logging.DEBUG)

    assert delivery.healthy


def test_a_handler_that_raises_keeps_neither_mailer_nor_heartbeat_from_their_work(
    folder: Path,
    app: logging.Logger,
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Leaving(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            if record.name.startswith("quartblog.delivery"):
                sys.exit("not with me")
            return True

    leaving = Leaving()
    logging.root.handlers.insert(0, leaving)
    with Delivery(file=FileOptions(path=folder / "site.log"), mail=mail_to(accepting_server)) as delivery:
        app.error("it failed")
        assert delivery.drain(mail=True)
        logging.root.setLevel(logging.CRITICAL)
        assert eventually(lambda: delivery.healthy)
        assert delivery.healthy
    logging.root.removeHandler(leaving)

    assert len(accepting_server.messages) == 1
    assert "a filter or a handler failed" in capfd.readouterr().err


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, RuntimeError])
def test_a_filter_of_the_handler_that_raises_loses_nothing(
    delivery: Delivery, folder: Path, app: logging.Logger, kind: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: logging.LogRecord) -> bool:
        raise kind

    our_handler().addFilter(refuse)
    app.error("filtered")
    app.error("filtered as well")
    assert delivery.drain()

    assert (folder / "site.log").read_text().count("ERROR: filtered") == 2
    assert capfd.readouterr().err.count("a filter of the log failed") == 1


class Refusing(logging.Handler):
    """A sink that raises whatever it is asked, also its name."""

    def __init__(self, kind: type[BaseException]) -> None:
        super().__init__()
        self.kind = kind

    def handle(self, record: logging.LogRecord) -> bool:
        raise self.kind

    def __repr__(self) -> str:
        raise self.kind


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, RuntimeError])
def test_a_sink_that_raises_even_for_its_name_ends_no_thread(
    folder: Path, app: logging.Logger, kind: type[BaseException]
) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with Delivery(file=FileOptions(path=folder / "site.log"), extra_sinks=[Refusing(kind)]) as delivery:
        running = {thread.name for thread in threading.enumerate()} - before
        for number in range(10):
            app.error("number %d", number)
        assert delivery.drain()

        assert {thread.name for thread in threading.enumerate()} >= running
        assert delivery.healthy

    assert (folder / "site.log").read_text().count("ERROR: number") == 10


class Shut:
    """A stderr that raises for everything."""

    def __getattr__(self, _: str) -> Any:
        raise SystemExit


@pytest.mark.parametrize("stderr", [None, Shut()], ids=["none", "shut"])
def test_without_a_stderr_nothing_is_raised_either(
    delivery: Delivery, folder: Path, app: logging.Logger, stderr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: logging.LogRecord) -> bool:
        raise SystemExit

    our_handler().addFilter(refuse)
    with monkeypatch.context() as patching:
        patching.setattr(sys, "stderr", stderr)
        app.error("filtered")
        assert delivery.drain()

    assert "ERROR: filtered" in (folder / "site.log").read_text()


def installed() -> list[Any]:
    """What a delivery changes in this process."""
    return [logging.root.level, logging.root.handlers, sys.excepthook, sys.unraisablehook, threading.excepthook]


@pytest.mark.parametrize("ends", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("levels", [("INFO", "INFO", "INFO"), ("INFO", "DEBUG", "ERROR"), ("ERROR", "INFO", "DEBUG")])
def test_several_deliveries_stop_in_any_order_and_leave_nothing_behind(
    tmp_path: Path, kept: Kept, levels: tuple[str, ...], ends: tuple[int, ...]
) -> None:
    logging.root.addHandler(kept)
    try:
        before = installed()
        deliveries = [
            Delivery(file=FileOptions(path=tmp_path / f"{number}.log", level=level), adopt=number == 1)
            for number, level in enumerate(levels)
        ]
        for delivery in deliveries:
            delivery.start()
        running = set(range(len(levels)))
        for number in ends:
            assert all(deliveries[each].healthy for each in running)
            deliveries[number].stop()
            running.remove(number)

        assert installed() == before
    finally:
        logging.root.removeHandler(kept)


def test_a_delivery_goes_on_at_its_level_when_another_stops(tmp_path: Path) -> None:
    quiet, detailed = (
        Delivery(file=FileOptions(path=tmp_path / f"{level}.log", level=level)) for level in ("WARNING", "DEBUG")
    )
    with quiet:
        with detailed:
            logging.getLogger(APP).debug("first")
        logging.getLogger(APP).debug("second")
    with detailed:
        with quiet:
            logging.getLogger(APP).debug("third")
            detailed.reconfigure(file=FileOptions(path=tmp_path / "DEBUG.log", level="INFO"))
            logging.getLogger(APP).debug("fourth")
        logging.getLogger(APP).debug("fifth")

    assert [word for word in (tmp_path / "DEBUG.log").read_text().split() if word in WORDS] == ["first", "third"]
    assert "second" not in (tmp_path / "WARNING.log").read_text()


WORDS = {"first", "second", "third", "fourth", "fifth"}
