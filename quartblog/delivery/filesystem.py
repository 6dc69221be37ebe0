"""Path -> a new file or folder with the right owner and mode, and whether its volume has locks.

A command that root runs beside the service must not lock the service out of its own files. So a file that root makes
gets the owner of its companion, or without one the owner of its folder. The companion of a lock file is the locked
file, that of a log file is its predecessor. A file of any user gets their group. Only a file that this call has made
changes its owner: an existing name may be a link that an attacker has made for root to follow.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # `lock_file` checks it

if TYPE_CHECKING:
    from pathlib import Path

LOG_MODE = 0o640
"""The operator's group may read logs."""
SECRET_MODE = 0o600
"""Only the owner may read locks, and files with error texts, addresses and links that reset a password."""

# NFS without its lock daemon, and volumes whose driver has no locks.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


def has_no_locks(error: BaseException | None) -> bool:
    """Return whether the error, or a cause of it, means that the volume has no locks."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_LOCKS:
            return True
        error = error.__cause__
    return False


def lock_file(file: int) -> bool:
    """Lock an open file against other processes; return False while one of them has it. Raise OSError.

    True as well on a system or volume that has no such locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if not has_no_locks(error):
            raise
    return True


def make(path: Path, mode: int, *, like: os.stat_result | None = None) -> bool:
    """Make an empty file, unless the name exists; return whether it was made. Raise OSError.

    `like` is its companion: if its group may write the companion, it may write this file too.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
    except FileExistsError:
        return False
    try:
        if hasattr(os, "fchown"):
            folder = path.parent.stat()
            _give(file, like or folder)
            # The folder may be root's with the service in its group. Then the user of the service is not known.
            shared = folder if like is None and os.geteuid() == folder.st_uid == 0 != folder.st_gid else like
            if shared is not None and shared.st_mode & stat.S_IWGRP:
                os.fchmod(file, mode | (mode & stat.S_IRWXU) >> 3)
    finally:
        os.close(file)
    return True


def companion(path: Path) -> os.stat_result | None:
    """Return the status of a file; None if there is no file of this name, or a link or a device.

    Raise PermissionError for a file of another user that this process may not write: that user could not write a file
    made beside it.
    """
    try:
        found = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    if hasattr(os, "geteuid") and os.geteuid() not in {0, found.st_uid} and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, f"belongs to the user {user(found.st_uid)}", str(path))
    return found


def check_owner(path: Path) -> None:
    """Raise PermissionError for a file of another user that this process may not write."""
    companion(path)


def make_private(path: Path) -> None:
    """Make an empty file that only its owner may read, and its folders, if they are missing. Raise OSError."""
    make_folder(path.parent)
    make(path, SECRET_MODE)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, if they are missing. Raise OSError."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    if hasattr(os, "fchown"):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _give(folder, path.parent.stat())
        finally:
            os.close(folder)


def user(number: int) -> str:
    """Return the user's name, or the number of a user without one."""
    try:
        import pwd  # noqa: PLC0415  Windows has no such module

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return str(number)


def _give(file: int, like: os.stat_result) -> None:
    # A user other than root may only choose one of the user's own groups. Some volumes have no owners at all.
    with contextlib.suppress(OSError):
        os.fchown(file, like.st_uid if os.geteuid() == 0 else -1, like.st_gid)
