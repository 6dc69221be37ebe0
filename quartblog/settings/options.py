"""Settings -> the options of the log delivery and of forwarding; the only module that knows both sides."""

from __future__ import annotations

import ipaddress
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import urlsplit

from quartblog.delivery import FileOptions, MailingOptions, MailOptions, OutboxOptions, QueueOptions, Reader, WeeklyTime
from quartblog.errors.exceptions import SettingsError
from quartblog.forwarding import ForwardingOptions
from quartblog.release import running_release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quartblog.settings.sections import Settings

COMMAND = "quartblog"
"""The command that digests mention; it has the subcommands `errors show` and `errors resolve`."""


class DeliveryArguments(TypedDict):
    """The keyword arguments of Delivery and of Delivery.reconfigure."""

    queue: QueueOptions
    file: FileOptions
    mail: MailOptions | None
    outbox: OutboxOptions
    mailing: MailingOptions


def delivery_options(settings: Settings, *, mail: bool) -> DeliveryArguments:
    """Return all arguments of Delivery; `mail=False` turns mail off. Raise SettingsError that names the section."""
    with _named("[logging]"):
        file = file_options(settings)
    with _named("[delivery]"):
        return {
            "queue": queue_options(settings),
            "file": file,
            "mail": mail_options(settings) if mail else None,
            "outbox": OutboxOptions(settings.delivery.outbox, release=release_of(settings)),
            "mailing": mailing_options(settings),
        }


def forwarding_options(settings: Settings, release: str) -> ForwardingOptions:
    """Return where error records go besides file, outbox and mail. `release`: the version that runs."""
    section = settings.forwarding
    headers = (header.get_secret_value().partition(":") for header in section.otlp_headers)
    return ForwardingOptions(
        sentry_dsn=section.sentry_dsn.get_secret_value(),
        otlp_endpoint=section.otlp_endpoint,
        otlp_headers={name: value.strip() for name, _, value in headers},
        release=release,
        host=section.host,
    )


def failure_options(settings: Settings) -> DeliveryArguments:
    """Return the options of a process that records its own failure and ends: it sends no mail. Raise SettingsError."""
    options = delivery_options(settings, mail=False)
    # At INFO the delivery would log its start, and that it sends no mail, around the one record.
    options["file"] = replace(options["file"], level="ERROR")
    return options


def release_of(settings: Settings) -> str:
    """Return the name of the running version."""
    return settings.site.release or running_release()


def queue_options(settings: Settings) -> QueueOptions:
    """Return the options of the queue between handler and listener."""
    section = settings.delivery
    return QueueOptions(
        size=section.queue_size,
        reserve=section.reserve,
        breadcrumbs=section.breadcrumbs,
        redact=section.redact,
    )


def file_options(settings: Settings) -> FileOptions:
    """Return the options of the log file."""
    section = settings.logging
    return FileOptions(
        path=section.directory / section.filename,
        max_bytes=section.max_bytes,
        backup_count=section.backup_count,
        level=section.level,
        format=section.format,
        compress=section.compress,
        utc=section.utc,
    )


def mail_options(settings: Settings) -> MailOptions | None:
    """Return the options of the mail server, None if none is set. Raise SettingsError for unusable ones."""
    mail = settings.mail
    if not mail.server:
        return None
    options = MailOptions(
        server=mail.server,
        port=mail.port,
        tls=mail.tls,
        username=mail.username,
        password=mail.password.get_secret_value(),
        sender=mail.sender or mail.admins[0],
        admins=mail.admins,
        timeout=mail.timeout,
        local_hostname=mail.local_hostname or _public_name(settings.site.public_url),
        ca_file=mail.ca_file,
        site=settings.site.name,
        title=mail.subject,
        allow_plain_login=mail.allow_plain_login,
        page=_page_of_groups(settings),
        command=COMMAND,
    )
    if options.problem is not None:
        raise SettingsError(f"[mail]: {options.problem}")
    return options


def _page_of_groups(settings: Settings) -> str:
    """Return the address of the groups' pages, "" if nobody has set the site's public address."""
    return f"{settings.site.public_url}/operations/errors/" if "public_url" in settings.site.model_fields_set else ""


def mailing_options(settings: Settings) -> MailingOptions:
    """Return the options for the timing, retries and extra recipients of mails."""
    section = settings.delivery
    return MailingOptions(
        batch_seconds=section.batch_seconds,
        window_seconds=section.window_seconds,
        mails_per_hour=section.mails_per_hour,
        retry_min=section.retry_min,
        retry_max=section.retry_max,
        retry_for=section.retry_for,
        readers=tuple(Reader(each.to, each.level, each.logger, each.path) for each in section.routes),
        summary=WeeklyTime.parse(settings.operations.summary) if settings.operations.summary else None,
    )


def _public_name(url: str) -> str:
    """Return the site's domain, "" if [site] public_url has an IP address or a local name."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return ""
    return host if "." in host.strip(".") else ""


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Turn the delivery's ValueError into a SettingsError that names the section."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(f"{place}: {error}") from error
