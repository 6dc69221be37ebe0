"""Settings -> the report of `quartblog config check`: each effective value, its origin, and warnings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy.engine import make_url

from quartblog.delivery.tools import is_loopback
from quartblog.errors.exceptions import SettingsError
from quartblog.settings.masking import MASK, plain, shown
from quartblog.settings.secret import INSTANCE, is_readable_by_others, secret_key
from quartblog.settings.sections import Settings
from quartblog.settings.sources import known_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quartblog.settings.load import Loaded


class Entry(NamedTuple):
    """One effective value: `value` as a JSON type, `shown` as config.toml would write it. Secrets are masked."""

    section: str
    key: str
    value: object
    shown: str
    origin: str
    changed: bool
    """Whether a file or a variable sets another value than the default."""


def entries(loaded: Loaded) -> list[Entry]:
    """Return every key in the order of config.toml; `origin` is a file, a variable's name, or "default"."""
    found, defaults = [], Settings()
    for section, key in known_keys():
        value = getattr(getattr(loaded.settings, section), key)
        # A default may differ too, because the first admin is the default sender.
        changed = (section, key) in loaded.origins and value != getattr(getattr(defaults, section), key)
        origin = loaded.origins.get((section, key), "default")
        if (section, key) == ("security", "secret_key") and value is None:
            value, origin = SecretStr(MASK), f"{INSTANCE / 'secret_key'}, created at the first start"
        found.append(Entry(section, key, plain(section, key, value), shown(section, key, value), origin, changed))
    return found


def obstacles(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each problem that will stop the start for this user; the check writes nothing."""
    url = make_url(settings.database.url.get_secret_value())
    if url.drivername.startswith("sqlite") and url.database:
        file = Path(url.database)
        if obstacle := _obstacle(file.parent) or _folder_in_place_of(file):
            yield f"[database] url: {obstacle}"
    if settings.security.secret_key is not None:
        return
    path = INSTANCE / "secret_key"
    if os.path.exists(path):  # noqa: PTH110  as below
        try:
            secret_key(settings)
        except SettingsError as error:
            yield str(error)
    elif obstacle := _obstacle(INSTANCE):
        yield f"[security] secret_key: not set, and {obstacle}"


def warnings(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each valid setting that is probably a mistake; the check writes nothing."""
    if obstacle := _obstacle(settings.logging.directory):
        yield f"[logging] directory: {obstacle}: the site will write no log file"
    elif obstacle := _folder_in_place_of(settings.logging.directory / settings.logging.filename):
        yield f"[logging] filename: {obstacle}: the site will write no log file"
    outbox = settings.delivery.outbox
    if obstacle := _obstacle(outbox.parent) or _folder_in_place_of(outbox):
        yield f"[delivery] outbox: {obstacle}: error counts and unsent mail will be kept in memory only"
    yield from _about_the_secret(settings)
    yield from _about_mail(settings)
    yield from _about_forwarding(settings)
    if settings.site.public_url.startswith("http://") and not is_loopback(_host(settings)):
        yield "[site] public_url: without https:// browsers send passwords and cookies unencrypted"
    if settings.security.cookie_secure and settings.site.public_url.startswith("http://"):
        yield "[security] cookie_secure: browsers send Secure cookies over https:// only, so nobody stays signed in"


def _about_the_secret(settings: Settings) -> Iterator[str]:
    path = INSTANCE / "secret_key"
    exists = os.path.exists(path)  # noqa: PTH110  as below
    if settings.security.secret_key is None and exists and is_readable_by_others(path):
        yield f"{path}: other users of this machine can read it: chmod 600 {path}"


def _about_mail(settings: Settings) -> Iterator[str]:
    mail = settings.mail
    if not mail.server:
        yield "[mail] server: not set, so errors are logged but not mailed"
        if settings.operations.summary:
            yield "[operations] summary: unused, because [mail] server is not set"
    elif (mail.tls == "implicit") != (mail.port == 465):
        yield f'[mail] port: {mail.port} with tls = "{mail.tls}"; usually port 465 and tls = "implicit" go together'


def _about_forwarding(settings: Settings) -> Iterator[str]:
    section = settings.forwarding
    for key, url in (("sentry_dsn", section.sentry_dsn.get_secret_value()), ("otlp_endpoint", section.otlp_endpoint)):
        if url.startswith("http://") and not is_loopback(urlsplit(url).hostname or ""):
            yield f"[forwarding] {key}: without https:// error records travel unencrypted"
        if url and not settings.delivery.redact:
            yield f"[forwarding] {key}: with [delivery] redact = false it gets what visitors sent"
    if section.otlp_headers and not section.otlp_endpoint:
        yield "[forwarding] otlp_headers: unused, because otlp_endpoint is not set"


def _host(settings: Settings) -> str:
    return urlsplit(settings.site.public_url).hostname or ""


def _obstacle(directory: Path) -> str | None:
    """Return why this process cannot write files below `directory`, which may not exist yet; None if it can."""
    nearest = directory
    # Not Path.exists, which raises below a folder that cannot be searched.
    while not os.path.exists(nearest) and nearest != nearest.parent:  # noqa: PTH110
        nearest = nearest.parent
    if not nearest.is_dir():
        return f"{nearest} is not a folder"
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest.resolve()} is not writable"
    return None


def _folder_in_place_of(file: Path) -> str | None:
    return f"{file} is a folder" if os.path.isdir(file) else None  # noqa: PTH112  as above
