"""Redirect target -> the same target if it stays on this site."""

from posixpath import normpath
from urllib.parse import unquote, urlsplit, urlunsplit


def safe_path(address: str | None, *, never: str | None = None) -> str | None:
    """Return `address` if it stays on this site and does not lead to the path `never`, else None.

    It must start with one slash, without a second slash or backslash after it, and hold no control characters or
    blanks: browsers read `/\\evil`, `//evil` and `/<tab>/evil` as another host.
    """
    if not address or not address.startswith("/") or address[1:2] in {"/", "\\"}:
        return None
    if any(character <= " " or character == "\x7f" for character in address):
        return None
    return None if _destination(address) == never else address


def within_site(location: str) -> str:
    """Return the address without scheme and host, because every redirect stays on this site."""
    try:
        _, _, path, query, fragment = urlsplit(location)
    except ValueError:  # An invalid host.
        return "/"
    # Browsers would read two leading slashes as a host again.
    return urlunsplit(("", "", "/" + path.lstrip("/\\"), query, fragment))


def _destination(address: str) -> str:
    """Return the path that a browser finally requests, as the server decodes it."""
    path = unquote(urlsplit(address).path).replace("\\", "/")
    # One leading slash, because normpath keeps two.
    return normpath("/" + path.lstrip("/"))
