"""Groups and routes -> the recipients besides the admins, each with some of the groups."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..options import Route
    from ..store.groups import Group


def matches(route: Route, group: Group) -> bool:
    """Return whether the group meets every condition of the route. A route without conditions has all groups."""
    if route.level is not None and group.level < logging.getLevelNamesMapping()[route.level]:
        return False
    if route.logger is not None and not _is_below(group.logger, route.logger, "."):
        return False
    if route.path is None:
        return True
    return group.route is not None and _is_below(group.route, route.path.rstrip("/"), "/")


def readers(
    routes: Iterable[Route], groups: Sequence[Group], *, besides: Iterable[str]
) -> list[tuple[tuple[str, ...], list[Group]]]:
    """Return pairs of addresses and their groups, in order. Each address is in one pair, with others of equal groups.

    Addresses in `besides` get all groups anyway and are left out.
    """
    known = {address.lower() for address in besides}
    wanted: dict[str, tuple[str, set[int]]] = {}
    for route in routes:
        numbers = {number for number, group in enumerate(groups) if matches(route, group)}
        for address in route.to:
            if address.lower() not in known:
                wanted.setdefault(address.lower(), (address, set()))[1].update(numbers)
    together: dict[tuple[int, ...], list[str]] = {}
    for address, numbers in wanted.values():
        if numbers:
            together.setdefault(tuple(sorted(numbers)), []).append(address)
    return [(tuple(addresses), [groups[number] for number in numbers]) for numbers, addresses in together.items()]


def _is_below(name: str, top: str, separator: str) -> bool:
    return name == top or name.startswith(top + separator)
