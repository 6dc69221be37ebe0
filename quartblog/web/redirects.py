"""Where a visitor may be sent: nowhere but to this site."""

from posixpath import normpath
from urllib.parse import unquote, urlsplit, urlunsplit


def safe_path(address: str | None, *, never: str | None = None) -> str | None:
    """Give back `address` if it surely stays on this site and does not lead to the path `never`, else None.

    One leading slash, no second slash or backslash behind it, no control characters or blanks: browsers read
    `/\\evil`, `//evil` and `/<tab>/evil` as another host.
    """
    if not address or not address.startswith("/") or address[1:2] in {"/", "\\"}:
        return None
    if any(character <= " " or character == "\x7f" for character in address):
        return None
    return None if _destination(address) == never else address


def within_site(location: str) -> str:
    """Return the address without scheme and host. No page of ours sends a visitor elsewhere."""
    try:
        _, _, path, query, fragment = urlsplit(location)
    except ValueError:  # A host that cannot be one.
        return "/"
    # With two slashes it would be a host again.
    return urlunsplit(("", "", "/" + path.lstrip("/\\"), query, fragment))


def _destination(address: str) -> str:
    """The path that a browser asks for in the end, as the server decodes it."""
    path = unquote(urlsplit(address).path).replace("\\", "/")
    # One slash: normpath would leave two.
    return normpath("/" + path.lstrip("/"))
