"""The processes of one host -> the one that mails for all of them, by a lock that ends with its process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..filesystem import SECRET_MODE, companion, make
from ..forks import reset_after_fork
from ..own_log import describe, own_logger, report

if TYPE_CHECKING:
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # asked for below


logger = own_logger("leader")


class LeaderLock:
    """A file lock: who holds it leads. A leader that dies, however hard, has let go of it.

    Where there is no such lock (Windows, some network file systems, a folder that cannot be written) every
    process leads, so that no failure goes untold: the same digest may then come from each of them. stderr
    and the log say so once.

    The lock file is to be left alone: where somebody removes or replaces it in the middle of a session with the
    mail server, the next process leads within a second and sends that one mail as well. It has the same Message-ID,
    by which mail programs know it for the same. A mark on the mail would prevent this, but had to be told from the
    mark of a leader that was killed, whose mail must not wait.
    """

    def __init__(self, path: Path) -> None:
        """`path` is the lock file, made when it is missing. Nothing is locked yet."""
        self._path = path
        self._file: int | None = None
        self._explained = False
        reset_after_fork(self)

    def take(self) -> bool:
        """Whether this process leads from now on; never waits. To be asked again every second, also by the leader."""
        if self._file is not None and self._is_still_there(self._file):
            return True
        self.release()
        try:
            self._file = self._lock()
        except OSError as error:
            self._explain(f"{self._path} cannot be locked ({describe(error)})")
            return True
        if fcntl is None:
            self._explain("this system has no file locks that end with their process")
            return True
        self._explained = False
        return self._file is not None

    def release(self) -> None:
        """Let another process lead."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def reset_in_child(self) -> None:
        """The lock belongs to the open file, which a fork shares: it would outlive the leader in its child."""
        self.release()

    def _lock(self) -> int | None:
        """The locked file, None where another process has it. Raise OSError where nobody can."""
        if fcntl is None:
            return None
        if not self._path.exists():
            # Beside the outbox, and its owner's.
            make(self._path, SECRET_MODE, like=companion(self._path.with_suffix("")))
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET_MODE)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_still_there(file):
                return file
        except BlockingIOError:
            pass  # Another process has it.
        except OSError:
            os.close(file)
            raise
        os.close(file)
        return None

    def _is_still_there(self, file: int) -> bool:
        """False once somebody deleted or replaced the file: a newcomer would lock another one."""
        try:
            there = self._path.stat()
        except OSError:
            return False
        mine = os.fstat(file)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def _explain(self, why: str) -> None:
        if not self._explained:
            self._explained = True
            text = f"every process mails for itself, because {why}"
            report(text)
            logger.warning("%s", text)
