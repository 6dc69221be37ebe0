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
from pathlib import Path
from typing import TYPE_CHECKING

from concurrent_log_handler import ConcurrentRotatingFileHandler

from ..filesystem import LOG_MODE, SECRET_MODE, companion, has_no_locks, make, make_folder
from ..forks import keep_for_ever
from ..own_log import describe, own_logger, own_record, report, reraise_interrupt
from ..text import counted
from ..text.formatting import JsonFormatter, TextFormatter
from ..text.freezing import instead_of

if TYPE_CHECKING:
    from collections.abc import Sequence
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
        self._path = Path(self.baseFilename)
        self._lost = 0
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
        written = end = before = 0
        try:
            self._do_lock()
            try:
                self._check_stream()
                while written < len(texts):
                    if (before := self._size()) >= self.maxBytes > 0:
                        with contextlib.suppress(Exception):
                            self._rotate()
                        before = self._size()
                    end = self._end(texts, written, before)
                    self.do_write(self.terminator.join(texts[written:end]))
                    written = end
            finally:
                self._do_unlock()
        except Exception as error:  # noqa: BLE001  a disk fails in many ways
            self._drop_open_files()
            return written + _complete_lines(texts[written:end], self._size() - before), error
        return written, None

    def _end(self, texts: Sequence[str], start: int, size: int) -> int:
        """Return the end of the lines from `start` that fill a file of this size."""
        # A file that is full already could not be renamed. It grows beyond its bound, which loses nothing.
        if not size >= self.maxBytes > 0:
            for number in range(start, len(texts)):
                size += _length(texts[number])
                if size >= self.maxBytes > 0:
                    return number + 1
        return len(texts)

    def _rotate(self) -> None:
        """As the base class, which looks at each name four times while all other processes wait."""
        # Raises for a user who may not write the file: the service could not write a new one of that user.
        self._predecessor = companion(self._path) or self._predecessor
        if self.use_gzip or self.backupCount < 1:
            self.doRollover()
            return
        self._close()
        number = 1
        # Files above the first free number stay: where the current file cannot be renamed, each record tries a
        # rotation, and that would delete all old files.
        while number < self.backupCount and self._rotated(number).exists():
            number += 1
        for older in range(number, 0, -1):
            self._rotated(older - 1).replace(self._rotated(older))

    def _rotated(self, number: int) -> Path:
        return Path(f"{self._path}.{number}") if number else self._path

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def _open_lockfile(self) -> None:
        make_folder(self._path.parent)
        if not (lock := Path(self.lockFilename)).exists():
            make(lock, SECRET_MODE, like=companion(self._path))
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
        make(self._path, LOG_MODE, like=self._predecessor)
        return super().do_open(mode)

    def do_gzip(self, input_filename: str) -> None:
        """Compress a rotated file into one of the same owner."""
        make(Path(f"{input_filename}.gz"), LOG_MODE, like=self._predecessor)
        super().do_gzip(input_filename)

    def do_write(self, msg: str) -> None:
        """Write lines, and report the end of an outage."""
        if self._lost and _ends_within_a_line(self._path):
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
