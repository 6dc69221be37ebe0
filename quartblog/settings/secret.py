"""Settings -> the key that signs cookies: the operator's, else one that the first start creates and stores."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from quartblog.errors.exceptions import SettingsError
from quartblog.settings.kinds import SHORTEST_SECRET
from quartblog.settings.sources import variable

if TYPE_CHECKING:
    from quartblog.settings.sections import Settings

INSTANCE = Path("instance")
_OTHERS = 0o077

logger = logging.getLogger(__name__)


def secret_key(settings: Settings, instance_directory: Path = INSTANCE) -> str:
    """Return [security] secret_key, else the key in `instance_directory`/secret_key; create a missing file.

    Several processes may call this at once on a fresh machine; all of them return the same key. Raise SettingsError
    if the file cannot be created, cannot be read, or holds no valid key.
    """
    if settings.security.secret_key is not None:
        return settings.security.secret_key.get_secret_value()
    path = instance_directory / "secret_key"
    try:
        if not path.exists():
            _make(path)
        text = path.read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot create or read it: {error.strerror}; let this user write to "
            f"{instance_directory}, or set {variable('security', 'secret_key')}"
        ) from error
    if len(text) < SHORTEST_SECRET or not text.isascii() or not text.isprintable():
        raise SettingsError(
            f"{path}: holds no valid key (at least {SHORTEST_SECRET} printable ASCII characters); restore it, or "
            "delete it: the next start then creates a new key and signs everybody out"
        )
    if is_readable_by_others(path):
        logger.warning("Other users of this machine can read %s: chmod 600 %s", path, path)
    return text


def is_readable_by_others(path: Path) -> bool:
    """Whether users other than the file's owner may read or change it."""
    return bool(path.stat().st_mode & _OTHERS)


def _make(path: Path) -> None:
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        try:
            _leave_to_the_owner(folder, path.parent.absolute().parent)
        finally:
            os.close(folder)
    # mkstemp sets mode 0600. The link publishes the complete file, and never replaces the key of another process.
    handle, draft = tempfile.mkstemp(prefix=".secret_key-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
            _leave_to_the_owner(handle, path.parent)
        with suppress(FileExistsError):  # another process was first; its key counts
            os.link(draft, path)
    finally:
        Path(draft).unlink()


def _leave_to_the_owner(made: int, folder: Path) -> None:
    """Give the new file or folder to the owner of its parent: after a start as root, the site must start without."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(made, owner.st_uid, owner.st_gid)
