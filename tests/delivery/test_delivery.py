"""The whole journey: logging call -> queue -> listener thread -> file, mail, extra sinks."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import (
    Delivery,
    FileOptions,
    MailingOptions,
    MailOptions,
    Outbox,
    OutboxOptions,
    QueueOptions,
    scope,
)
from quartblog.delivery.capture.handler import BoundedQueueHandler
from quartblog.delivery.tools import new_message
from tests.support import programs
from tests.support.processes import eventually
from tests.support.smtp import Accepting, MailServer, Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage
    from types import FrameType

    from .conftest import Kept


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "site.log"


@pytest.fixture
def deliver(path: Path) -> Iterator[Callable[..., Delivery]]:
    """Start a delivery that writes `path`; it is stopped at the end."""
    started: list[Delivery] = []

    def begin(**options: Any) -> Delivery:
        delivery = Delivery(**{"file": FileOptions(path=path), **options})
        delivery.start()
        started.append(delivery)
        return delivery

    yield begin
    for delivery in started:
        delivery.stop(1)


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(["plain"])
    assert body is not None
    return str(body.get_content())


def counts(mail: EmailMessage) -> list[int]:
    return [int(new) for new in re.findall(r"^(\d+) new,", text_of(mail), re.MULTILINE)]


def fail(logger: logging.Logger, text: str = "the division failed") -> None:
    try:
        1 / 0  # noqa: B018  it is to fail
    except ZeroDivisionError:
        logger.exception(text)


def test_one_failure_carries_one_id_to_the_file_and_to_the_mail(
    deliver: Callable[..., Delivery],
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    app_logger: logging.Logger,
    path: Path,
) -> None:
    delivery = deliver(mail=mail_to(accepting_server))
    with scope(method="POST", route="/edit") as work:
        work.user_id = 7
        fail(app_logger)
    assert delivery.drain(mail=True)

    [mail] = accepting_server.messages
    text = text_of(mail)
    host = socket.gethostname()
    assert mail["Subject"] == f"ZeroDivisionError: division by zero (微博 on {host}, 1 error)"
    assert "POST /edit, user 7" in text.splitlines()
    assert f"ids {work.error_id}" in text.splitlines()
    assert "ZeroDivisionError: division by zero" in text
    log = path.read_text()
    assert re.search(rf"ERROR: the division failed \[in .*:\d+\] \[id {work.error_id}\]\nTrace", log)


def test_an_error_outside_of_a_request_has_one_id_everywhere(
    deliver: Callable[..., Delivery],
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    app_logger: logging.Logger,
    path: Path,
) -> None:
    delivery = deliver(mail=mail_to(accepting_server))
    fail(app_logger)
    assert delivery.drain(mail=True)

    found = re.search(r"\[id (\w{12})\]", path.read_text())
    assert found
    assert f"ids {found[1]}" in text_of(accepting_server.messages[0]).splitlines()


def test_only_errors_are_mailed_and_equal_ones_together(
    deliver: Callable[..., Delivery],
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    app_logger: logging.Logger,
) -> None:
    delivery = deliver(mail=mail_to(accepting_server), mailing=MailingOptions(batch_seconds=0.0))
    app_logger.warning("odd")
    for number in range(20):
        app_logger.error("failed for the %d. time", number)
    app_logger.critical("broken")
    assert delivery.drain(mail=True)
    assert delivery.stop()

    assert sum(new for mail in accepting_server.messages for new in counts(mail)) == 21
    assert len(accepting_server.messages) < 8
    assert not any("odd" in text_of(mail) for mail in accepting_server.messages)


def test_posted_mail_leaves_beside_the_digests(
    deliver: Callable[..., Delivery], accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(accepting_server)
    delivery = deliver(mail=options)
    delivery.post(new_message(options, "reset", "link", to=["Eve <eve@example.org>"]), ["Eve <eve@example.org>"])
    assert delivery.drain(mail=True)

    assert accepting_server.recipients == [["eve@example.org"]]
    delivery.stop()
    with pytest.raises(RuntimeError, match="does not run"):
        delivery.post(new_message(options, "reset", "link"), ["eve@example.org"])


def test_unsent_mail_is_sent_after_the_next_start(
    deliver: Callable[..., Delivery],
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    app_logger: logging.Logger,
    tmp_path: Path,
) -> None:
    configured = {"mail": mail_to(accepting_server), "outbox": OutboxOptions(tmp_path / "outbox.sqlite3")}
    accepting_server.behaviour = Silent
    delivery = deliver(**configured)
    fail(app_logger)
    assert delivery.drain()
    started = time.monotonic()
    assert delivery.stop()
    assert time.monotonic() - started < 2

    accepting_server.behaviour = Accepting
    assert deliver(**configured).drain(mail=True)

    assert [counts(mail) for mail in accepting_server.messages] == [[1]]


def test_a_failed_mail_makes_a_line_and_no_mail(
    deliver: Callable[..., Delivery],
    server_that_says_later: MailServer,
    mail_to: Callable[..., MailOptions],
    app_logger: logging.Logger,
    path: Path,
) -> None:
    delivery = deliver(mail=mail_to(server_that_says_later))
    fail(app_logger)
    assert delivery.drain(mail=True)
    assert delivery.drain(mail=True)

    assert path.read_text().count("was not sent") == 1


@pytest.mark.parametrize("which", ["silent_server", "slow_server"])
def test_a_server_that_does_not_answer_delays_neither_caller_nor_file_nor_stop(
    which: str,
    request: pytest.FixtureRequest,
    deliver: Callable[..., Delivery],
    mail_to: Callable[..., MailOptions],
    path: Path,
) -> None:
    delivery = deliver(mail=mail_to(request.getfixturevalue(which), timeout=60.0))
    logger = logging.getLogger("tests.delivery.app")
    started = time.monotonic()
    for number in range(20):
        fail(logger, f"failure {number}")

    assert delivery.drain()
    assert path.read_text().count("ERROR: failure") == 20
    assert delivery.stop()
    assert time.monotonic() - started < 15
    assert re.search(r"not sent before the stop: [12]\.", path.read_text())


async def test_the_event_loop_is_not_held_up_by_hundreds_of_failures(
    deliver: Callable[..., Delivery],
    silent_server: MailServer,
    mail_to: Callable[..., MailOptions],
    app_logger: logging.Logger,
) -> None:
    delivery = deliver(mail=mail_to(silent_server))
    longest = 0.0
    for _ in range(300):
        started = time.perf_counter()
        fail(app_logger)
        longest = max(longest, time.perf_counter() - started)
        await asyncio.sleep(0)

    # A caller that waited for the silent server would wait for 10 s.
    assert longest < 5
    assert await asyncio.to_thread(delivery.drain)


def test_without_a_mail_server_the_log_has_one_line_about_it(deliver: Callable[..., Delivery], path: Path) -> None:
    deliver().drain()

    assert path.read_text().count("INFO: No mail server is used") == 1


def test_mail_options_that_cannot_work_are_one_line_and_no_reason_to_stop(
    deliver: Callable[..., Delivery],
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    app_logger: logging.Logger,
    path: Path,
) -> None:
    delivery = deliver(mail=mail_to(accepting_server, admins=()))
    fail(app_logger)

    assert delivery.drain(mail=True)
    assert "ERROR: No mail can be sent: a mail server, a sender and" in path.read_text()
    assert "the division failed" in path.read_text()


def test_a_record_is_handled_once_whichever_logger_it_came_through(
    deliver: Callable[..., Delivery], kept: Kept, app_logger: logging.Logger
) -> None:
    delivery = deliver(extra_sinks=[kept])
    [handler] = [one for one in logging.root.handlers if isinstance(one, BoundedQueueHandler)]
    app_logger.addHandler(handler)
    app_logger.error("once")
    delivery.drain()

    assert kept.messages.count("once") == 1


def test_any_standard_handler_is_one_more_sink(
    deliver: Callable[..., Delivery], tmp_path: Path, app_logger: logging.Logger
) -> None:
    extra = logging.FileHandler(tmp_path / "extra.log")
    extra.setFormatter(logging.Formatter("%(name)s|%(message)s|%(error_id)s"))
    extra.setLevel(logging.ERROR)
    delivery = deliver(extra_sinks=[extra])
    app_logger.info("news")
    fail(app_logger)
    delivery.drain()
    extra.close()

    lines = (tmp_path / "extra.log").read_text().splitlines()
    assert re.fullmatch(r"tests\.delivery\.app\|the division failed\|\w{12}", lines[0])
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_json_lines_where_they_are_asked_for(
    deliver: Callable[..., Delivery], path: Path, app_logger: logging.Logger
) -> None:
    delivery = deliver(file=FileOptions(path=path, format="json"))
    fail(app_logger)
    delivery.drain()

    fields = [json.loads(line) for line in path.read_text().splitlines()]
    assert fields[-1]["exception"]["type"] == "ZeroDivisionError"


def test_the_root_level_is_the_configured_one_while_it_runs(path: Path, app_logger: logging.Logger) -> None:
    before = (logging.root.level, logging.root.handlers[:])
    with Delivery(file=FileOptions(path=path, level="INFO")) as delivery:
        app_logger.debug("too much")
        app_logger.info("news")
        delivery.drain()

    assert (logging.root.level, logging.root.handlers) == before
    assert "news" in path.read_text()
    assert "too much" not in path.read_text()


def test_a_level_somebody_else_has_set_meanwhile_stays(path: Path) -> None:
    before = logging.root.level
    try:
        with Delivery(file=FileOptions(path=path)):
            logging.root.setLevel(logging.CRITICAL)
        assert logging.root.level == logging.CRITICAL
    finally:
        logging.root.setLevel(before)


def test_starting_and_stopping_twice_is_harmless(
    deliver: Callable[..., Delivery], path: Path, app_logger: logging.Logger
) -> None:
    delivery = deliver()
    delivery.start()
    app_logger.error("first life")
    assert delivery.stop()
    assert delivery.stop()
    assert delivery.drain()
    assert not delivery.healthy
    assert delivery.statistics().refused == {}
    app_logger.error("stopped, so nobody hears this")
    delivery.start()
    app_logger.error("second life")
    assert delivery.stop()

    text = path.read_text()
    assert text.count("first life") == text.count("second life") == 1
    assert "nobody hears this" not in text


def test_stop_writes_the_queued_records_even_when_the_queue_is_full(path: Path, app_logger: logging.Logger) -> None:
    file = FileOptions(path=path, max_bytes=10_000_000)
    delivery = Delivery(queue=QueueOptions(size=200, reserve=0.0), file=file)
    delivery.start()
    for number in range(2_000):
        app_logger.error("record %04d", number)
    refused = delivery.statistics().refused.get("ERROR", 0)
    assert delivery.stop()

    text = path.read_text()
    assert text.count("ERROR: record") == 2_000 - refused
    reported = re.findall(r"The log queue was full: (\d+) records? w\w+ refused", text)
    assert sum(map(int, reported)) == refused


def test_a_sink_that_hangs_keeps_stop_within_its_time(path: Path, app_logger: logging.Logger) -> None:
    entered, release = threading.Event(), threading.Event()

    class Hanging(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            entered.set()
            release.wait(30)

    delivery = Delivery(file=FileOptions(path=path), extra_sinks=[Hanging()])
    delivery.start()
    app_logger.error("first")
    assert entered.wait(5)
    app_logger.error("second")
    started = time.monotonic()
    assert not delivery.drain(0.1)
    assert not delivery.stop(0.1)
    release.set()

    assert time.monotonic() - started < 5
    assert "second" in path.read_text()


def test_a_new_path_takes_effect_at_the_next_start(tmp_path: Path, app_logger: logging.Logger) -> None:
    first = FileOptions(path=tmp_path / "first.log"), OutboxOptions(tmp_path / "first.sqlite3")
    second = FileOptions(path=tmp_path / "second.log"), OutboxOptions(tmp_path / "second.sqlite3")
    delivery = Delivery(file=first[0], outbox=first[1])
    for start in (first, second):
        delivery.start()
        delivery.reconfigure(file=second[0], outbox=second[1])
        app_logger.error("it failed")
        assert delivery.outbox is not None
        assert delivery.outbox.path == start[1].path
        assert delivery.stop()

    for name in ("first", "second"):
        assert (tmp_path / f"{name}.log").read_text().count("ERROR: it failed") == 1
        with closing(Outbox(OutboxOptions(tmp_path / f"{name}.sqlite3"))) as outbox:
            assert [group.count for group in outbox.groups()] == [1]


def test_it_is_healthy_while_the_file_can_be_written(
    deliver: Callable[..., Delivery], path: Path, app_logger: logging.Logger
) -> None:
    delivery = deliver()
    assert delivery.drain()
    assert delivery.healthy

    other = Delivery(file=FileOptions(path=path / "below" / "a" / "file.log"))
    other.start()
    other.drain()
    assert not other.healthy
    other.stop()


async def test_stop_may_come_from_another_thread(
    deliver: Callable[..., Delivery], path: Path, app_logger: logging.Logger
) -> None:
    delivery = deliver()
    app_logger.error("failed")
    answers = await asyncio.gather(*(asyncio.to_thread(delivery.stop) for _ in range(4)))

    assert answers == [True] * 4
    assert "failed" in await asyncio.to_thread(path.read_text)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_file_that_can_be_written_again_is_found_though_nothing_is_logged(
    deliver: Callable[..., Delivery], path: Path, app_logger: logging.Logger
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/dev/full")
    delivery = deliver()
    app_logger.error("lost")
    assert delivery.drain()
    assert not delivery.healthy

    path.unlink()

    eventually(lambda: delivery.healthy)
    assert "The log file is written again" in path.read_text()


def test_a_stop_by_a_signal_handler_during_the_start_ends_all(tmp_path: Path) -> None:
    handlers, level = list(logging.root.handlers), logging.root.level
    delivery = Delivery(file=FileOptions(path=tmp_path / "site.log"))

    def interrupt(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "attach":
            sys.setprofile(None)
            delivery.stop()

    sys.setprofile(interrupt)
    try:
        delivery.start()
    finally:
        sys.setprofile(None)

    assert (logging.root.handlers, logging.root.level) == (handlers, level)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("quartblog.delivery")] == []
    assert delivery.problem == "stopped"


def test_a_locked_outbox_keeps_stop_within_its_time(tmp_path: Path, app_logger: logging.Logger) -> None:
    path = tmp_path / "outbox.sqlite3"
    delivery = Delivery(file=FileOptions(path=tmp_path / "site.log"), outbox=OutboxOptions(path))
    delivery.start()
    app_logger.error("stored")
    assert delivery.drain()
    outbox = delivery.outbox
    assert outbox is not None
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = threading.Thread(target=outbox.resolve, args=(1,))
    waiting.start()
    assert eventually(lambda: not outbox.close(timeout=0))
    started = time.monotonic()
    stopped = delivery.stop(0.5)
    took = time.monotonic() - started
    other.close()
    waiting.join()
    outbox.close()

    assert not stopped
    # SQLite waits for the lock for 3 s.
    assert took < 2.5
    assert "ERROR: stored" in (tmp_path / "site.log").read_text()


PROGRAM = """
import logging, os, sys
from pathlib import Path
from quartblog.delivery import Delivery, FileOptions, OutboxOptions
folder = Path(sys.argv[1])
os.mkfifo(folder / "site.log")
Delivery(file=FileOptions(path=folder / "site.log"), outbox=OutboxOptions(folder / "outbox.sqlite3")).start()
logging.getLogger("app").warning("nobody reads this")
print("over")
"""


def test_a_program_ends_although_its_log_file_hangs(tmp_path: Path) -> None:
    code, printed, complained = programs.ended(programs.start(PROGRAM, tmp_path))

    assert (code, printed) == (0, "over\n")
    assert "writing the log file did not return in time and was left behind" in complained


@pytest.mark.parametrize(
    "make",
    [
        lambda: MailOptions("localhost", "a@example.org", ("b@example.org",), tls="STARTTLS"),  # type: ignore[arg-type]
        lambda: MailOptions("localhost", "a@example.org", ("b@example.org",), tls="ssl"),  # type: ignore[arg-type]
        lambda: MailOptions("localhost", "a@example.org", ("b@example.org",), timeout=0.0),
        lambda: FileOptions(format="JSON"),  # type: ignore[arg-type]
        lambda: QueueOptions(own_packages="shop"),  # type: ignore[arg-type]
    ],
)
def test_an_option_that_is_mistyped_is_refused_at_once(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="is "):
        make()
