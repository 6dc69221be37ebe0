"""Records -> the rotating log file, which several processes write together, many records at a time."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from concurrent_log_handler import ConcurrentRotatingFileHandler

from ..stderr import LOGGER_NAME, describe, report
from ..text.formatting import JsonFormatter, TextFormatter
from .settling import instead_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..options import FileOptions

CLOSING = 1.0
"""Seconds a close waits for a write that has not returned."""


class RotatingFile(ConcurrentRotatingFileHandler):
    """ConcurrentRotatingFileHandler that outlives a full disk and a folder it may not write.

    While writing fails, stderr is told once and records are lost; the first record that can be
    written again ends that, and stderr is told how many were lost.
    """

    def __init__(self, options: FileOptions) -> None:
        """Nothing is opened before the first record."""
        super().__init__(
            str(options.path),
            maxBytes=options.max_bytes,
            backupCount=options.backup_count,
            encoding="utf-8",
            use_gzip=options.compress,
        )
        self._lost = 0
        self._writing = threading.Lock()
        self.setFormatter(JsonFormatter() if options.format == "json" else TextFormatter())

    @staticmethod
    def check(options: FileOptions) -> None:
        """Raise OSError where such a file cannot be written."""
        options.path.parent.mkdir(parents=True, exist_ok=True)
        options.path.open("ab").close()

    @property
    def writable(self) -> bool:
        """Whether the last record reached the file."""
        return self._lost == 0

    def try_again(self) -> None:
        """After a failed write: a line of our own, which stands in the file once it can be written."""
        told = logging.LogRecord(LOGGER_NAME, logging.INFO, __file__, 0, "The log file is written again", None, None)
        with self._writing:
            self._append([self.line(told)])

    def flush(self) -> None:
        """Nothing waits here: every write reaches the file."""

    def close(self) -> None:
        """Close the file, unless the disk hangs with it."""
        if self._writing.acquire(timeout=CLOSING):
            try:
                super().close()
            finally:
                self._writing.release()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record now."""
        self.write([self.line(record)])

    def line(self, record: logging.LogRecord) -> str:
        """The record as it stands in the file; one that cannot be written becomes a line that says why."""
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001  a record may misbehave in a hundred ways
            return self.format(instead_of(record, f"this record could not be written: {describe(error)}"))

    def write(self, texts: Sequence[str]) -> int:
        """Append finished records under one lock, rotating between them as if each came alone; how many are in."""
        # Not logging's own lock: at exit that would wait for a disk that hangs.
        with self._writing:
            written, error = self._append(texts)
            if isinstance(error, FileNotFoundError):  # Somebody removed the folder: it is made again.
                more, error = self._append(texts[written:])
                written += more
            if error is not None:
                self._tell_of(error, len(texts) - written)
        return written

    def _append(self, texts: Sequence[str]) -> tuple[int, Exception | None]:
        """How many are in the file, and why no more of them."""
        written = end = 0
        before: int | None = None
        try:
            self._do_lock()
            try:
                self._check_stream()
                while written < len(texts):
                    before = self._size()
                    if before >= self.maxBytes > 0:
                        self._rotate()
                        before = self._size()
                    end = self._last_fitting(texts, written, before)
                    self.do_write(self.terminator.join(texts[written:end]))
                    written = end
            finally:
                self._do_unlock()
        except Exception as error:  # noqa: BLE001  a disk fails in many ways
            self._let_go()
            if before is not None and end > written:
                written += _whole_ones(texts[written:end], self._size() - before)
            return written, error
        return written, None

    def _rotate(self) -> None:
        # A rotation that fails leaves a file that is too long, and loses nothing.
        with contextlib.suppress(Exception):
            self.doRollover()

    def doRollover(self) -> None:  # noqa: N802  the name is logging's
        """As the base class, in fewer steps.

        It looks at every name four times. In a storm each such call may wait 5 ms for the interpreter, and
        all other processes wait for this one.
        """
        if self.use_gzip or self.backupCount < 1:
            super().doRollover()
            return
        self._close()
        backups = [Path(f"{self.baseFilename}.{number}") for number in range(1, self.backupCount + 1)]
        # Up to the first free name. Where a file cannot be renamed this is tried at every record: the old ones must
        # not all leave.
        free = next((number for number, backup in enumerate(backups) if not backup.exists()), len(backups) - 1)
        for newer, older in reversed(list(itertools.pairwise(backups[: free + 1]))):
            newer.replace(older)
        Path(self.baseFilename).replace(backups[0])

    def _size(self) -> int:
        try:
            return Path(self.baseFilename).stat().st_size
        except OSError:
            return 0

    def _last_fitting(self, texts: Sequence[str], first: int, size: int) -> int:
        """The end of those that are written before the file is rotated; always one at least."""
        end = first
        while end < len(texts) and (end == first or self.maxBytes <= 0 or size < self.maxBytes):
            size += _length(texts[end])
            end += 1
        return end

    def _open_lockfile(self) -> None:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        super()._open_lockfile()

    def do_write(self, msg: str) -> None:
        """Write one finished record, and say so when it is the first after an outage."""
        if self._lost and _ends_in_a_line(Path(self.baseFilename)):
            msg = f"\n{msg}"
        super().do_write(msg)
        if self._lost:
            lost, self._lost = self._lost, 0
            report(f"{self.baseFilename} is written again; {lost} records were lost")

    def _tell_of(self, error: Exception, lost: int) -> None:
        if not self._lost:
            report(f"{self.baseFilename} cannot be written, records are lost until it can: {describe(error)}")
        self._lost += lost

    def _let_go(self) -> None:
        # The buffer holds half a record; flushed later it would land in the middle of the file. The lock's
        # file goes too: its folder may be gone, and is made again with it.
        for file in (self.stream, self.stream_lock):
            with contextlib.suppress(OSError, ValueError):
                if file is not None:
                    file.close()
        self.stream = self.stream_lock = None


def _length(text: str) -> int:
    """Bytes of the record in the file."""
    # Known without a look at the characters, where the text is ASCII.
    return 1 + (len(text) if text.isascii() else len(text.encode("utf-8", "replace")))


def _whole_ones(texts: Sequence[str], size: int) -> int:
    """How many of the texts are complete within so many bytes."""
    for number, text in enumerate(texts):
        size -= _length(text)
        if size < 0:
            return number
    return len(texts)


def _ends_in_a_line(path: Path) -> bool:
    """Whether the file's last record was cut off, as a full disk does."""
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:
        return False
