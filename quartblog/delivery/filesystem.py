"""Path -> a new file or folder with the right owner and mode, and whether its volume has locks.

A command that root runs beside the service must not lock the service out of its own files. So a file that root makes
gets the owner of its companion (a lock file that of the locked file, a log file that of its predecessor), or else
that of its folder. It gets their group too, whoever makes it. Only a file that was made in this very call changes its
owner: an existing name may be a link that somebody has put there for root to follow.
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
    fcntl = None  # type: ignore[assignment]  # asked for below

if TYPE_CHECKING:
    from pathlib import Path

LOG_MODE = 0o640
"""The operator's group may read logs."""
SECRET_MODE = 0o600
"""Locks, and files that hold error texts, addresses and links that reset a password."""

# NFS without its lock daemon, and volumes whose driver has no locks.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


def has_no_locks(error: BaseException | None) -> bool:
    """Whether the error, or the one behind it, says that files cannot be locked here at all."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_LOCKS:
            return True
        error = error.__cause__
    return False


def lock_file(file: int) -> bool:
    """Lock an open file against other processes; False while one of them has it. Raise OSError.

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
    """Make an empty file, unless there is something of this name; whether it was made. Raise OSError.

    `like` is its companion: where a group may write that, it may write this one too.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
    except FileExistsError:
        return False
    try:
        if hasattr(os, "fchown"):
            folder = path.parent.stat()
            _give(file, like or folder)
            # The folder may be root's with the service as a member of its group: whose user it has, nobody knows.
            shared = folder if like is None and os.geteuid() == folder.st_uid == 0 != folder.st_gid else like
            if shared is not None and shared.st_mode & stat.S_IWGRP:
                os.fchmod(file, mode | (mode & stat.S_IRWXU) >> 3)
    finally:
        os.close(file)
    return True


def companion(path: Path) -> os.stat_result | None:
    """Whose the file is; None where there is none, or it is a link or a device.

    Raise PermissionError where it is another user's and not for us to write: he could not use what we make beside it.
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
    """Raise PermissionError where the file is another user's and not for us to write."""
    companion(path)


def make_private(path: Path) -> None:
    """Make an empty file that only its owner may read, and its folders, where they are missing. Raise OSError."""
    make_folder(path.parent)
    make(path, SECRET_MODE)


def make_folder(path: Path) -> None:
    """Make a folder and those above it where they are missing. Raise OSError."""
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
    """The user's name, or the number where it has none."""
    try:
        import pwd  # noqa: PLC0415  there is none on Windows

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return str(number)


def _give(file: int, like: os.stat_result) -> None:
    # Who is not root may give a file to a group of his own. Some volumes have no owners at all.
    with contextlib.suppress(OSError):
        os.fchown(file, like.st_uid if os.geteuid() == 0 else -1, like.st_gid)
