"""Routes -> the readers besides the admins -> the errors that each of them gets a copy about."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..options import Route
    from ..store.digests import Share


def matches(route: Route, share: Share) -> bool:
    """Return whether the errors meet every condition of the route. A route without conditions gets all errors."""
    if route.level is not None and share.level < logging.getLevelNamesMapping()[route.level]:
        return False
    if route.logger is not None and not _is_below(share.logger, route.logger, "."):
        return False
    if route.path is None:
        return True
    return share.route is not None and _is_below(share.route, route.path.rstrip("/"), "/")


def readers(routes: Iterable[Route], shares: Sequence[Share], *, besides: Iterable[str]) -> dict[str, list[Share]]:
    """Return the shares of each reader, by address. No reader gets a share twice.

    Addresses in `besides` get all errors anyway and are left out. Upper and lower case make no difference.
    """
    known = {address.lower() for address in besides}
    wanted: dict[str, tuple[str, dict[str, Share]]] = {}
    for route in routes:
        found = {share.fingerprint: share for share in shares if matches(route, share)}
        for address in route.to:
            if found and address.lower() not in known:
                wanted.setdefault(address.lower(), (address, {}))[1].update(found)
    return {address: [*found.values()] for address, found in wanted.values()}


def _is_below(name: str, top: str, separator: str) -> bool:
    return name == top or name.startswith(top + separator)
