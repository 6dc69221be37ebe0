"""Readers besides the admins -> the errors that each of their addresses gets a copy about."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .addresses import bare_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..options import Reader
    from ..store.digests import Share


def matches(reader: Reader, share: Share) -> bool:
    """Return whether the errors meet every condition of the reader. A reader without conditions gets all errors."""
    if reader.level is not None and share.level < logging.getLevelNamesMapping()[reader.level]:
        return False
    if reader.logger is not None and not _is_below(share.logger, reader.logger, "."):
        return False
    if reader.path is None:
        return True
    return share.route is not None and _is_below(share.route, reader.path.rstrip("/"), "/")


def shares_of(readers: Iterable[Reader], shares: Sequence[Share], *, besides: Iterable[str]) -> dict[str, list[Share]]:
    """Return the shares of each reader, by envelope address. No reader gets a share twice.

    Addresses in `besides` get all errors anyway and are left out. Upper and lower case make no difference.
    """
    known = {bare_address(address).lower() for address in besides}
    wanted: dict[str, tuple[str, dict[str, Share]]] = {}
    for reader in readers:
        found = {share.fingerprint: share for share in shares if matches(reader, share)}
        for address in map(bare_address, reader.to):
            if found and address.lower() not in known:
                wanted.setdefault(address.lower(), (address, {}))[1].update(found)
    return {address: [*found.values()] for address, found in wanted.values()}


def _is_below(name: str, top: str, separator: str) -> bool:
    return name == top or name.startswith(top + separator)
