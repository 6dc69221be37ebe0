"""Settings -> the delivery's own options, for commands that use a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quartblog.delivery import FileOptions, MailingOptions, QueueOptions

if TYPE_CHECKING:
    from quartblog.settings import Settings


def queue_options(settings: Settings) -> QueueOptions:
    """[delivery], as far as it is about the queue."""
    section = settings.delivery
    return QueueOptions(section.queue_size, section.reserve, section.overflow, section.block_ms)


def file_options(settings: Settings) -> FileOptions:
    """[logging]."""
    section = settings.logging
    return FileOptions(
        path=section.directory / section.filename,
        max_bytes=section.max_bytes,
        backup_count=section.backup_count,
        level=section.level,
        format=section.format,
        compress=section.compress,
    )


def mailing_options(settings: Settings) -> MailingOptions:
    """[delivery], as far as it is about mail."""
    section = settings.delivery
    return MailingOptions(
        batch_seconds=section.batch_seconds,
        window_seconds=section.window_seconds,
        mails_per_hour=section.mails_per_hour,
        retry_min=section.retry_min,
        retry_max=section.retry_max,
        retry_for=section.retry_for,
    )
