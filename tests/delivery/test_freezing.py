"""Logging call -> a bounded record with message and extra values as they were at the call."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartblog.delivery import Delivery, FileOptions, QueueOptions, scope
from quartblog.delivery.text.escaping import LONGEST, shortened
from quartblog.delivery.text.freezing import DEPTH, ENTRIES, frozen_extra, frozen_message, rewritten

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger("tests.delivery.freezing")

SECRET = "hunter-2000"


def record(message: Any, *args: Any, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("app", logging.ERROR, "a.py", 1, message, args, None)
    made.__dict__.update(extra)
    return made


def frozen(**extra: Any) -> Any:
    return frozen_extra(vars(record("failed", **extra)))


def at_a_fraction_of_the_cost(made: logging.LogRecord) -> tuple[str, str]:
    """The frozen message, and the whole one that took ten times as long at least."""
    began = time.thread_time()
    message = frozen_message(made)
    took = time.thread_time() - began
    whole = made.getMessage()

    assert 10 * took < time.thread_time() - began
    return message, whole


class Writing:
    """Says which thread wrote it."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def __str__(self) -> str:
        self.threads.append(threading.current_thread())
        return "written"

    __repr__ = __str__


class TalkingError(Exception):
    """Says which thread asked."""

    threads: list[threading.Thread]

    def __str__(self) -> str:
        self.threads.append(threading.current_thread())
        return "asked"


@pytest.fixture
def lines(tmp_path: Path) -> Callable[[Callable[[], object]], list[dict[str, Any]]]:
    """Give the JSON lines of what a call logs, through the whole delivery."""

    def logged_by(log: Callable[[], object]) -> list[dict[str, Any]]:
        path = tmp_path / "site.log"
        before, logging.root.handlers[:] = logging.root.handlers[:], []
        try:
            with Delivery(queue=QueueOptions(), file=FileOptions(path=path, format="json")) as delivery:
                log()
                assert delivery.drain(30)
        finally:
            logging.root.handlers[:] = before
        found = map(json.loads, path.read_text("utf-8").splitlines())
        return [line for line in found if line["logger"] == logger.name]

    return logged_by


@settings(deadline=None)
@given(st.text(), st.lists(st.text() | st.integers() | st.none()))
def test_a_message_is_what_the_record_makes_of_it(text: str, values: list[Any]) -> None:
    template = text.replace("%", "%%") + " %s" * len(values)
    made = record(template, *values)

    assert frozen_message(made) == made.getMessage()


@pytest.mark.parametrize(
    "args", [("x" * 50_000_000,), ({"name": "x" * 50_000_000},), ("é" * 50_000_000,)], ids=["text", "mapping", "wide"]
)
def test_a_huge_text_is_not_copied_to_be_cut(args: tuple[Any, ...]) -> None:
    made = record("no %(name)s" if isinstance(args[0], dict) else "no %s", *args)

    message, whole = at_a_fraction_of_the_cost(made)

    assert message == shortened(whole, LONGEST)


@pytest.mark.parametrize("make", [list, tuple, set, frozenset, lambda items: dict.fromkeys(items, "value"), bytes])
def test_a_huge_container_is_shortened_before_it_is_written(make: Callable[[Any], Any]) -> None:
    huge = bytes(30_000_000) if make is bytes else make(range(2_000_000))
    made = record("no %s", huge)

    message, whole = at_a_fraction_of_the_cost(made)

    assert LONGEST <= len(message) < LONGEST + 100
    assert message[:30_000] == whole[:30_000]


def test_several_huge_arguments_are_cut_once() -> None:
    made = record("%s and %s", "x" * 1_000_000, "y" * 1_000_000)

    assert frozen_message(made) == shortened(made.getMessage(), LONGEST)


def test_a_later_change_of_an_argument_or_an_extra_value_changes_nothing(lines: Any) -> None:
    def log() -> None:
        steps = ["first"]
        logger.error("failed: %s", steps, extra={"steps": steps})
        steps.append("second")

    [line] = lines(log)

    assert line["message"] == "failed: ['first']"
    assert line["extra"] == {"steps": ["first"]}


def test_the_thread_that_logs_writes_arguments_and_extra_values(lines: Any) -> None:
    writing = Writing()
    lines(lambda: logger.error("failed: %s %r", writing, [writing], extra={"more": writing, "user_id": writing}))

    assert writing.threads == [threading.current_thread()] * 4


@pytest.mark.parametrize("nested", [False, True])
def test_the_logging_thread_does_not_format_an_exceptions_message(lines: Any, nested: bool) -> None:  # noqa: FBT001
    TalkingError.threads = []

    def log() -> None:
        with scope():
            try:
                try:
                    raise TalkingError  # noqa: TRY301  an exception in an exception is the point
                except TalkingError as error:
                    if nested:
                        raise LookupError from error
                    raise
            except (TalkingError, LookupError):
                logger.exception("failed")

    [line] = lines(log)

    assert "TalkingError: asked" in line["exception"]["traceback"]
    assert TalkingError.threads
    assert threading.current_thread() not in TalkingError.threads


def test_extra_values_stay_what_json_can_hold() -> None:
    values = {"a": 1, "b": 1.5, "c": True, "d": None, "e": "text", "f": [1, "2"], "g": {"h": [None]}}

    assert frozen(**values) == values


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Decimal("1.50"), "1.50"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02 00:00:00+00:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\xff", r"b'\xff'"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (1 << 70, str(1 << 70)),
        (ValueError("why"), "ValueError: why"),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        ({1: "one", None: "none"}, {"1": "one", "None": "none"}),
        (type("Hostile", (), {"__str__": lambda _: sys.exit()})(), "(could not be written: SystemExit: )"),
    ],
)
def test_other_values_become_text(value: Any, shown: Any) -> None:
    found = frozen(value=value)

    assert found == {"value": shown}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_extra_values_are_bounded_in_number_depth_and_size() -> None:
    circle: list[Any] = []
    circle.append(circle)
    deep: Any = "bottom"
    for _ in range(DEPTH + 1):
        deep = [deep]

    many = frozen(**{f"name{number}": number for number in range(ENTRIES + 7)})
    assert len(many) == ENTRIES + 1
    assert many["…"] == "(7 more left out)"
    assert frozen(value=list(range(ENTRIES + 7)))["value"][-1] == "(7 more left out)"
    assert frozen(value=dict.fromkeys(range(ENTRIES + 7)))["value"]["…"] == "(7 more left out)"
    assert "bottom" not in str(frozen(value=deep))
    assert "left out" in str(frozen(value=circle))
    huge = frozen(text="x" * 10**8, texts=["x" * 10**6] * 100, data=b"x" * 10**8, number=10**4_000)
    assert len(json.dumps(huge)) < 2 * LONGEST


def test_a_container_that_holds_itself_many_times_is_bounded() -> None:
    crowd: list[Any] = []
    crowd += [crowd] * ENTRIES
    table = [[[number] * ENTRIES for number in range(ENTRIES)] for _ in range(ENTRIES)]

    for value in (crowd, dict.fromkeys(range(ENTRIES), crowd), table):
        assert len(json.dumps(frozen(value=value))) < 2 * LONGEST


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.sets(st.integers()) | st.tuples(inner),
    )
)
def test_any_extra_value_can_be_written_as_json(value: Any) -> None:
    found = frozen(value=value)

    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_no_name_of_a_caller_takes_the_place_of_a_field(lines: Any) -> None:
    [line] = lines(
        lambda: logger.error(
            "failed", extra={"time": "now", "level": "fine", "logger": "other", "extra": 1, "exception": 2}
        )
    )

    assert (line["level"], line["logger"], line["exception"]) == ("ERROR", logger.name, None)
    assert line["extra"] == {"time": "now", "level": "fine", "logger": "other", "extra": 1, "exception": 2}


def test_no_name_of_a_caller_hides_the_message(lines: Any) -> None:
    [line] = lines(lambda: logger.error("failed", extra={"getMessage": "now"}))

    assert (line["message"], line["extra"]) == ("failed", {"getMessage": "now"})


def test_what_a_visitor_sent_is_hidden_in_extra_values_and_their_names(lines: Any) -> None:
    def log() -> None:
        with scope() as work:
            work.hide(lambda: [SECRET, "4711"])
            logger.error(
                "failed",
                extra={
                    "text": f"no {SECRET}",
                    "deep": [{"key": SECRET, SECRET: 1}],
                    SECRET: 1,
                    "number": 4711,
                    "address": "to ada@example.com",
                    "other": 12,
                },
            )

    [line] = lines(log)

    assert line["extra"] == {
        "text": "no [redacted]",
        "deep": [{"key": "[redacted]", "[redacted]": 1}],
        "[redacted]": 1,
        "number": "[redacted]",
        "address": "to [redacted]",
        "other": 12,
    }
    assert SECRET not in json.dumps(line)


def test_what_a_visitor_sent_is_hidden_where_a_value_was_cut(lines: Any) -> None:
    def log() -> None:
        with scope() as work:
            work.hide(lambda: [SECRET])
            for inside in range(1, len(SECRET)):
                logger.error("failed", extra={"text": "-" * (5_000 - inside) + SECRET + "-" * 20_000})
                data = f"{'-' * (10_000 - inside)}{SECRET}{'-' * 20_000}"
                logger.error("failed", extra={"text": data.encode()})

    for line in lines(log):
        shown = line["extra"]["text"]
        assert "characters left out" in shown
        assert "h" not in shown.replace("characters", "")


def test_a_user_who_is_known_by_an_address_is_hidden(lines: Any) -> None:
    def log() -> None:
        with scope() as work:
            work.user_id = "ada@example.com"
            logger.error("failed")

    [line] = lines(log)

    assert line["user_id"] == "[redacted]"


def test_the_names_of_tasks_and_threads_hide_what_a_visitor_sent(lines: Any) -> None:
    def log() -> None:
        with scope() as work:
            work.hide(lambda: [SECRET])
            made = record("failed", stack_info=f"Stack {SECRET}", taskName=f"for {SECRET}", threadName=f"of {SECRET}")
            made.name = logger.name
            logging.root.handle(made)

    [line] = lines(log)

    assert (line["stack_info"], line["taskName"]) == ("Stack [redacted]", "for [redacted]")
    assert line["thread"] == "of [redacted]"


def test_other_sinks_see_no_extra_value_that_is_not_redacted(tmp_path: Path) -> None:
    seen: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    with Delivery(file=FileOptions(path=tmp_path / "site.log"), extra_sinks=[Keeping()]) as delivery, scope() as work:
        work.hide(lambda: [SECRET])
        logger.error("failed", extra={"steps": f"no {SECRET}", "order": 12})
        assert delivery.drain(30)

    [found] = [each for each in seen if each.name == logger.name]
    assert vars(found)["steps"] == "no [redacted]"
    assert vars(found)["order"] == 12
    assert SECRET not in str(vars(found))


@pytest.mark.parametrize("level", [10**30, 10**400])
def test_a_level_of_any_size_arrives_everywhere(lines: Any, level: int) -> None:
    def log() -> None:
        logger.log(level, "failed")
        logger.log(-level, "never asked for")

    [line] = lines(log)

    assert line["message"] == "failed"
    assert line["level"].startswith("Level 10")


def test_a_changed_frozen_value_has_the_same_shape() -> None:
    assert rewritten({"a": ["b", 1, None, True, 1.5]}, str.upper) == {"A": ["B", 1, None, True, 1.5]}
