"""Unsafe request -> whether a page of this site sent it -> the view, or a refusal: protection against CSRF.

There are no tokens. The browser says where a request comes from, and no page can change what it says:

- `Sec-Fetch-Site`, from every browser since 2023, to HTTPS sites and to the local machine: `same-origin`, or `none` for
  what the visitor began, such as a reload. Every other value is refused.
- Without it, `Origin` must be the site's: `site.public_url` if it is set, or the host that the request was sent to.
- With neither, the request is refused. Scripts send `Origin`.

Source: Fetch Metadata Request Headers (W3C) and the rules of Go 1.25's `http.CrossOriginProtection`, which accepts
requests with neither header; we do not, because nobody needs them here.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from quart import Quart, current_app, request
from werkzeug.datastructures import Headers

from quartblog.errors.exceptions import FromElsewhere, FromNowhere
from quartblog.web.security_log import logger as security
from quartblog.web.seldom import Seldom

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

logger = logging.getLogger(__name__)

_PUBLIC = "quartblog.public_url"
_REFUSALS = "quartblog.refused_forms"
_OURS = frozenset({"same-origin", "none"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
# Characters of a header that a record shows.
_SHOWN = 100
_View = TypeVar("_View", bound=Callable[..., object])


def init_app(app: Quart, public_url: str | None) -> None:
    """Check every unsafe request before its view. `public_url`: None if it is not set.

    Its default is an address of the visitor's own machine, where any program may serve pages.
    """
    app.extensions[_PUBLIC] = None if public_url is None else _origin(public_url)
    app.extensions[_REFUSALS] = Seldom(security, logging.INFO)
    app.before_request(refuse_from_elsewhere)


def from_anywhere(view: _View) -> _View:
    """Mark a view that changes no data, so that any site may send it any method."""
    vars(view)["from_anywhere"] = True
    return view


async def refuse_from_elsewhere() -> None:
    """Raise FromElsewhere when another site sent this unsafe request, FromNowhere when it says nothing."""
    if request.method in SAFE_METHODS or request.endpoint is None:
        return
    if getattr(current_app.view_functions.get(request.endpoint), "from_anywhere", False):
        return
    public = current_app.extensions[_PUBLIC]
    if is_ours(request.headers, request.scheme, public):
        return
    # An operator finds a proxy that changes Host by this line: the site's own forms are refused then.
    current_app.extensions[_REFUSALS].log(
        "Refused a form from elsewhere: Sec-Fetch-Site %s, Origin %s, Host %s, scheme %s, site.public_url %s",
        *(_shown(request.headers, name) for name in ("Sec-Fetch-Site", "Origin", "Host")),
        request.scheme,
        repr(public) if public else "is not set",
    )
    raise FromElsewhere if "Sec-Fetch-Site" in request.headers or "Origin" in request.headers else FromNowhere


def is_ours(headers: Headers, scheme: str, public: str | None) -> bool:
    """Whether a page of this site, or the visitor, sent a request with these headers.

    `scheme`: the request's, as far as this server knows it. `public`: the origin of `site.public_url`, None if it is
    not set.
    """
    # Browsers send each of the two once. Of several, a proxy could have read another than we do.
    if sites := headers.getlist("Sec-Fetch-Site"):
        return len(sites) == 1 and sites[0] in _OURS
    origins = headers.getlist("Origin")
    ours = {public, _origin(f"{scheme}://{headers.get('Host', '')}")}
    if public is None:
        # Behind a proxy that no setting declares trusted, HTTPS looks like HTTP here; never the other way round.
        ours.add(_origin(f"https://{headers.get('Host', '')}"))
    return len(origins) == 1 and _origin(origins[0]) in ours and "Host" in headers


def _origin(url: str) -> str:
    """Return an origin in the form that browsers send: lower case, without the scheme's own port."""
    origin = url.lower().rstrip("/")
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(":")[0], ""))


def _shown(headers: Headers, name: str) -> str:
    values = headers.getlist(name)
    # Quoted, so that no value looks like another field, or like a missing one.
    return ascii(", ".join(values)[:_SHOWN]) if values else "is missing"
