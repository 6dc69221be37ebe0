"""Where a visitor may be sent after signing in."""


def safe_path(address: str | None) -> str | None:
    """Give back `address` if it surely stays on this site, else None.

    One leading slash, no second slash or backslash behind it, no control characters or blanks: browsers read
    `/\\evil`, `//evil` and `/<tab>/evil` as another host.
    """
    if not address or not address.startswith("/") or address[1:2] in {"/", "\\"}:
        return None
    if any(character <= " " or character == "\x7f" for character in address):
        return None
    return address
