"""Logging call -> the queue: the work of the thread that logs."""

from __future__ import annotations

import logging
import signal
import threading
import weakref
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery.capture.handler import CRUMBS, BoundedQueueHandler
from quartblog.delivery.capture.listener import Listener
from quartblog.delivery.context import FAILURES, Scope, scope
from quartblog.delivery.grouping.fingerprint import identity_of
from quartblog.delivery.options import QueueOptions
from quartblog.delivery.statistics import Counter
from quartblog.delivery.text.escaping import LONGEST
from quartblog.delivery.text.formatting import exception_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Kept


def logger_with(handler: logging.Handler) -> logging.Logger:
    logger = logging.getLogger("tests.delivery.queue")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.handlers[:] = [handler]
    return logger


@pytest.fixture(autouse=True)
def logger_is_left_clean() -> Iterator[None]:
    yield
    logging.getLogger("tests.delivery.queue").handlers.clear()


def queued(handler: BoundedQueueHandler) -> list[logging.LogRecord]:
    return [handler.records.get_nowait() for _ in range(handler.records.qsize())]


def test_a_later_change_of_an_argument_does_not_change_the_log() -> None:
    handler = BoundedQueueHandler(QueueOptions())
    basket = ["apple"]
    logger_with(handler).info("bought %s", basket)
    basket.append("pear")

    [record] = queued(handler)

    assert record.getMessage() == "bought ['apple']"


def test_other_handlers_keep_the_record_as_it_was_logged() -> None:
    handler = BoundedQueueHandler(QueueOptions())
    record = logging.LogRecord("app", logging.ERROR, "a.py", 1, "bought %s", ("apple",), None)
    with scope(route="/x"):
        handler.handle(record)

    assert record.msg == "bought %s"
    assert record.args == ("apple",)
    assert not hasattr(record, "route")


def test_the_exception_travels_unformatted(failure: BaseException) -> None:
    handler = BoundedQueueHandler(QueueOptions())
    logger_with(handler).error("failed", exc_info=failure)

    [record] = queued(handler)

    assert record.exc_info == (ValueError, failure, failure.__traceback__)
    assert record.exc_text is None
    assert record.getMessage() == "failed"


def test_the_scope_is_stamped_on_the_record_and_an_explicit_extra_wins() -> None:
    handler = BoundedQueueHandler(QueueOptions())
    with scope(method="GET", route="/edit") as work:
        work.user_id = 7
        logger_with(handler).error("failed", extra={"method": "POST"})

    [record] = queued(handler)
    fields = vars(record)

    assert fields["error_id"] == work.error_id
    assert (fields["method"], fields["route"], fields["user_id"]) == ("POST", "/edit", 7)


def test_an_error_outside_of_a_scope_gets_an_id_of_its_own() -> None:
    handler = BoundedQueueHandler(QueueOptions())
    logger_with(handler).error("failed")
    logger_with(handler).warning("odd")

    error, warning = queued(handler)
    assert len(vars(error)["error_id"]) == 12
    assert not hasattr(warning, "error_id")


def test_an_error_takes_the_newest_earlier_records_of_its_scope_along() -> None:
    handler = BoundedQueueHandler(QueueOptions(breadcrumbs=2))
    logger = logger_with(handler)
    logger.info("elsewhere")
    with scope():
        for number in range(4):
            logger.info("step %s", number)
        logger.error("failed")
    with scope():
        logger.error("failed as well")

    *_, first, second = queued(handler)

    assert [message for _, _, _, message in vars(first)[CRUMBS]] == ["step 2", "step 3"]
    assert vars(second)[CRUMBS] == ()


def test_no_breadcrumbs_are_kept_where_none_are_wanted() -> None:
    handler = BoundedQueueHandler(QueueOptions(breadcrumbs=0))
    with scope() as work:
        logger_with(handler).info("a step")

    assert not work.breadcrumbs


def test_past_the_backlog_an_exception_waits_without_frames_and_is_logged_in_full(failure: BaseException) -> None:
    handler = BoundedQueueHandler(QueueOptions(whole=1))
    for _ in range(2):
        logger_with(handler).error("failed", exc_info=failure)

    whole, compact = queued(handler)

    assert whole.exc_info is not None
    assert compact.exc_info is None
    assert exception_text(compact) == exception_text(whole)
    assert identity_of(compact) == identity_of(whole)


def test_beyond_the_mark_the_locals_of_a_failure_are_let_go() -> None:
    class Heavy:
        pass

    def fail() -> None:
        heavy = Heavy()
        held.append(weakref.ref(heavy))
        raise ValueError

    handler = BoundedQueueHandler(QueueOptions(whole=1))
    held: list[weakref.ref[Heavy]] = []
    for _ in range(3):
        try:
            fail()
        except ValueError:
            logger_with(handler).exception("failed")

    assert [reference() is None for reference in held] == [False, True, True]


def test_a_failure_keeps_its_frames_until_its_scope_ends_and_is_logged_in_full(
    failure: BaseException,
) -> None:
    handler = BoundedQueueHandler(QueueOptions())
    with scope():
        logger_with(handler).error("failed", exc_info=failure)
        [record] = queued(handler)
        assert record.exc_info is not None
        before = exception_text(record), identity_of(record)

    assert record.exc_info is None
    assert (exception_text(record), identity_of(record)) == before


@pytest.mark.parametrize(
    "made_by_hand", [(ValueError, ValueError("no trace")), (1,), (ValueError, "no exception", "no trace"), True]
)
def test_an_exc_info_made_by_hand_harms_nobody(made_by_hand: Any) -> None:
    handler = BoundedQueueHandler(QueueOptions())
    with scope():
        record = logging.LogRecord("app", logging.ERROR, "a.py", 1, "failed", None, None)
        record.exc_info = made_by_hand
        handler.handle(record)

    assert [record.message for record in queued(handler)] == ["failed"]


def test_a_record_is_complete_before_another_thread_that_ends_its_work_can_see_it(
    failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = BoundedQueueHandler(QueueOptions())
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(Scope, "drop_frames_at_end", lambda _, record: seen.append(dict(vars(record))))
    with scope():
        logger_with(handler).error("failed", exc_info=failure)

    [record] = queued(handler)
    assert seen == [vars(record)]


def test_where_somebody_wants_the_frames_they_stay(failure: BaseException) -> None:
    handler = BoundedQueueHandler(QueueOptions(), frames=True)
    with scope():
        logger_with(handler).error("failed", exc_info=failure)

    [record] = queued(handler)
    assert record.exc_info is not None


def test_a_task_that_fails_after_its_scope_is_logged_too(failure: BaseException) -> None:
    handler = BoundedQueueHandler(QueueOptions())
    with scope() as work:
        later = copy_context()
    later.run(logger_with(handler).error, "failed", exc_info=failure)

    [record] = queued(handler)
    assert vars(record)["error_id"] == work.error_id
    assert "ValueError" in exception_text(record)


def test_a_long_piece_of_work_holds_no_more_than_its_last_failures(failure: BaseException) -> None:
    handler = BoundedQueueHandler(QueueOptions())
    with scope():
        for _ in range(FAILURES + 3):
            logger_with(handler).error("failed", exc_info=failure)
        held = [weakref.ref(record) for record in queued(handler)]
        assert sum(reference() is not None for reference in held) == FAILURES


def test_the_handler_counts_its_records_and_the_largest_backlog() -> None:
    handler = BoundedQueueHandler(QueueOptions())
    for _ in range(40):
        logger_with(handler).info("news")
    queued(handler)
    logger_with(handler).info("more")

    assert handler.accepted.value() == 41
    assert handler.high_water == 40
    latency = handler.latency.percentiles()
    assert latency is not None
    assert latency.median_ms > 0


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("I will not be logged")

    __repr__ = __str__


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("nor will I")


class DoublyHostile:
    def __str__(self) -> str:
        raise HostileError


@pytest.mark.parametrize(
    ("template", "arguments", "why"),
    [
        ("see %s", (Hostile(),), "RuntimeError: I will not be logged"),
        (Hostile(), (), "RuntimeError: I will not be logged"),
        ("see %s", (DoublyHostile(),), "HostileError"),
        ("see %d", ("a word",), "TypeError"),
        ("see %s %s", ("one",), "TypeError"),
        ("see %(name)s", {"other": 1}, "KeyError"),
    ],
)
def test_a_message_that_cannot_be_formatted_becomes_a_line_with_the_reason(
    template: Any, arguments: Any, why: str
) -> None:
    handler = BoundedQueueHandler(QueueOptions())
    record = logging.LogRecord("app", logging.ERROR, "a.py", 1, template, None, None)
    record.args = arguments
    handler.handle(record)

    [frozen] = queued(handler)

    assert frozen.getMessage().startswith("(the message could not be built: ")
    assert why in frozen.getMessage()


def test_a_huge_message_is_shortened_with_a_note() -> None:
    handler = BoundedQueueHandler(QueueOptions())
    logger_with(handler).error("a" * 10_000_000 + "the end")

    [record] = queued(handler)
    text = record.getMessage()

    assert len(text) < LONGEST + 100
    assert len(vars(record)["template"]) < LONGEST + 100
    assert "characters left out" in text
    assert text.endswith("the end")


def test_a_str_subclass_does_not_reach_the_other_thread() -> None:
    class Markup(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self

    handler = BoundedQueueHandler(QueueOptions())
    logger_with(handler).error(Markup("text"))

    assert type(queued(handler)[0].msg) is str


def test_ordinary_records_are_refused_first_and_every_refusal_is_counted() -> None:
    handler = BoundedQueueHandler(QueueOptions(size=10, reserve=0.2))
    logger = logger_with(handler)
    for _ in range(9):
        logger.info("news")
    for _ in range(4):
        logger.error("failed")
    logger.warning("odd")

    levels = [record.levelname for record in queued(handler)]

    assert levels == ["INFO"] * 8 + ["ERROR"] * 2
    assert handler.refused() == {"INFO": 1, "WARNING": 1, "ERROR": 2}


def test_the_refusals_are_reported_once_when_there_is_room_again() -> None:
    handler = BoundedQueueHandler(QueueOptions(size=4, reserve=0))
    logger = logger_with(handler)
    for _ in range(6):
        logger.info("news")
    logger.error("failed")

    reports = []
    for _ in range(4):
        handler.records.get_nowait()
        reports.append(handler.taken())

    assert [report and report.getMessage() for report in reports] == [
        None,
        "The log queue was full: 3 records were refused (2 INFO, 1 ERROR)",
        None,
        None,
    ]
    assert reports[1] is not None
    assert reports[1].levelno == logging.WARNING
    assert reports[1].pathname.endswith("handler.py")
    assert reports[1].lineno > 0


@pytest.mark.parametrize("end", [Listener.drain, Listener.stop])
def test_a_refusal_that_is_counted_once_the_queue_is_empty_is_reported_all_the_same(
    end: Callable[[Listener], bool], kept: Kept
) -> None:
    handler = BoundedQueueHandler(QueueOptions(size=1, reserve=0))
    logger = logger_with(handler)
    logger.error("taken")
    logger.error("refused")
    # The reader took it after the other one had found no room, and before that was counted.
    handler.records.get_nowait()
    written: list[int] = []
    listener = Listener(
        handler.records, [kept], on_taken=handler.taken, on_pause=lambda: written.append(len(kept.messages))
    )
    listener.start()

    assert end(listener)

    listener.stop()
    assert kept.messages == ["The log queue was full: 1 record was refused (1 ERROR)"]
    assert written == [1]


def test_a_second_burst_of_refusals_counts_from_the_first() -> None:
    handler = BoundedQueueHandler(QueueOptions(size=1, reserve=0))
    logger = logger_with(handler)
    texts = []
    for burst in (1, 2):
        for _ in range(burst + 1):
            logger.info("news")
        handler.records.get_nowait()
        report = handler.taken()
        assert report is not None
        texts.append(report.getMessage())

    assert ": 1 record was refused" in texts[0]
    assert ": 2 records" in texts[1]


def test_a_refusal_that_was_reported_already_is_not_reported_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = BoundedQueueHandler(QueueOptions(size=1, reserve=0))
    logger = logger_with(handler)
    logger.info("the only one")
    logger.info("refused")
    reports: list[logging.LogRecord | None] = []
    add = Counter.add

    def add_and_look(counter: Counter) -> int:
        number = add(counter)
        # The reader is faster than the writer, which has counted its refusal and not yet raised its flag.
        queued(handler)
        reports.append(handler.taken())
        return number

    monkeypatch.setattr(Counter, "add", add_and_look)
    logger.info("refused too")

    [report] = reports
    assert report is not None
    assert "2 records were refused" in report.getMessage()
    assert handler.taken() is None


def test_a_record_whose_level_is_no_number_is_queued_as_an_error() -> None:
    handler = BoundedQueueHandler(QueueOptions())
    broken = logging.LogRecord("app", logging.ERROR, "a.py", 1, "text", None, None)
    broken.levelno = "ERROR"  # type: ignore[assignment]  # as a careless library may make it
    handler.handle(broken)

    assert [len(vars(record)["error_id"]) for record in queued(handler)] == [12]
    assert queued(handler) == []


def test_a_record_is_queued_once_whichever_loggers_bring_it() -> None:
    handler = BoundedQueueHandler(QueueOptions())
    parent = logger_with(handler)
    child = parent.getChild("child")
    child.addHandler(handler)
    child.error("failed")
    child.handlers.clear()

    assert len(queued(handler)) == 1


def test_a_filter_of_the_handler_decides() -> None:
    handler = BoundedQueueHandler(QueueOptions())
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    logger = logger_with(handler)
    logger.error("secret")
    logger.error("public")

    assert [record.getMessage() for record in queued(handler)] == ["public"]


class Napping(logging.Handler):
    """A handler's reader, which naps for a minute once it has taken a first record, and what it has taken."""

    def __init__(self, handler: BoundedQueueHandler) -> None:
        super().__init__()
        self.messages: list[str] = []
        self._arrived = threading.Condition()
        naps = threading.Event()

        def taken() -> logging.LogRecord | None:
            naps.set()
            return handler.taken()

        self.listener = Listener(handler.records, [self], on_taken=taken, on_pause=lambda: None, pause=60.0)
        handler.hurry = self.listener.hurry
        self.listener.start()
        logger_with(handler).info("first")
        assert naps.wait(5)

    def emit(self, record: logging.LogRecord) -> None:
        with self._arrived:
            self.messages.append(record.getMessage())
            self._arrived.notify()

    def has(self, count: int) -> bool:
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self.messages) == count, 5)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 10])
def test_a_queue_that_fills_during_a_nap_is_emptied_before_it_refuses(size: int) -> None:
    handler = BoundedQueueHandler(QueueOptions(size=size, reserve=0.5))
    reader = Napping(handler)
    room = max(1, size // 2)
    for number in range(room):
        logger_with(handler).info("%s", number)

    assert reader.has(1 + room)
    assert handler.refused() == {}
    assert reader.listener.stop()


def test_records_from_a_signal_handler_arrive() -> None:
    handler = BoundedQueueHandler(QueueOptions(size=1_000_000))
    logger = logger_with(handler)
    interruptions = Counter()

    def interrupt(*_: object) -> None:
        interruptions.add()
        logger.error("interrupted")

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for number in range(20_000):
            logger.error("record %s", number)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    messages = [record.getMessage() for record in queued(handler)]
    assert len(messages) == 20_000 + interruptions.value()
    assert messages.count("interrupted") == interruptions.value() > 0


def test_a_counter_is_exact_under_threads() -> None:
    counter = Counter()

    def count() -> None:
        for _ in range(10_000):
            counter.add()
            if _ % 1_000 == 0:
                counter.value()

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counter.value() == 80_000
    assert counter.value() == 80_000


@pytest.mark.parametrize("options", [{"size": 0}, {"reserve": 1.0}, {"reserve": -0.1}])
def test_a_queue_that_could_hold_nothing_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not"):
        QueueOptions(**options)
