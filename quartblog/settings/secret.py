"""The key that signs cookies: the operator's own, else one made on the first start and kept."""

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
    """Return [security] secret_key, else the one kept in `instance_directory`/secret_key, made where missing.

    Any number of processes may call this at once on a fresh machine: all of them return the same key. Raise
    SettingsError where the file cannot be made, cannot be read, or holds no key.
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
            f"{path}: cannot be made or read: {error.strerror}; let this user write to "
            f"{instance_directory}, or set {variable('security', 'secret_key')}"
        ) from error
    if len(text) < SHORTEST_SECRET or not text.isascii() or not text.isprintable():
        raise SettingsError(
            f"{path}: holds no usable key (at least {SHORTEST_SECRET} printable ASCII characters); restore it, or "
            "delete it to have a new one made, which signs everybody out"
        )
    if is_readable_by_others(path):
        logger.warning("%s can be read by other users of this machine: chmod 600 %s", path, path)
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
    # mkstemp gives mode 0600. The link is what publishes it: complete, and never over a key another process made.
    handle, draft = tempfile.mkstemp(prefix=".secret_key-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
            _leave_to_the_owner(handle, path.parent)
        with suppress(FileExistsError):  # another process was first; its key is the key
            os.link(draft, path)
    finally:
        Path(draft).unlink()


def _leave_to_the_owner(made: int, folder: Path) -> None:
    """Give what was made to the owner of its folder: a site that root started once must start without root as well."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(made, owner.st_uid, owner.st_gid)
