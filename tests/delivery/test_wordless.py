"""An exception with a hidden message -> its type, its causes and its place."""

import asyncio
import errno
import traceback
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartblog.delivery.tools import wordless

CANARY = "canary-4711"


class Talkative(Exception):
    def __str__(self) -> str:
        return f"always {CANARY}"


class Demanding(Exception):
    def __init__(self, request: str, *, more: str) -> None:
        super().__init__(request)
        self.more = more

    def __str__(self) -> str:
        return f"{self.more} of {self.args}"


class Unmakeable(Exception):
    def __new__(cls, text: str) -> Self:
        return super().__new__(cls, text)


def raised(error: BaseException) -> BaseException:
    try:
        try:
            int("4711x")
        except ValueError as cause:
            raise error from cause
    except BaseException as caught:  # noqa: BLE001 - any
        return caught
    raise AssertionError


@pytest.mark.parametrize(
    "error",
    [
        ValueError(CANARY),
        KeyError(CANARY),
        Talkative(),
        Demanding(CANARY, more=CANARY),
        Unmakeable(CANARY),
        SystemExit(CANARY),
        asyncio.CancelledError(CANARY),
        UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY),
        OSError(CANARY),
        OSError(errno.ENOENT, CANARY, CANARY),
        ExceptionGroup(CANARY, [ValueError(CANARY), ExceptionGroup(CANARY, [Talkative()])]),
        BaseExceptionGroup(CANARY, [SystemExit(CANARY)]),
        SyntaxError(CANARY, (CANARY, 1, 1, CANARY)),
        ImportError(CANARY, name=CANARY, path=CANARY),
        AttributeError(CANARY, name=CANARY, obj=CANARY),
    ],
    ids=lambda error: type(error).__name__,
)
def test_its_message_is_left_out(error: BaseException) -> None:
    error.add_note(CANARY)

    bare = wordless(raised(error))

    shown = "".join(traceback.format_exception(bare))
    assert CANARY not in shown
    assert type(error).__name__ in shown or "Error" in shown
    assert "in raised" in shown
    assert "ValueError" in shown  # The cause.
    assert "4711x" not in shown.replace('int("4711x")', "")


def test_messages_of_the_operating_system_stay() -> None:
    assert str(wordless(OSError(errno.ENOSPC, CANARY, CANARY))) == "[Errno 28] No space left on device"


def test_a_circle_of_causes_has_an_end() -> None:
    first, second = ValueError(CANARY), KeyError(CANARY)
    first.__cause__, second.__cause__ = second, first

    assert CANARY not in "".join(traceback.format_exception(wordless(first)))


def test_a_group_that_is_a_member_many_times_is_bounded() -> None:
    error: Exception = ValueError(CANARY)
    for _ in range(12):
        error = ExceptionGroup(CANARY, [error] * 12)

    assert CANARY not in repr(wordless(error))


@given(st.text(min_size=4), st.integers(0, 3))
def test_no_text_is_left_however_deep(text: str, depth: int) -> None:
    error: Exception = RuntimeError(text)
    for _ in range(depth):
        error = ExceptionGroup(text, [error, OSError(text)])

    bare = wordless(error)

    assert repr(text)[1:-1] not in repr(bare).replace("RuntimeError", "").replace("ExceptionGroup", "")
