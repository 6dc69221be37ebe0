"""Purpose of a cookie -> its name, which no other site on this host has and no other host can set."""

from quart import current_app, has_request_context, request

SESSION, LOGIN = "quartblog", "quartblog_login"


def cookie_name(purpose: str, *, whole_site: bool = True) -> str:
    """Return the name of a cookie for the request that is being answered.

    Over HTTPS it begins with `__Host-`, or `__Secure-` for a cookie of one folder: browsers take such a cookie from
    nobody but this host, over HTTPS (RFC 6265bis, section 4.1.3). Cookies do not distinguish ports, so two blogs on one
    machine would sign each other out: where the address has a port, the name ends with it.
    """
    prefix = ("__Host-" if whole_site else "__Secure-") if current_app.config["SESSION_COOKIE_SECURE"] else ""
    host = request.host if has_request_context() else ""
    _host, _colon, port = host.rpartition(":")
    # An IPv6 address without a port ends with a bracket.
    return f"{prefix}{purpose}_{port}" if port.isdecimal() and _host else f"{prefix}{purpose}"
