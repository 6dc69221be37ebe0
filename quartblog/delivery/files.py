"""Records -> the rotating log file, which several processes write together."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from concurrent_log_handler import ConcurrentRotatingFileHandler

from .formatting import JsonFormatter, TextFormatter
from .stderr import describe, report

if TYPE_CHECKING:
    import logging

    from .options import FileOptions


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
        self.setFormatter(JsonFormatter() if options.format == "json" else TextFormatter())

    @property
    def writable(self) -> bool:
        """Whether the last record reached the file."""
        return self._lost == 0

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

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Tell stderr about the first failure, and forget what the stream still holds."""
        error = sys.exception()
        self._lost += 1
        if self._lost == 1 and error is not None:
            report(f"{self.baseFilename} cannot be written, records are lost until it can: {describe(error)}")
        # The buffer holds half a record; flushed later it would land in the middle of the file.
        stream, self.stream = self.stream, None
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.close()


def _ends_in_a_line(path: Path) -> bool:
    """Whether the file's last record was cut off, as a full disk does."""
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:
        return False
