"""Tracebacks, escaping, redaction and formatting of records; and counts as words."""


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return `1 mail`, `12 mails`."""
    return f"{number} {thing}" if number == 1 else f"{number} {things or thing + 's'}"
