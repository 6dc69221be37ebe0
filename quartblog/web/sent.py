"""Submitted form or JSON -> the values that its client typed, which redaction removes from records."""

from collections.abc import Iterator, Sequence

from quart.datastructures import FileStorage
from werkzeug.datastructures import MultiDict

from quartblog.delivery import current_scope
from quartblog.delivery.tools import worth_hiding


def hide_form(form: MultiDict[str, str], files: MultiDict[str, FileStorage]) -> None:
    """Redact the form's values, and the names of its files, from every record of this request."""
    names = ((field, file.filename or "") for field, file in files.items(multi=True))
    _hide([*form.items(multi=True), *names])


def hide_json(document: object) -> None:
    """Redact the strings and numbers of a JSON document from every record of this request."""
    _hide(list(_leaves(document)))


def _hide(typed: Sequence[tuple[str, str]]) -> None:
    if (scope := current_scope()) is not None:
        scope.hide(
            lambda: [value for name, text in typed for value in (text, *_tidied(text)) if worth_hiding(name, value)]
        )


def _leaves(document: object) -> Iterator[tuple[str, str]]:
    """Yield each string and number with the name of its member; a list's items have the list's name."""
    waiting = [("", document)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend((name, item) for item in value)
        elif value is not None and not isinstance(value, bool):
            yield name, str(value)


def _tidied(typed: str) -> Iterator[str]:
    """Yield the value as the form's filters change it."""
    if (tidy := typed.strip()) != typed:
        yield tidy
    if "\r" in typed:
        yield typed.replace("\r\n", "\n").replace("\r", "\n").strip()
