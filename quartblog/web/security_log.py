"""What concerns security -> one INFO record on `quartblog.security`: event, user id and address, and no secret.

What a stranger can cause without any limit, such as a refused form, is recorded at most once a minute, with the number
of the others: it would push every error out of the log file. See `quartblog.web.seldom`.
"""

import ipaddress
import logging
from enum import StrEnum

from quart import current_app, has_request_context, request

logger = logging.getLogger("quartblog.security")

ADDRESSES = "LOG_ADDRESSES"
"""The key of app.config that says how much of an address is kept: "full", "shortened" or "none"."""


class Event(StrEnum):
    """What a record is about."""

    SIGNED_IN = "signed in"
    SIGN_IN_REFUSED = "sign-in refused"
    SIGNED_OUT = "signed out"
    REGISTERED = "registered"
    NEW_PASSWORD = "password changed"  # noqa: S105  no password
    WRONG_PASSWORD = "change of password refused"  # noqa: S105  no password
    SESSION_ENDED = "session ended"


def note(event: Event, user_id: int | None = None) -> None:
    """Log one event of the request that is being answered."""
    logger.info("%s: user %s, address %s", event, "-" if user_id is None else user_id, visitor_address() or "-")


def visitor_address() -> str:
    """Return where the request comes from, as far as `[security] log_addresses` allows; "" for nothing."""
    kept = current_app.config[ADDRESSES]
    if kept == "none" or not has_request_context() or not request.remote_addr:
        return ""
    try:
        address = ipaddress.ip_address(request.remote_addr)
    except ValueError:
        # A path, as with a Unix socket.
        return ""
    if kept == "full":
        return str(address)
    # A network that many share: what data protection offices ask of a log that shall identify nobody.
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))
