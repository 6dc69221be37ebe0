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
PROVEN = 12 * 60 * 60
"""Seconds that a proof of an administrator counts, see access.py."""

_PREFIX = "operations-key-"
_ENDED = "operations-ended-"


def make_key(folder: Path, now: float) -> str:
    """Make a key at an epoch second, and remove those that were not used in time. Raise OSError."""
    for path in folder.glob(f"{_PREFIX}*"):
        # Whatever else has such a name: a folder cannot be removed, and a pipe would never be read to its end.
        if path.is_file() and not _is_good(path, now):
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
    path = _ended(folder, login)
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
    return os.path.exists(_ended(folder, login))  # noqa: PTH110  Path.exists raises for a lost disk


def end_proofs(folder: Path, user_id: int) -> None:
    """Note that no proof counts that the account has got so far, in any browser. Raise OSError."""
    note_end(folder, _account(user_id), PROVEN)


def are_ended(folder: Path, user_id: int, made: float) -> bool:
    """Return whether that was noted after the proof was made, at an epoch second."""
    try:
        # The second of a proof is a whole one.
        return _ended(folder, _account(user_id)).stat().st_mtime >= made
    except OSError:
        return False


def _account(user_id: int) -> str:
    return f"account-{user_id}"


def _ended(folder: Path, login: str) -> Path:
    return folder / f"{_ENDED}{login[:32]}"


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
