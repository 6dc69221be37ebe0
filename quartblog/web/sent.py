"""Request -> the values its client sent, which redaction removes from records: cookies, credentials, query, form.

Values of fewer than four characters count only in an Authorization header, or in a field whose name suggests a secret,
such as `password2`. Redacting page numbers, ticked boxes and short names would remove half the words of a record.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from urllib.parse import parse_qsl, unquote

from werkzeug.datastructures import MultiDict

from quartblog.delivery import current_scope

_SECRET = re.compile("pass|pwd|secret|token", re.IGNORECASE)

SHORTEST = 4
"""Characters from which on a value is redacted, whatever its field is called."""

# The most query fields that are decoded, more than any form of the site has.
MOST_FIELDS = 200


def in_query_and_headers(query: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[str]:
    """Yield the values of query string, cookies and Authorization of an ASGI scope, as sent and as decoded."""
    yield from _in_query(query.decode("latin-1"))
    for name, value in headers:
        match name.lower():
            case b"cookie":
                yield from _in_cookies(value.decode("latin-1"))
            case b"authorization" | b"proxy-authorization":
                yield from _in_credentials(value.decode("latin-1"))


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


def worth_hiding(name: str, value: str) -> bool:
    """Whether the value is long enough to redact, or the field's name suggests a secret."""
    return len(value) >= SHORTEST or _SECRET.search(name) is not None


def _in_query(query: str) -> Iterator[str]:
    if not query:
        return
    fields = [part.partition("=")[::2] for part in query.split("&")]
    with suppress(ValueError):  # Too many fields: the values as sent must suffice.
        fields += parse_qsl(query, max_num_fields=MOST_FIELDS)
    yield from (value for name, value in (("", query), *fields) if worth_hiding(name, value))


def _in_cookies(header: str) -> Iterator[str]:
    for part in header.split(";"):
        name, _, value = part.partition("=")
        value = value.strip().strip('"')
        yield from (one for one in (value, unquote(value)) if worth_hiding(name, one))


def _in_credentials(header: str) -> Iterator[str]:
    scheme, _, credentials = header.partition(" ")
    yield credentials.strip() or scheme
    if scheme.lower() == "basic":
        try:
            decoded = b64decode(credentials).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return
        name, _, password = decoded.partition(":")
        yield decoded
        yield password
        if worth_hiding("", name):
            yield name


def _tidied(typed: str) -> Iterator[str]:
    """Yield the value as the form's filters change it."""
    if (tidy := typed.strip()) != typed:
        yield tidy
    if "\r" in typed:
        yield typed.replace("\r\n", "\n").replace("\r", "\n").strip()
