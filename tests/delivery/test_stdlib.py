"""The standard library still has what `text.stdlib` uses of it without a public way."""

from __future__ import annotations

import traceback

from quartblog.delivery.text.stdlib import set_message, set_stack


def examined(error: BaseException) -> traceback.TracebackException:
    try:
        raise error  # noqa: TRY301  it is to have a traceback
    except BaseException as caught:  # noqa: BLE001  whatever it is
        return traceback.TracebackException.from_exception(caught)


def test_the_words_of_an_exception_can_be_replaced() -> None:
    part = examined(ValueError("before"))
    set_message(part, "after")

    assert str(part) == "after"
    assert list(part.format())[-1] == "ValueError: after\n"


def test_the_words_of_each_exception_in_a_group_can_be_replaced() -> None:
    whole = examined(ExceptionGroup("several", [ValueError("before")]))
    assert whole.exceptions is not None
    [member] = whole.exceptions
    set_message(member, "after")

    assert "ValueError: after" in "".join(whole.format())


def test_a_stack_that_is_formatted_already_is_shown_as_it_is() -> None:
    part = examined(ValueError("why"))
    set_stack(part, "  File one\n    and more\n")

    assert "".join(part.format()) == ("Traceback (most recent call last):\n  File one\n    and more\nValueError: why\n")
