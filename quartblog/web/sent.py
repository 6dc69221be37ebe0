"""A request -> the values its sender wrote, which no record may show: cookies, credentials, query, form."""

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from werkzeug.datastructures import MultiDict

from quartblog.delivery import current_scope

# As WTForms and Quart read it: more fields than any form of ours has are not looked at.
MOST_FIELDS = 200


def in_request_line_and_headers(scope: Mapping[str, Any]) -> Iterator[str]:
    """The values of the ASGI scope's query string, cookies and Authorization, as sent and as decoded."""
    yield from _in_query(scope["query_string"].decode("latin-1"))
    for name, value in scope["headers"]:
        match name.lower():
            case b"cookie":
                yield from _in_cookies(value.decode("latin-1"))
            case b"authorization" | b"proxy-authorization":
                yield from _in_credentials(value.decode("latin-1"))


def hide_form(form: MultiDict[str, str]) -> None:
    """Let no record of this request show what was typed into its form."""
    if (scope := current_scope()) is not None:
        scope.hide(
            lambda: [value for values in form.listvalues() for typed in values for value in (typed, *_tidied(typed))]
        )


def _in_query(query: str) -> Iterator[str]:
    if not query:
        return
    yield query
    for part in query.split("&"):
        yield part.partition("=")[2]
    try:
        yield from (value for _, value in parse_qsl(query, max_num_fields=MOST_FIELDS))
    except ValueError:  # Too many fields: those as sent are enough.
        return


def _in_cookies(header: str) -> Iterator[str]:
    for part in header.split(";"):
        value = part.partition("=")[2].strip().strip('"')
        yield value
        if "%" in value:
            yield unquote(value)


def _in_credentials(header: str) -> Iterator[str]:
    scheme, _, credentials = header.partition(" ")
    yield credentials.strip() or scheme
    if scheme.lower() == "basic":
        try:
            decoded = b64decode(credentials).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return
        yield decoded
        yield from decoded.split(":", 1)


def _tidied(typed: str) -> Iterator[str]:
    """The value as a form keeps it."""
    if (tidy := typed.strip()) != typed:
        yield tidy
    if "\r" in typed:
        yield typed.replace("\r\n", "\n").replace("\r", "\n").strip()
