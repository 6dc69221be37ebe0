"""Groups and readers -> the recipients besides the admins, each with some of the groups."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..options import Reader
    from ..store.groups import Group


def matches(reader: Reader, group: Group) -> bool:
    """Return whether the group meets every condition of the reader. A reader without conditions gets all groups."""
    if reader.level is not None and group.level < logging.getLevelNamesMapping()[reader.level]:
        return False
    if reader.logger is not None and not _is_below(group.logger, reader.logger, "."):
        return False
    if reader.path is None:
        return True
    return group.route is not None and _is_below(group.route, reader.path.rstrip("/"), "/")


def shares_of(
    readers: Iterable[Reader], groups: Sequence[Group], *, besides: Iterable[str]
) -> list[tuple[tuple[str, ...], list[Group]]]:
    """Return pairs of addresses and their groups, in order. Each address is in one pair, with others of equal groups.

    Addresses in `besides` get all groups anyway and are left out.
    """
    known = {address.lower() for address in besides}
    wanted: dict[str, tuple[str, set[int]]] = {}
    for reader in readers:
        numbers = {number for number, group in enumerate(groups) if matches(reader, group)}
        for address in reader.to:
            if address.lower() not in known:
                wanted.setdefault(address.lower(), (address, set()))[1].update(numbers)
    together: dict[tuple[int, ...], list[str]] = {}
    for address, numbers in wanted.values():
        if numbers:
            together.setdefault(tuple(sorted(numbers)), []).append(address)
    return [(tuple(addresses), [groups[number] for number in numbers]) for numbers, addresses in together.items()]


def _is_below(name: str, top: str, separator: str) -> bool:
    return name == top or name.startswith(top + separator)
