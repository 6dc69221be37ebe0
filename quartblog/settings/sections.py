"""Merged sources -> one frozen model per section of config.toml, and `Settings` with all of them.

config.toml, the operator's manual, explains each key; a test compares its keys and defaults with these. This module has
the types, the bounds, and the rules between two keys. The validator of such a rule belongs to the later key, so that
the message names a key and pydantic reports every broken rule.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from quartblog.delivery.tools import is_loopback
from quartblog.settings.kinds import (
    Addresses,
    Allowed,
    Auto,
    Certificates,
    Engine,
    FileName,
    FilePath,
    Folder,
    Hosts,
    Line,
    OptionalAddress,
    OptionalHost,
    OptionalLine,
    OptionalSecret,
    OptionalToken,
    OptionalWeeklyTime,
    Origin,
    OtlpEndpoint,
    OtlpHeaders,
    Prefix,
    Seconds,
    Secrets,
    SentryDsn,
    Share,
    Whole,
    items,
)


class Section(BaseModel):
    """A frozen section that refuses unknown keys, so that a misspelt key stops the start."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # an error's text may hold a password
        validate_default=True,  # a rule between two keys must hold when one of them has its default
    )


class Site(Section):
    """[site]: name, address, language and registration."""

    name: Line = "微博"
    public_url: Origin = "http://127.0.0.1:5000"
    language: Literal["zh", "en"] = "zh"
    registration: bool = True
    release: OptionalLine = ""


class DatabaseSection(Section):
    """[database]: the blog's database."""

    url: Engine = SecretStr("sqlite+aiosqlite:///instance/quartblog.sqlite3")
    pool_size: Whole = Field(default=5, ge=1, le=100)
    pool_timeout: Seconds = 2.0


class Security(Section):
    """[security]: secrets, cookies, trusted proxies and hosts."""

    secret_key: OptionalSecret = None
    secret_key_fallbacks: Secrets = ()
    cookie_secure: Auto = None
    session_days: Whole = Field(default=30, ge=1, le=365)
    idle_days: Whole = Field(default=14, ge=1, le=365)
    log_addresses: Literal["full", "shortened", "none"] = "shortened"
    hsts_subdomains: bool = False
    trusted_proxies: Whole = Field(default=0, ge=0, le=10)
    allowed_hosts: Hosts = ()
    limits: bool = True


class Mail(Section):
    """[mail]: the mail server and recipients of error mails. Without a server the site sends no mail."""

    server: OptionalHost = ""
    port: Whole = Field(default=25, ge=1, le=65535)
    tls: Literal["none", "starttls", "implicit"] = "none"
    allow_plain_login: bool = False
    username: str = ""
    password: SecretStr = SecretStr("")
    admins: Addresses = ()
    sender: OptionalAddress = ""
    """Never empty if a server is set; the default is the first of the admins."""
    subject: Line = "博客异常"
    timeout: Seconds = 20.0
    local_hostname: OptionalHost = ""
    ca_file: Certificates = None

    @field_validator("username")
    @classmethod
    def _no_password_in_the_clear(cls, username: str, others: ValidationInfo) -> str:
        server = others.data.get("server", "")
        in_the_clear = others.data.get("tls") == "none" and not others.data.get("allow_plain_login")
        if username and server and in_the_clear and not is_loopback(server):
            raise ValueError(
                f"would send the password to {server} in the clear; "
                'set tls = "starttls" (usually port 587) or tls = "implicit" (usually port 465)'
            )
        return username

    @field_validator("admins")
    @classmethod
    def _somebody_reads_it(cls, admins: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        if others.data.get("server") and not admins:
            raise ValueError('must name an address, such as ["ops@example.org"], because [mail] server is set')
        return admins

    @field_validator("sender")
    @classmethod
    def _first_admin_writes(cls, sender: str, others: ValidationInfo) -> str:
        admins: tuple[str, ...] = others.data.get("admins", ())
        return sender or (admins[0] if admins else "")


class Logging(Section):
    """[logging]: the log file."""

    directory: Folder = Path("logs")
    filename: FileName = "microblog.log"
    max_bytes: Whole = Field(default=102_400, ge=1024)
    backup_count: Whole = Field(default=10, ge=0, le=1000)
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    format: Literal["text", "json"] = "text"
    compress: bool = False
    utc: bool = False


class Reader(Section):
    """[[delivery.routes]]: more recipients for errors that meet all conditions."""

    to: Addresses
    level: Literal["ERROR", "CRITICAL"] | None = None
    logger: Line | None = None
    path: Prefix | None = None

    @field_validator("to")
    @classmethod
    def _leads_to_somebody(cls, to: tuple[str, ...]) -> tuple[str, ...]:
        if not to:
            raise ValueError('must name an address, such as to = ["ops@example.org"]')
        return to


Routes = Annotated[
    tuple[Reader, ...],
    BeforeValidator(items),
    Allowed(
        'a list such as [{ to = ["ops@example.org"], level = "CRITICAL" }], with to and any of level, logger and path'
    ),
]


class DeliverySection(Section):
    """[delivery]: queue, outbox, mail timing and redaction of log records."""

    queue_size: Whole = Field(default=10_000, ge=10, le=1_000_000)
    reserve: Share = 0.2
    outbox: FilePath = Path("instance/outbox.sqlite3")
    batch_seconds: Seconds = 5.0
    window_seconds: Seconds = 900.0
    mails_per_hour: Whole = Field(default=30, ge=1, le=1_000_000)
    retry_min: Seconds = 5.0
    retry_max: Seconds = 300.0
    retry_for: Seconds = 259_200.0
    routes: Routes = ()
    breadcrumbs: Whole = Field(default=20, ge=0, le=200)
    redact: bool = True

    @field_validator("retry_max")
    @classmethod
    def _not_below_the_shortest(cls, retry_max: float, others: ValidationInfo) -> float:
        retry_min = others.data.get("retry_min", 0.0)
        if retry_max < retry_min:
            raise ValueError(f"must not be below [delivery] retry_min, which is {retry_min:g}")
        return retry_max


class Forwarding(Section):
    """[forwarding]: further systems that get the error records."""

    sentry_dsn: SentryDsn = SecretStr("")
    otlp_endpoint: OtlpEndpoint = ""
    otlp_headers: OtlpHeaders = ()
    host: OptionalLine = ""


class Operations(Section):
    """[operations]: what programs that watch the site may read, and the weekly mail."""

    metrics_token: OptionalToken = SecretStr("")
    summary: OptionalWeeklyTime = ""


class Errors(Section):
    """[errors]: the rehearsal route."""

    rehearsal_route: bool = False


class Settings(Section):
    """All sections of config.toml. `Settings()` has only defaults; it reads neither a file nor the environment."""

    site: Site = Site()
    database: DatabaseSection = DatabaseSection()
    security: Security = Security()
    mail: Mail = Mail()
    logging: Logging = Logging()
    delivery: DeliverySection = DeliverySection()
    forwarding: Forwarding = Forwarding()
    operations: Operations = Operations()
    errors: Errors = Errors()

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies carry Secure: [security] cookie_secure, else whether public_url is HTTPS."""
        if self.security.cookie_secure is not None:
            return self.security.cookie_secure
        return self.site.public_url.startswith("https://")
