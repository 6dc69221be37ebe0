"""The cached traceback text is the standard one, byte for byte."""

from __future__ import annotations

import logging
import sys
import traceback
import types
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartblog.delivery import QueueOptions, scope
from quartblog.delivery.capture.handler import BoundedQueueHandler
from quartblog.delivery.text.exc_info import snapshot_of
from quartblog.delivery.text.exceptions import ExceptionSnapshot, set_message, set_stack
from quartblog.delivery.text.stacks import StackCache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STANDARD = logging.Formatter()


def info(error: BaseException) -> Any:
    return type(error), error, error.__traceback__


def assert_same(error: BaseException, cache: StackCache | None = None) -> None:
    """Compare when the cache does not know the stack, when it does, and without a traceback."""
    cache = StackCache() if cache is None else cache
    expected = STANDARD.formatException(info(error))

    assert ExceptionSnapshot(info(error), cache).text == expected
    assert ExceptionSnapshot(info(error), cache).text == expected
    bare: Any = (type(error), error, None)
    assert ExceptionSnapshot(bare, cache).text == STANDARD.formatException(bare)


def caught(action: Callable[[], Any]) -> BaseException:
    try:
        action()
    except BaseException as error:  # noqa: BLE001  whatever it is, it is compared
        return error
    raise AssertionError("nothing was raised")


class Point:
    def __init__(self) -> None:
        self.colour = "red"


class Awkward(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Falsy(Exception):
    def __bool__(self) -> bool:
        return False


class Noted(Exception):
    """Its notes are no list."""

    __notes__: Any


def make_awkward() -> None:
    raise Awkward


def misspelt_attribute() -> None:
    Point().color  # type: ignore[attr-defined]  # noqa: B018  the suggestion is the point


def misspelt_name() -> None:
    colour = 1
    print(colur, colour)  # type: ignore[name-defined]  # noqa: F821  the same


def forgotten_import() -> None:
    pathlib.Path()  # type: ignore[name-defined]  # noqa: F821  the same


def misspelt_import() -> None:
    from logging import getLoger  # type: ignore[attr-defined]  # noqa: F401, PLC0415  the same


def several_lines() -> None:
    {
        "one": 1,
        "two": 2,
    }[
        "three"
    ]  # fmt: skip


def wide_characters() -> None:
    名字 = "微博"  # noqa: N806, PLC2401  as people write it here
    _ = (名字, 1 / 0, "微博" * 3)


def syntax_error() -> None:
    compile("a = 1 +\nb ==== 2\n", "broken.py", "exec")


def syntax_error_with_wide_text() -> None:
    compile("\t微博 = '永远\n", "broken.py", "exec")


def bad_indentation() -> None:
    compile("if 1:\na\n", "broken.py", "exec")


def empty_syntax_error() -> None:
    raise SyntaxError


def recursion(depth: int = 40) -> None:
    if not depth:
        raise RecursionError("deep enough")
    recursion(depth - 1)


def endless(depth: int = 0) -> None:
    endless(depth + 1)


def mutual(depth: int) -> None:
    return recursion(5) if not depth else other(depth - 1)


def other(depth: int) -> None:
    return mutual(depth) if depth % 3 else mutual(depth - 1 if depth else 0)


def many_lines_message() -> None:
    raise ValueError("one\ntwo\r\n\nthree \x1b[31m \u2028 \ud800")


def leave() -> None:
    raise SystemExit(3)


def without_source() -> None:
    exec(compile("def f():\n    1/0\nf()\n", "/nowhere/missing.py", "exec"), {})


def from_a_string() -> None:
    exec("raise ValueError('in a string')", {})


RAISERS: list[Callable[[], Any]] = [
    make_awkward,
    misspelt_attribute,
    misspelt_name,
    forgotten_import,
    misspelt_import,
    several_lines,
    wide_characters,
    syntax_error,
    syntax_error_with_wide_text,
    bad_indentation,
    empty_syntax_error,
    recursion,
    endless,
    lambda: mutual(7),
    many_lines_message,
    leave,
    without_source,
    from_a_string,
    lambda: int("x"),
    [].pop,
]


@pytest.mark.parametrize("action", RAISERS)
def test_each_kind_of_failure_is_formatted_as_the_standard_does(action: Callable[[], Any]) -> None:
    assert_same(caught(action))


LEAVES = st.sampled_from(RAISERS).map(caught)
NOTES = st.lists(st.one_of(st.text(max_size=20), st.integers(), st.none()), max_size=3)


def chained(children: st.SearchStrategy[BaseException]) -> st.SearchStrategy[BaseException]:
    return st.one_of(
        st.builds(raise_from, children, children),
        st.builds(raise_during, children, children, st.booleans()),
        st.builds(raise_group, st.lists(children, min_size=1, max_size=18), st.booleans()),
        st.builds(with_notes, children, NOTES),
        st.builds(in_a_circle, children, children),
        st.builds(raised_again, children, st.integers(0, 6)),
    )


def raise_from(error: BaseException, cause: BaseException) -> BaseException:
    def action() -> None:
        raise error from cause

    return caught(action)


def raise_during(error: BaseException, context: BaseException, suppressed: bool) -> BaseException:  # noqa: FBT001
    def action() -> None:
        try:
            raise context  # noqa: TRY301  the implicit chain is the point
        except BaseException:  # noqa: BLE001
            if suppressed:
                raise error from None
            raise error  # noqa: B904  the same

    return caught(action)


def raise_group(errors: list[BaseException], raised: bool) -> BaseException:  # noqa: FBT001
    group = BaseExceptionGroup("several\nfailures", errors)

    def action() -> None:
        raise group

    return caught(action) if raised else group


def with_notes(error: BaseException, notes: list[Any]) -> BaseException:
    error.__notes__ = notes
    return error


def in_a_circle(one: BaseException, two: BaseException) -> BaseException:
    one.__cause__, two.__context__ = two, one
    return one


def raised_again(error: BaseException, times: int) -> BaseException:
    def action(left: int) -> None:
        if left:
            action(left - 1)
        raise error

    return caught(lambda: action(times))


@settings(max_examples=150, deadline=None)
@given(st.recursive(LEAVES, chained, max_leaves=12))
def test_any_tree_of_failures_is_formatted_as_the_standard_does(error: BaseException) -> None:
    assert_same(error)


@pytest.mark.parametrize("notes", ["a word", 7, ("a", "b"), b"bytes", object])
def test_notes_of_any_kind_are_formatted_as_the_standard_does(notes: Any) -> None:
    error = Noted("noted")
    error.__notes__ = notes
    assert_same(error)


def test_a_falsy_exception_is_formatted_as_the_standard_does() -> None:
    error = Falsy("no")
    error.__cause__ = ValueError("the cause")
    assert_same(error)


def test_of_a_group_with_very_many_members_none_is_described() -> None:
    error: Exception = ValueError("one")
    for _ in range(12):
        error = ExceptionGroup("many", [error] * 12)
    failure = caught(lambda: int("first"))
    failure.__cause__ = error

    shown = ExceptionSnapshot(info(failure))

    assert shown.text.startswith("Traceback (most recent call last):\n")
    assert shown.text.endswith("(it has more than 10000 exceptions, which are left out)")
    assert shown.kind is ValueError


def test_a_class_without_a_readable_module_becomes_a_line_with_the_reason() -> None:
    class Homeless(type):
        __module__: Any = property(lambda self: 1 / 0)

    class Anonymous(Exception, metaclass=Homeless):
        pass

    assert "could not be formatted: ZeroDivisionError" in ExceptionSnapshot(info(Anonymous("x"))).text


def test_no_exception_at_all_is_formatted_as_the_standard_does() -> None:
    nothing: Any = (None, None, None)

    assert ExceptionSnapshot(nothing).text == STANDARD.formatException(nothing)


def run_file(path: Path) -> BaseException:
    namespace: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    code = compile(path.read_bytes(), str(path), "exec")
    return caught(lambda: exec(code, namespace))


def test_source_in_another_encoding_is_shown_as_the_standard_does(tmp_path: Path) -> None:
    path = tmp_path / "latin.py"
    path.write_bytes("# coding: latin-1\nname = 'Zoë' + 1\n".encode("latin-1"))
    assert_same(run_file(path))


def test_source_in_a_wrong_encoding_is_shown_as_the_standard_does(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text("name = 'Zoe' + 1\n")
    error = run_file(path)
    path.write_bytes(b"name = 'Zo\xeb' + 1\n")
    assert_same(error)


def test_equal_code_in_two_files_keeps_its_own_text(tmp_path: Path) -> None:
    cache = StackCache()
    for name in ("one.py", "two.py"):
        path = tmp_path / name
        path.write_text(f"def f():\n    1 / 0  # {name}\nf()\n")
        assert_same(run_file(path), cache)


def test_a_known_stack_is_not_read_from_disk_again(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    path.write_text("1 / 0  # as it ran\n")
    error, cache = run_file(path), StackCache()
    before = ExceptionSnapshot(info(error), cache).text
    path.write_text("# edited\n\n\n")

    assert "as it ran" in before
    assert ExceptionSnapshot(info(error), cache).text == before


def test_a_traceback_made_by_hand_keeps_its_lines() -> None:
    def at_line(number: int) -> BaseException:
        frame = sys._getframe()
        error = ValueError("made by hand")
        return error.with_traceback(types.TracebackType(None, frame, -1, number))

    cache = StackCache()
    for number in (3, 4):
        assert_same(at_line(number), cache)


def test_the_limit_the_interpreter_sets_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    error, cache = caught(recursion), StackCache()
    ExceptionSnapshot(info(error), cache)
    monkeypatch.setattr(sys, "tracebacklimit", 2, raising=False)
    assert_same(error, cache)


def numbered(count: int) -> list[BaseException]:
    """Failures with different stacks of two frames each."""
    errors = []
    for number in range(count):
        namespace: dict[str, Any] = {}
        exec(compile(f"def f():\n    raise ValueError({number})", f"{number}.py", "exec"), namespace)
        errors.append(caught(namespace["f"]))
    return errors


def test_a_full_cache_makes_room_by_the_stack_that_was_not_used_for_longest() -> None:
    cache = StackCache(frames=6)
    first, second, third, fourth = (error.__traceback__ for error in numbered(4))
    assert first
    assert second
    assert third
    assert fourth
    kept, evicted, _ = cache.of(first), cache.of(second), cache.of(third)
    cache.of(first)
    cache.of(fourth)

    assert len(cache) == 3
    assert cache.of(first) is kept
    assert cache.of(second) is not evicted


def test_a_stack_beyond_the_bound_is_formatted_but_not_kept() -> None:
    cache = StackCache(frames=10)
    assert_same(caught(make_awkward), cache)
    assert_same(caught(recursion), cache)

    assert len(cache) == 1


def test_a_repeated_failure_is_formatted_once() -> None:
    cache = StackCache()
    for _ in range(5):
        ExceptionSnapshot(info(caught(lambda: int("x"))), cache)

    assert len(cache) == 1


class Spoken(Exception):
    def __str__(self) -> str:
        return "by itself"


class Plain(ValueError):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Described:
    def __get__(self, *_: object) -> Any:
        raise AssertionError("nobody may ask for it")


class Descriptive(Exception):
    __str__ = Described()


def noted(error: BaseException, note: Any) -> BaseException:
    error.__notes__ = [note]
    return error


def logged(error: BaseException) -> logging.LogRecord:
    """The record of the exception once its scope has ended and nobody has read the queue."""
    handler = BoundedQueueHandler(QueueOptions())
    with scope():
        handler.handle(logging.LogRecord("app", logging.ERROR, "a.py", 1, "failed", None, info(error)))
    record: logging.LogRecord = handler.records.get_nowait()
    return record


@pytest.mark.parametrize(
    "error",
    [
        ValueError("why"),
        KeyError(1),
        Plain(7),
        SystemExit(2),
    ],
)
def test_an_exception_that_is_cheap_to_describe_is_released_when_its_scope_ends(error: BaseException) -> None:
    record = logged(error)

    assert record.exc_info is None
    failure = snapshot_of(record)
    assert failure
    assert failure.text == STANDARD.formatException(info(error))


@pytest.mark.parametrize(
    "error",
    [
        Spoken(),
        Descriptive(),
        ValueError(Point()),
        ValueError("x" * 1_000_000),
        SyntaxError("no code", ("file.py", 1, 1, "no code")),
        UnicodeDecodeError("utf-8", b"", 0, 1, "why"),
        FileNotFoundError(2, "missing", Point()),
        noted(ValueError(), Point()),
        raise_from(ValueError(), Spoken()),
        ExceptionGroup("several", [ValueError(), Spoken()]),
        ExceptionGroup("many", [ValueError()] * 1_000),
        caught(misspelt_attribute),
    ],
)
def test_what_may_take_long_to_describe_is_left_to_the_listener(error: BaseException) -> None:
    record = logged(error)

    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_everything_is_described_at_once_while_too_many_records_wait() -> None:
    handler = BoundedQueueHandler(QueueOptions(whole=0))
    handler.handle(logging.LogRecord("app", logging.ERROR, "a.py", 1, "failed", None, info(Spoken())))

    record = handler.records.get_nowait()
    failure = snapshot_of(record)
    assert record.exc_info is None
    assert failure
    assert failure.message == "by itself"


@pytest.mark.parametrize(
    "name",
    ["__class__", "__cause__", "__context__", "__notes__", "__traceback__", "__str__", "__suppress_context__", "args"],
)
def test_the_end_of_a_scope_runs_no_code_of_an_exceptions_class(name: str) -> None:
    asked: list[str] = []

    def refuse(*_: object) -> Any:
        asked.append(name)
        raise SystemExit

    odd: BaseException = type("Odd", (ValueError,), {name: property(refuse)})("why")
    handler = BoundedQueueHandler(QueueOptions())
    with scope():
        handler.handle(logging.LogRecord("app", logging.ERROR, "a.py", 1, "failed", None, (type(odd), odd, None)))

    assert not asked


def examined(error: BaseException) -> traceback.TracebackException:
    try:
        raise error  # noqa: TRY301  it is to have a traceback
    except BaseException as caught:  # noqa: BLE001  whatever it is
        return traceback.TracebackException.from_exception(caught)


def test_the_message_of_an_exception_can_be_replaced() -> None:
    part = examined(ValueError("before"))
    set_message(part, "after")

    assert str(part) == "after"
    assert list(part.format())[-1] == "ValueError: after\n"


def test_the_message_of_each_exception_in_a_group_can_be_replaced() -> None:
    whole = examined(ExceptionGroup("several", [ValueError("before")]))
    assert whole.exceptions is not None
    [member] = whole.exceptions
    set_message(member, "after")

    assert "ValueError: after" in "".join(whole.format())


def test_a_stack_that_is_formatted_already_is_shown_as_it_is() -> None:
    part = examined(ValueError("why"))
    set_stack(part, "  File one\n    and more\n")

    assert "".join(part.format()) == ("Traceback (most recent call last):\n  File one\n    and more\nValueError: why\n")
