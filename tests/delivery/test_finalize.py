"""Queued record -> the record that every sink gets, without the hidden values."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from quartblog.delivery import QueueOptions, scope
from quartblog.delivery.capture.finalize import Finalizer
from quartblog.delivery.capture.handler import BoundedQueueHandler
from quartblog.delivery.context import CRUMB_LIMIT
from quartblog.delivery.grouping.event import Event
from quartblog.delivery.text.escaping import LONGEST
from quartblog.delivery.text.exc_info import FAILURE, snapshot_of
from quartblog.delivery.text.exceptions import ExceptionSnapshot
from quartblog.delivery.text.formatting import JsonFormatter
from quartblog.delivery.text.redaction import REDACTED, Redactor

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "hunter-2000"


class Desk:
    """A logger whose records are finalized as the listener does it."""

    def __init__(self, redactor: Redactor | None, *, frames: bool = True) -> None:
        self.handler = BoundedQueueHandler(QueueOptions(), frames=frames)
        self.logger = logging.Logger("tests.delivery.finalize")  # noqa: LOG001  nobody else shall have it
        self.logger.addHandler(self.handler)
        self._finalizer = Finalizer(redactor)

    def finalized(self) -> logging.LogRecord:
        """Return the newest record, final."""
        record: logging.LogRecord
        while self.handler.records.qsize():
            record = self.handler.records.get_nowait()
        self._finalizer.finalize(record)
        return record


@pytest.fixture
def desk() -> Desk:
    return Desk(Redactor(keep=["ops@example.org"]))


def failing(error: BaseException) -> BaseException:
    try:
        raise error  # noqa: TRY301  it is to have a traceback
    except BaseException as caught:  # noqa: BLE001  whatever it is
        return caught


def hiding(desk: Desk, log: Callable[[], Any], *values: str) -> logging.LogRecord:
    """The record of `log` in a scope that hides the values."""
    with scope() as work:
        work.hide(lambda: values)
        log()
    return desk.finalized()


def test_a_value_is_hidden_in_message_and_template(desk: Desk) -> None:
    record = hiding(desk, lambda: desk.logger.error(f"no {SECRET}"), SECRET)  # noqa: G004  as people write it

    assert record.getMessage() == f"no {REDACTED}"
    assert vars(record)["message"] == f"no {REDACTED}"
    assert SECRET not in str(vars(record))
    assert Event.from_record(record).title == f"no {REDACTED}"


def test_what_one_visitor_sent_does_not_make_a_failure_look_like_another(desk: Desk) -> None:
    one = hiding(desk, lambda: desk.logger.error("the stock is empty"), "stock")
    other = hiding(desk, lambda: desk.logger.error("the stock is empty"), "empty")

    assert Event.from_record(one).fingerprint == Event.from_record(other).fingerprint


def test_a_sink_that_formats_itself_gets_no_exception_with_a_hidden_value(desk: Desk) -> None:
    record = hiding(desk, lambda: desk.logger.error("failed", exc_info=failing(ValueError(SECRET))), SECRET)

    assert record.exc_info is None
    assert logging.Formatter().format(record).endswith(f"ValueError: {REDACTED}")


def test_an_exception_without_a_hidden_value_stays_whole(desk: Desk) -> None:
    error = failing(ValueError("twelve"))
    record = hiding(desk, lambda: desk.logger.error("failed", exc_info=error), SECRET)

    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_the_exceptions_message_is_hidden_in_json_too(desk: Desk) -> None:
    record = hiding(desk, lambda: desk.logger.error("failed", exc_info=failing(ValueError(SECRET))), SECRET)

    assert SECRET not in JsonFormatter().format(record)


def test_a_text_that_another_handler_has_put_on_the_record_is_not_believed(desk: Desk) -> None:
    other = logging.StreamHandler()
    desk.logger.handlers.insert(0, other)
    record = hiding(desk, lambda: desk.logger.error("failed", exc_info=failing(ValueError(SECRET))), SECRET)

    assert SECRET not in str(record.exc_text)


def test_a_traceback_from_another_process_is_redacted_as_a_whole(desk: Desk) -> None:
    made = logging.LogRecord("app", logging.ERROR, "a.py", 1, "failed", None, None)
    made.exc_text = f"ValueError: {SECRET}"
    record = hiding(desk, lambda: desk.handler.handle(made), SECRET)

    assert record.exc_text == f"ValueError: {REDACTED}"


def test_breadcrumbs_are_lines_without_hidden_values(desk: Desk) -> None:
    def log() -> None:
        desk.logger.info("asked\nfor %s", SECRET)
        desk.logger.error("failed")

    [line] = vars(hiding(desk, log, SECRET))["breadcrumbs"]

    assert line[8:] == rf" INFO tests.delivery.finalize: asked\nfor {REDACTED}"
    assert time.strptime(line[:8], "%H:%M:%S")


def test_an_object_that_is_logged_instead_of_a_text_names_its_failure_without_a_hidden_value(desk: Desk) -> None:
    record = hiding(desk, lambda: desk.logger.error(ValueError(SECRET)), SECRET)

    assert Event.from_record(record).title == REDACTED


def last_words(record: logging.LogRecord) -> str:
    return str(record.exc_text).rpartition("\n")[2]


def with_note(note: str) -> BaseException:
    error = failing(ValueError("see below"))
    error.add_note(note)
    return error


def leave_crumb(desk: Desk, text: str) -> None:
    desk.logger.info("%s", text)
    desk.logger.error("no")


class Way(NamedTuple):
    """How a text that is cut at a limit reaches the sinks, and as what."""

    limit: int
    log: Callable[[Desk, str], object]
    arrives: Callable[[logging.LogRecord], str]


WAYS = {
    "message": Way(LONGEST, lambda desk, text: desk.logger.error("%s", text), logging.LogRecord.getMessage),
    "template": Way(LONGEST, lambda desk, text: desk.logger.error(text), lambda record: vars(record)["template"]),
    "words": Way(LONGEST, lambda desk, text: desk.logger.error("no", exc_info=failing(ValueError(text))), last_words),
    "key": Way(LONGEST, lambda desk, text: desk.logger.error("no", exc_info=failing(KeyError(text))), last_words),
    "note": Way(LONGEST, lambda desk, text: desk.logger.error("no", exc_info=with_note(text)), last_words),
    "crumb": Way(CRUMB_LIMIT, leave_crumb, lambda record: vars(record)["breadcrumbs"][0]),
}


@pytest.mark.parametrize("edge", ["beginning", "end"])
@pytest.mark.parametrize(
    ("canary", "values"),
    [
        ("hunter 2000 and more", ["hunter 2000 and more"]),
        ("hunter 2000 and more", ["hunter 2000", "more and", "2000 and more"]),
        ("user:hunter 2000", ["user:hunter 2000", "user", "hunter 2000"]),
        ("a first\n'line' and \"one\" more", ["a first\n'line' and \"one\" more"]),
        ("ada.lovelace@example.com", []),
        ("Z~7", ["Z~7"]),
        (f"{SECRET} " * 9_000, [f"{SECRET} " * 9_000]),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_no_part_of_a_value_is_left_where_a_text_was_cut(
    desk: Desk, way: str, canary: str, values: list[str], edge: str
) -> None:
    limit, log, arrives = WAYS[way]
    if edge == "end":
        canary, values = canary[::-1], [value[::-1] for value in values]
    # Only blanks and dashes around it: any letter that arrives is a part of the canary.
    filling = " -" * limit
    for inside in range(1, min(len(canary), limit // 2), max(1, len(canary) // 10)):
        if edge == "beginning":
            text = filling[1 : limit // 2 - inside + 1] + canary + filling
        else:
            text = filling + canary + filling[: limit // 2 - inside]
        shown = arrives(hiding(desk, partial(log, desk, text), *values))

        assert "characters left out" in shown
        rest = re.sub(r"\(\d+ characters left out\)|\[redacted\]|^\S+ INFO \S+:|^\w+Error: ", "", shown)
        assert set(rest) <= set(" -…'\""), inside


def test_the_characters_left_out_at_a_cut_are_counted(desk: Desk) -> None:
    text = "-" * (LONGEST // 2 - 4) + SECRET + "-" * LONGEST
    record = hiding(desk, lambda: desk.logger.error("%s", text), SECRET)
    shown = record.getMessage()
    left_out = re.search(r"\((\d+) characters left out\)", shown)

    assert left_out is not None
    assert len(shown) - len(f" … {left_out[0]} … ") + int(left_out[1]) == len(text)


def test_a_scope_that_cannot_list_its_values_hides_the_whole_record(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> list[str]:
        raise LookupError("gone")

    for _ in range(2):
        with scope() as work:
            work.hide(broken)
            desk.logger.error("no %s", SECRET, exc_info=failing(ValueError(SECRET)))
        record = desk.finalized()

        assert record.getMessage() == REDACTED
        assert str(record.exc_text).endswith(f"ValueError: {REDACTED}")
    assert capsys.readouterr().err.count("LookupError: gone") == 1


def test_without_redaction_everything_is_shown() -> None:
    desk = Desk(None)
    record = hiding(
        desk, lambda: desk.logger.error("for ada@example.com", exc_info=failing(ValueError(SECRET))), SECRET
    )

    assert record.getMessage() == "for ada@example.com"
    assert SECRET in str(record.exc_text)
    assert record.exc_info is not None


def fail(words: str, kind: type[Exception] = ValueError, cause: Exception | None = None) -> None:
    """Always from the same line."""
    raise kind(words) from cause


def logged(desk: Desk, *arguments: Any, hidden: tuple[str, ...] = ()) -> logging.LogRecord:
    def log() -> None:
        try:
            fail(*arguments)
        except Exception:
            desk.logger.exception("it failed")

    return hiding(desk, log, *hidden)


@pytest.mark.parametrize("other", [("another",), ("one", TypeError), ("one", ValueError, KeyError("before it"))])
def test_failures_of_one_place_that_differ_are_shown_as_they_are(desk: Desk, other: tuple[Any, ...]) -> None:
    for arguments in (("one",), other, ("one",), other):
        assert logged(desk, *arguments).exc_text == logged(Desk(None), *arguments).exc_text


def test_a_value_hidden_in_one_failure_is_not_hidden_in_equal_ones(desk: Desk) -> None:
    texts = [str(logged(desk, f"no {SECRET}", hidden=hidden).exc_text) for hidden in ((), (SECRET,), (), (SECRET,))]

    assert [f"ValueError: no {SECRET}" in text for text in texts] == [True, False, True, False]
    assert [f"ValueError: no {REDACTED}" in text for text in texts] == [False, True, False, True]


class LetGoMeanwhile(logging.LogRecord):
    """Somebody lets its exception go just before it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name == "exc_info" and (given := self.__dict__["exc_info"]) is not None:
            self.__dict__[FAILURE] = ExceptionSnapshot(given)
            self.__dict__["exc_info"] = None
        return super().__getattribute__(name)


def test_a_failure_that_is_let_go_the_moment_it_is_looked_at_is_shown() -> None:
    error = failing(ValueError("twelve"))
    record = LetGoMeanwhile("app", logging.ERROR, "a.py", 1, "failed", None, (type(error), error, error.__traceback__))

    failure = snapshot_of(record)

    assert failure is not None
    assert failure.message == "twelve"


def test_a_failure_released_while_it_is_finalized_is_logged_once_without_its_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(Redactor(), frames=False)
    looked, finalized = threading.Barrier(2), threading.Event()
    look = ExceptionSnapshot.__init__

    def look_together(*arguments: Any) -> None:
        looked.wait(10)
        look(*arguments)
        if threading.current_thread() is threading.main_thread():
            finalized.wait(10)

    monkeypatch.setattr(ExceptionSnapshot, "__init__", look_together)
    records: list[logging.LogRecord] = []

    def finalize() -> None:
        records.append(desk.finalized())
        finalized.set()

    with scope() as work:
        work.hide(lambda: [SECRET])
        desk.logger.error("failed", exc_info=failing(ValueError(f"no {SECRET}")))
        finalizing = threading.Thread(target=finalize)
        finalizing.start()
    finalizing.join(10)

    shown = json.loads(JsonFormatter().format(records[0]))["exception"]
    assert shown["message"] == f"no {REDACTED}"
    assert shown["traceback"].endswith(f"\nValueError: no {REDACTED}")
