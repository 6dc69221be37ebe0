"""SQLite files and small files of a running site -> a folder that appears only when it is whole.

Each database is copied by SQLite's backup API inside one read transaction. So the copy is the state of one moment, the
site keeps writing meanwhile, and its writes do not make the copy begin anew. `VACUUM INTO` would be as consistent, but
it shows no progress, cannot be interrupted between two pages, and builds every index again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quartblog.errors.exceptions import BackupFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Show = Callable[[int, int], None]
    """Gets how many pages of a database are copied, and how many it has."""

SUMS = "SHA256SUMS"
"""The list of checksums, in the form that `sha256sum --check` reads."""
UNFINISHED = ".unfinished-"
"""The name of a folder that is not whole contains this."""
PAGES = 256
"""Pages to copy between two reports of progress: a megabyte, with SQLite's usual page size."""
BUSY = 10.0
"""Seconds to wait for a process that repairs the source after a crash."""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Copied:
    """One file of the backup."""

    name: str
    origin: Path
    size: int
    """In bytes."""
    sha256: str


class Folder:
    """A backup in the making."""

    def __init__(self, work: Path, target: Path) -> None:
        """`work` exists and is empty; `target` is named in messages."""
        self._work = work
        self._target = target
        self.files: list[Copied] = []

    def add_database(self, source: Path, name: str, show: Show) -> None:
        """Copy a SQLite file that others may be writing, and check the copy. Raise BackupFailed."""
        copy = self._make(name)
        with closing(_connect(source)) as found, self._writing(name):
            try:
                # A transaction on the source keeps every piece of the copy at the same moment.
                found.execute("BEGIN")
                found.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.Error as error:
                raise BackupFailed(f"{source}: cannot be read: {error}") from error
            with closing(sqlite3.connect(copy, isolation_level=None)) as made:
                # A failure deletes the copy, so it needs neither a journal nor a sync before the end.
                made.execute("PRAGMA journal_mode = OFF")
                made.execute("PRAGMA synchronous = OFF")
                found.backup(made, pages=PAGES, progress=lambda _status, left, all_: show(all_ - left, all_))
            # The copy is one file, also for whoever opens it: without this, SQLite puts a log beside it.
            with closing(sqlite3.connect(copy, isolation_level=None)) as made:
                made.execute("PRAGMA journal_mode = DELETE")
                made.execute("PRAGMA synchronous = OFF")
        problem = _problem(copy)
        if problem is not None:
            raise BackupFailed(
                f"{source}: its copy is damaged, so the file itself probably is: {problem}; keep your last backup"
            )
        self._note(name, source)

    def add_file(self, source: Path, name: str) -> None:
        """Copy a small file. Raise BackupFailed."""
        try:
            content = source.read_bytes()
        except OSError as error:
            raise BackupFailed(f"{source}: cannot be read: {error.strerror}") from error
        self.add_text(content, name, source)

    def add_text(self, content: bytes, name: str, origin: Path) -> None:
        """Write a file. Raise BackupFailed."""
        path = self._make(name)
        with self._writing(name):
            path.write_bytes(content)
        self._note(name, origin)

    def seal(self) -> None:
        """Write the checksums, and put everything on the disk. Raise BackupFailed."""
        lines = "".join(f"{file.sha256}  {file.name}\n" for file in self.files)
        sums = self._make(SUMS)
        with self._writing(SUMS):
            sums.write_text(lines, "ascii")
            for path in (*self._work.iterdir(), self._work):
                _sync(path)

    def _make(self, name: str) -> Path:
        """Make an empty file that only its owner may read, before it has any content."""
        path = self._work / name
        with self._writing(name):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))
        return path

    def _note(self, name: str, origin: Path) -> None:
        path = self._work / name
        with path.open("rb") as file:
            self.files.append(
                Copied(name, origin, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
            )

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _failed(self._target, name, error) from error
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
                raise _failed(self._target, name, OSError(errno.ENOSPC, "")) from error
            raise BackupFailed(f"{self._target}: cannot copy {name}: {error}") from error


@contextmanager
def new(target: Path) -> Iterator[Folder]:
    """Give a folder to fill; it gets the name `target` at the end of the block, and vanishes on any exception.

    `target` is new, or an empty folder. Raise BackupFailed.
    """
    there = _is_there(target)
    try:
        # An empty folder may be the root of a volume, and its parent may belong to root: then only its inside is ours.
        above = target if there else target.parent
        above.mkdir(parents=True, exist_ok=True)
        # mkdtemp lets only the owner look into it.
        work = Path(tempfile.mkdtemp(prefix=f"{'' if there else f'.{target.name}'}{UNFINISHED}", dir=above))
    except OSError as error:
        raise _failed(target, "the folder", error) from error
    try:
        folder = Folder(work, target)
        yield folder
        folder.seal()
        try:
            _publish(work, target, whole=not there)
        except OSError as error:
            raise _failed(target, "the folder", error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def revision(database: Path) -> str | None:
    """Return the revision of the tables in the blog's SQLite file, None if it has none. Raise BackupFailed."""
    with closing(_connect(database)) as found:
        try:
            [named] = found.execute("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            row = found.execute("SELECT version_num FROM alembic_version").fetchone() if named else None
        except sqlite3.Error as error:
            raise BackupFailed(f"{database}: cannot be read: {error}") from error
    return None if row is None else str(row[0])


def _connect(source: Path) -> sqlite3.Connection:
    """Open a file that exists. Write access lets SQLite apply the log that a killed process left."""
    try:
        connection = sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY)
    except sqlite3.Error as error:
        raise BackupFailed(f"{source}: cannot be read: {error}") from error
    connection.isolation_level = None
    return connection


def _problem(copy: Path) -> str | None:
    """Return the first problem that SQLite finds in the file, None for a whole one."""
    try:
        # Immutable: the check makes no file beside the copy.
        with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?immutable=1", uri=True)) as database:
            [found] = database.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        return str(error)
    return None if found == "ok" else " ".join(str(found).split())


def _is_there(target: Path) -> bool:
    """Return whether the folder exists. Raise BackupFailed if it is in use."""
    try:
        if not target.exists():
            return False
        if not target.is_dir():
            raise BackupFailed(f"{target}: is a file: name a new or empty folder")
        names = sorted(path.name for path in target.iterdir())
    except OSError as error:
        raise BackupFailed(f"{target}: cannot be used: {error.strerror}") from error
    if left := next((name for name in names if UNFINISHED in name), None):
        raise BackupFailed(
            f"{target}: is not empty: it contains {left}, which belongs to a backup that runs or was killed; delete "
            "that folder if none runs"
        )
    if names:
        raise BackupFailed(f"{target}: is not empty: name a new or empty folder")
    return True


def _publish(work: Path, target: Path, *, whole: bool) -> None:
    """Give the backup its name: the folder at once, or its files one by one, the checksums last."""
    if whole:
        work.rename(target)
        _sync(target.parent)
        return
    moved: list[Path] = []
    try:
        for path in sorted(work.iterdir(), key=lambda path: path.name == SUMS):
            moved.append(path.rename(target / path.name))
            _sync(target)
    except BaseException:
        for path in moved:
            path.unlink()
        raise
    work.rmdir()
    _sync(target)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _failed(target: Path, name: str, error: OSError) -> BackupFailed:
    if error.errno in _FULL:
        return BackupFailed(f"{target}: the disk is full, so there is no backup; free space, or name another disk")
    return BackupFailed(f"{target}: cannot write {name}: {error.strerror}")
