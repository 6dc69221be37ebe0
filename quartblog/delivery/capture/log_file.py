"""Formatted lines, many at a time -> the rotating log file that all processes of a host write together.

concurrent-log-handler has no public way to write a batch under one lock. This module alone uses its private methods,
and `tests/delivery/test_log_file.py` fails when one of them changes: `_do_lock`, `_do_unlock`, `_open_lockfile` and
`_lock_stream_lock` (one lock for many lines, a lock file with the right owner, a volume without locks),
`_check_stream` (another process may have rotated the file), `_close` (before a rotation).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from concurrent_log_handler import ConcurrentRotatingFileHandler

from ..filesystem import LOG_MODE, SECRET_MODE, companion, has_no_locks, make, make_folder
from ..forks import keep_for_ever
from ..own_log import describe, own_logger, report, reraise_interrupt
from ..text import counted
from ..text.formatting import JsonFormatter, TextFormatter
from .finalize import instead_of, own_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import TextIOWrapper

    from ..options import FileOptions

logger = own_logger("file")

CLOSING = 1.0
"""Seconds that a close waits for a write under way."""


class RotatingFile(ConcurrentRotatingFileHandler):
    """ConcurrentRotatingFileHandler that survives a full disk, a read-only folder and a volume without locks.

    While writing fails, records are lost, and stderr reports it once. When a record can be written again, stderr
    reports how many were lost.

    Without locks several processes still append whole records, but two that rotate at once may lose some.
    """

    def __init__(self, options: FileOptions) -> None:
        """The first record opens the file."""
        super().__init__(
            str(options.path),
            maxBytes=options.max_bytes,
            backupCount=options.backup_count,
            encoding="utf-8",
            use_gzip=options.compress,
        )
        self._lost = 0
        self._stuck = False
        self._unlocked = False
        self._predecessor: os.stat_result | None = None
        self._writing = threading.Lock()
        self._options = options
        self.reconfigure(options)

    def reconfigure(self, options: FileOptions) -> None:
        """Use this format from the next record on, and these sizes from the next write on. The path stays."""
        self.setFormatter(JsonFormatter() if options.format == "json" else TextFormatter(utc=options.utc))
        self._options = options

    @property
    def writable(self) -> bool:
        """Whether the last record reached the file."""
        return self._lost == 0

    def try_again(self) -> None:
        """After a failed write: write a line that shows when the outage ended."""
        line = self.line(own_record(logging.INFO, "The log file is written again"))
        with self._writing:
            self._append([line])

    def flush(self) -> None:
        """Do nothing: every write reaches the file."""

    def close(self) -> None:
        """Close the file, unless a write hangs."""
        if self._writing.acquire(timeout=CLOSING):
            try:
                super().close()
            finally:
                self._writing.release()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record now."""
        self.write([self.line(record)])

    def line(self, record: logging.LogRecord) -> str:
        """Format the record. When that fails, return a line with the reason instead."""
        try:
            return self.format(record)
        except BaseException as error:  # noqa: BLE001  a record may misbehave in a hundred ways
            reraise_interrupt(error)
            return self.format(instead_of(record, f"this record could not be written: {describe(error)}"))

    def write(self, texts: Sequence[str]) -> int:
        """Append lines under one lock, rotate between them where due, and return how many were written."""
        # Not logging's own lock: at exit that would wait for a disk that hangs.
        with self._writing:
            self._use_sizes()
            written, error = self._append(texts)
            if isinstance(error, FileNotFoundError):  # The folder was removed; the next try makes it again.
                more, error = self._append(texts[written:])
                written += more
            if error is not None:
                self._report_failure(error, len(texts) - written)
        return written

    def abandon(self) -> None:
        """After a fork, in the child: never close or flush what the parent has open, which may hold half a line."""
        for file in (self.stream, self.stream_lock):
            if file is not None:
                keep_for_ever(file)
                with contextlib.suppress(OSError, ValueError):
                    # A lock ends with the last copy of its descriptor, and the child may outlive its parent.
                    os.close(file.fileno())
        self.stream = self.stream_lock = None
        self._writing = threading.Lock()

    def _use_sizes(self) -> None:
        """Under the lock, because a rotation reads them several times."""
        self.maxBytes = self._options.max_bytes
        self.backupCount = self._options.backup_count
        self.use_gzip = self._options.compress

    def _append(self, texts: Sequence[str]) -> tuple[int, Exception | None]:
        """Return how many lines were written, and the error that stopped it."""
        written = end = 0
        path, before = self._numbered(0), None
        try:
            self._do_lock()
            try:
                self._check_stream()
                for number, end in self._parts(texts):
                    path = self._numbered(number)
                    before = _size(path)
                    if end > written:
                        self._write_to(number, self.terminator.join(texts[written:end]))
                    written = end
            finally:
                self._do_unlock()
        except Exception as error:  # noqa: BLE001  a disk fails in many ways
            self._drop_open_files()
            if before is not None and end > written:
                written += _complete_lines(texts[written:end], _size(path) - before)
            return written, error
        return written, None

    def _parts(self, texts: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield (file number, end of its lines), and rotate in between. Number 0, the current file, is first and last.

        One rotation serves all files that the texts fill, unless files are compressed. Each step of a rotation may
        wait for the interpreter, while all other processes wait for this one.
        """
        first, *others = self._ends(texts)
        yield 0, first
        while others:
            at_once = 1 if self.use_gzip or self.backupCount < 1 or self._stuck else len(others)
            with contextlib.suppress(Exception):
                self._rotate(at_once)
            self._stuck = _size(self._numbered(0)) > 0
            if self._stuck:
                # The file cannot be renamed. It grows beyond its bound, which loses nothing.
                at_once, others = 1, others[-1:]
            for number in reversed(range(at_once)):
                yield number, others.pop(0)

    def _ends(self, texts: Sequence[str]) -> Iterator[int]:
        """Yield the end of the lines for the current file, then of the lines that fill each later file."""
        size = _size(self._numbered(0))
        for number, text in enumerate(texts):
            if size >= self.maxBytes > 0:
                yield number
                size = 0
            size += _length(text)
        yield len(texts)

    def _rotate(self, places: int) -> None:
        """Close the file and rename it to number `places`; rename older files only as far as they are in the way.

        The result is that of so many rotations by the base class, which looks at every name four times. Files beyond
        `backupCount` are deleted. Unlike there, files above the first free number stay: where the current file cannot
        be renamed, each record tries a rotation, and that would delete all old files.
        """
        # Raises for a user who may not write the file: the service could not write a new one of that user.
        self._predecessor = companion(self._numbered(0)) or self._predecessor
        if self.use_gzip or self.backupCount < 1:
            super().doRollover()
            return
        self._close()
        moves = [(0, free := places)]
        for number in range(1, self.backupCount + 1):
            if number > free:
                break
            if self._numbered(number).exists():
                free += 1
                moves.append((number, free))
        for number, target in reversed(moves):
            if target <= self.backupCount:
                os.replace(self._numbered(number), self._numbered(target))  # noqa: PTH105  Path.replace makes another Path
            else:
                self._numbered(number).unlink()

    def _write_to(self, number: int, text: str) -> None:
        if number == 0:
            self.do_write(text)
        elif number <= self.backupCount:  # Rotation would delete files with higher numbers.
            make(self._numbered(number), LOG_MODE, like=self._predecessor)
            self._numbered(number).write_bytes(f"{text}{self.terminator}".encode("utf-8", self.unicode_error_policy))

    def _numbered(self, number: int) -> Path:
        return _numbered(self.baseFilename, number)

    def _open_lockfile(self) -> None:
        make_folder(Path(self.baseFilename).parent)
        if not (lock := Path(self.lockFilename)).exists():
            make(lock, SECRET_MODE, like=companion(self._numbered(0)))
        super()._open_lockfile()

    def _lock_stream_lock(self, stream_lock: TextIOWrapper) -> None:
        try:
            super()._lock_stream_lock(stream_lock)
        except Exception as error:
            if not has_no_locks(error):
                raise
            self._report_no_lock(error)

    def _do_unlock(self) -> None:
        try:
            super()._do_unlock()
        except Exception as error:
            # The volume has no locks, so there is nothing to release.
            if not has_no_locks(error):
                raise

    def _report_no_lock(self, error: Exception) -> None:
        if not self._unlocked:
            self._unlocked = True
            text = f"{self.baseFilename} is written without a lock, because this volume has none ({describe(error)})"
            report(text)
            logger.warning("%s", text)

    def do_open(self, mode: str | None = None) -> TextIOWrapper:
        """Open the file. A new one gets the owner of its predecessor."""
        make(self._numbered(0), LOG_MODE, like=self._predecessor)
        return super().do_open(mode)

    def do_gzip(self, input_filename: str) -> None:
        """Compress a rotated file into one of the same owner."""
        make(Path(f"{input_filename}.gz"), LOG_MODE, like=self._predecessor)
        super().do_gzip(input_filename)

    def do_write(self, msg: str) -> None:
        """Write lines, and report the end of an outage."""
        if self._lost and _ends_within_a_line(Path(self.baseFilename)):
            msg = f"\n{msg}"
        super().do_write(msg)
        if self._lost:
            lost, self._lost = self._lost, 0
            report(f"{self.baseFilename} is written again; {counted(lost, 'record was', 'records were')} lost")

    def _report_failure(self, error: Exception, lost: int) -> None:
        if not self._lost:
            report(f"{self.baseFilename} cannot be written, records are lost until it can: {describe(error)}")
        self._lost += lost

    def _drop_open_files(self) -> None:
        # The buffer holds half a record, which a later flush would put into the middle of the file. The lock file
        # is closed too, because its folder may be gone.
        for file in (self.stream, self.stream_lock):
            with contextlib.suppress(OSError, ValueError):
                if file is not None:
                    file.close()
        self.stream = self.stream_lock = None


# In a storm each flush asks for forty of the same names, and pathlib took half of its time.
@lru_cache(maxsize=1024)
def _numbered(base: str, number: int) -> Path:
    return Path(f"{base}.{number}" if number else base)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _length(text: str) -> int:
    """Return the bytes of the record in the file."""
    # Only a text that is not ASCII must be encoded for that.
    return 1 + (len(text) if text.isascii() else len(text.encode("utf-8", "replace")))


def _complete_lines(texts: Sequence[str], size: int) -> int:
    """Return how many of the lines are complete within `size` bytes."""
    for number, text in enumerate(texts):
        size -= _length(text)
        if size < 0:
            return number
    return len(texts)


def _ends_within_a_line(path: Path) -> bool:
    """Return whether the last line has no end, as after a full disk."""
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:
        return False
