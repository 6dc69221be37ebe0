"""Folder -> single-use keys for the operations pages, and the logins that have ended: one file each.

Files work without the blog's database and without the outbox, all workers see them, and only one can remove one.
"""

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

from quartblog.delivery.tools import make_private

LASTS = 600.0
"""Seconds for which a key can be used."""

_PREFIX = "operations-key-"
_ENDED = "operations-ended-"


def make_key(folder: Path, now: float) -> str:
    """Make a key at an epoch second, and remove those that were not used in time. Raise OSError."""
    for path in folder.glob(f"{_PREFIX}*"):
        if not _is_good(path, now):
            path.unlink(missing_ok=True)
    key = secrets.token_urlsafe(32)
    path = _file(folder, key)
    make_private(path)
    path.write_text(f"{now + LASTS}", "ascii")
    return key


def use_key(folder: Path, key: str, now: float) -> bool:
    """Return whether the key is good at an epoch second; it is not good again."""
    path = _file(folder, key)
    good = _is_good(path, now)
    # Of several visitors with one key, only one removes the file.
    with suppress(OSError):
        path.unlink()
        return good
    return False


def note_end(folder: Path, login: str, lasts: float) -> None:
    """Note that a login has ended; forget those noted more than `lasts` seconds ago. Raise OSError."""
    path = folder / f"{_ENDED}{login[:32]}"
    make_private(path)
    path.touch()
    newest = path.stat().st_mtime
    for other in folder.glob(f"{_ENDED}*"):
        with suppress(OSError):
            # Of another worker, which may have removed it by now.
            if newest - other.stat().st_mtime > lasts:
                other.unlink()


def has_ended(folder: Path, login: str) -> bool:
    """Return whether the end of this login was noted."""
    return os.path.exists(folder / f"{_ENDED}{login[:32]}")  # noqa: PTH110  Path.exists raises for a lost disk


def _is_good(path: Path, now: float) -> bool:
    try:
        left = float(path.read_text("ascii")) - now
    except (OSError, ValueError):
        return False
    # More than LASTS: the clock was turned back since.
    return 0 <= left <= LASTS


def _file(folder: Path, key: str) -> Path:
    # Whoever reads the folder must not learn the key.
    return folder / f"{_PREFIX}{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:32]}"
