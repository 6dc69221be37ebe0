"""Submitted form -> the values its client typed, which redaction removes from records."""

from collections.abc import Iterator

from werkzeug.datastructures import MultiDict

from quartblog.delivery import current_scope
from quartblog.delivery.tools import worth_hiding


def hide_form(form: MultiDict[str, str]) -> None:
    """Redact the form's values from every record of this request."""
    if (scope := current_scope()) is not None:
        scope.hide(
            lambda: [
                value
                for name, values in form.lists()
                for typed in values
                for value in (typed, *_tidied(typed))
                if worth_hiding(name, value)
            ]
        )


def _tidied(typed: str) -> Iterator[str]:
    """Yield the value as the form's filters change it."""
    if (tidy := typed.strip()) != typed:
        yield tidy
    if "\r" in typed:
        yield typed.replace("\r\n", "\n").replace("\r", "\n").strip()
