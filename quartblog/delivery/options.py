"""Settings of an operator -> frozen dataclasses, checked, for every part of the delivery. No code here reads a file."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from .mail.addresses import bare_address, is_loopback, split_address
from .mail.weekly import WeeklyTime

_AROUND = tuple(__package__.split(".")[:-1][:1])
"""The top-level package this folder is a part of, if any."""


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How records wait between the thread that logs and the thread that writes."""

    size: int = 10_000
    """Records the queue holds at most."""
    reserve: float = 0.2
    """Share of the size, 0 to below 1, that is kept free for ERROR and CRITICAL."""
    whole: int = 500
    """Records that wait with all frames and locals; past this backlog, records keep a summary of the exception."""
    breadcrumbs: int = 20
    """Earlier records of the same piece of work that are kept with its error; 0 for none."""
    redact: bool = True
    """Whether e-mail addresses, and values named by `Scope.hide`, are removed from file, mail and every sink.

    `ErrorScope` names what a visitor sent. Other handlers of the root logger show it, see `Delivery(adopt=True)`.
    """
    own_packages: tuple[str, ...] = _AROUND
    """Packages in site-packages that are the program's own, by import name. Errors are grouped by their frames, and
    show their lines; of other installed packages only file and function count. By default this is the package around
    this folder. Code outside site-packages and the standard library is always own. Errors in packages that are added or
    removed here make new groups."""

    def __post_init__(self) -> None:
        """Raise ValueError for a size below 1 or a reserve outside of 0 to 1."""
        if self.size < 1:
            raise ValueError(f"the queue holds at least 1 record, not {self.size}")
        if not 0 <= self.reserve < 1:
            raise ValueError(f"reserve is from 0 to below 1, not {self.reserve}")
        if min(self.whole, self.breadcrumbs) < 0:
            raise ValueError(f"whole and breadcrumbs are not below 0: {self.whole}, {self.breadcrumbs}")
        if type(self.own_packages) is not tuple:
            raise ValueError(f"own_packages is a tuple of names, not {self.own_packages!r}")


@dataclass(frozen=True, slots=True)
class FileOptions:
    """The rotating log file. Every process that writes it must use the same values."""

    path: Path = Path("logs/app.log")
    """The file; its directory is made when it is missing."""
    max_bytes: int = 102_400
    """Bytes after which the file is rotated; the record that passes the mark is still kept whole."""
    backup_count: int = 10
    """Rotated files kept, as path.1 to path.N."""
    level: str = "INFO"
    """Name of the lowest level kept; the root logger has this level while the delivery runs."""
    format: Literal["text", "json"] = "text"
    """One line a record plus its traceback, or one JSON object a line."""
    compress: bool = False
    """Whether rotated files are gzipped."""
    utc: bool = False
    """Whether the times of text lines are in UTC, which has no summer, rather than local; those of JSON always are."""

    def __post_init__(self) -> None:
        """Raise ValueError for a level that logging does not know, and for another format."""
        if self.format not in {"text", "json"}:
            raise ValueError(f"format is text or json, not {self.format!r}")
        if self.level not in logging.getLevelNamesMapping():
            raise ValueError(f"{self.level!r} is not a logging level")


@dataclass(frozen=True, slots=True)
class MailOptions:
    """The mail server, and the addresses that get error reports."""

    server: str
    """Host name or address of the SMTP server."""
    sender: str
    """The address in From and in the envelope."""
    admins: tuple[str, ...]
    """Every address that gets the reports."""
    port: int = 25
    """TCP port of the server."""
    tls: Literal["none", "starttls", "implicit"] = "none"
    """Plain TCP, an upgrade that must succeed (often 587), or TLS from the first byte (often 465)."""
    username: str = ""
    """Name to sign in with; empty means without signing in."""
    password: str = field(default="", repr=False)
    """Password to sign in with."""
    timeout: float = 20.0
    """Seconds one whole SMTP session may take, from the name look-up to the server's last answer."""
    local_hostname: str = ""
    """The name in EHLO; empty for this host's name if that has a dot, else the domain of the sender."""
    ca_file: Path | None = None
    """Certificates in PEM of authorities that are trusted besides the system's."""
    site: str = "this site"
    """The name of the site or program, as subjects show it."""
    title: str = ""
    """What subjects say before the site's name; empty for nothing."""
    allow_plain_login: bool = False
    """Whether the password may travel to another host without TLS. Only for a network that you trust."""
    page: str = ""
    """The address of a group's page up to its number, which digests link; empty if there is none."""
    command: str = ""
    """The command to which digests add `errors show` and `errors resolve`; empty if operators have none.

    The folder's own is `python -m delivery --outbox PATH`, typed in the directory of the program.
    """

    def __post_init__(self) -> None:
        """Raise ValueError for another value of `tls`, which would send a password in the clear, and for no time."""
        if self.tls not in {"none", "starttls", "implicit"}:
            raise ValueError(f"tls is none, starttls or implicit, not {self.tls!r}")
        if self.timeout <= 0:
            raise ValueError(f"timeout is more than 0 seconds, not {self.timeout}")

    @property
    def problem(self) -> str | None:
        """Why no mail can be sent with these options, as a sentence, or None when one can."""
        if not (self.server and self.sender and self.admins):
            return "a mail server, a sender and at least one recipient must be set"
        if not self.server.isprintable() or " " in self.server:
            return f"{self.server!r} is not a host name"
        for address in (self.sender, *self.admins):
            if split_address(address) is None:
                return f"{address!r} is not a mail address"
        in_the_clear = self.username and self.tls == "none" and not is_loopback(self.server)
        if in_the_clear and not self.allow_plain_login:
            return (
                f"a password would travel to {self.server} in the clear:"
                " choose starttls or implicit, or leave the user name empty"
            )
        return None


@dataclass(frozen=True, slots=True)
class Reader:
    """Further recipients of some errors: they get digests of the groups that meet every condition given here."""

    to: tuple[str, ...]
    """Addresses that get these groups besides the admins."""
    level: str | None = None
    """Name of the lowest level, such as "CRITICAL"."""
    logger: str | None = None
    """A logger's name, such as "shop.orders"; loggers below it match too."""
    path: str | None = None
    """The beginning of a route's path, in whole segments: "/user" means "/user/edit" and not "/users"."""

    def __post_init__(self) -> None:
        """Raise ValueError for a reader without addresses, and for a level that logging does not know."""
        if not self.to:
            raise ValueError("a reader needs at least one address")
        for address in self.to:
            if split_address(address) is None:
                raise ValueError(f"{address!r} is not a mail address")
        if self.level is not None and self.level not in logging.getLevelNamesMapping():
            raise ValueError(f"{self.level!r} is not a logging level")


@dataclass(frozen=True, slots=True)
class MailingOptions:
    """When a digest leaves, and how long a mail is tried."""

    batch_seconds: float = 5.0
    """Seconds between two digests at least; every group that is due by then shares the next one."""
    window_seconds: float = 900.0
    """Seconds after which a group that goes on failing is mailed again, even if its count has not doubled."""
    mails_per_hour: int = 30
    """Digests that leave within 3,600 s at most; the next one reports the others. Posted mail is not counted."""
    retry_min: float = 5.0
    """Seconds before the second try of a mail, at most; the bound doubles with every try."""
    retry_max: float = 300.0
    """Seconds between two tries at most."""
    retry_for: float = 259_200.0
    """Seconds after which a mail is no longer tried, and kept as a dead letter."""
    readers: tuple[Reader, ...] = ()
    """Further recipients, each for some groups."""
    summary: WeeklyTime | None = None
    """When the admins get a mail about the last seven days, also if nothing failed. It needs an outbox with a file."""

    def __post_init__(self) -> None:
        """Raise ValueError for bounds that cannot hold."""
        if self.mails_per_hour < 1:
            raise ValueError(f"mails_per_hour is at least 1, not {self.mails_per_hour}")
        if not 0 < self.retry_min <= self.retry_max:
            raise ValueError(f"retry_min is above 0 and not above retry_max, not {self.retry_min:g}")
        if min(self.batch_seconds, self.window_seconds, self.retry_for) < 0:
            raise ValueError("batch_seconds, window_seconds and retry_for are not below 0")


MAX_AGE = 30 * 86_400.0
MAX_BYTES = 50 * 1024 * 1024
MOST_SAMPLES = 1_000
SAMPLES = 10
LEAST_BYTES = 1024 * 1024
"""Bytes an outbox needs to keep one group with its samples and some mails, whatever their texts."""


@dataclass(frozen=True, slots=True)
class OutboxOptions:
    """The file of errors and mails, and its bounds."""

    path: Path = Path("logs/outbox.sqlite3")
    """The SQLite file, on a local disk; all processes of one host share it."""
    max_age: float = MAX_AGE
    """Seconds after which groups that did not happen again, and finished mails, are deleted."""
    max_bytes: int = MAX_BYTES
    """Bytes the file is cut down to after each batch, beside a log of about 4 MB. Old samples leave first."""
    samples: int = SAMPLES
    """Latest events of each group that are kept as samples."""
    release: str = ""
    """The version of the program, which each group shows as its first and its last one."""

    def __post_init__(self) -> None:
        """Raise ValueError for values with which no error could be kept."""
        if self.max_age <= 0:
            raise ValueError(f"max_age is more than 0 seconds, not {self.max_age}")
        if self.max_bytes < LEAST_BYTES:
            raise ValueError(f"max_bytes is at least {LEAST_BYTES}, not {self.max_bytes}")
        # One statement writes them, and SQLite takes 32,766 values in one.
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise ValueError(f"samples is 1 to {MOST_SAMPLES}, not {self.samples}")


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """All options of one delivery."""

    queue: QueueOptions = field(default_factory=QueueOptions)
    file: FileOptions = field(default_factory=FileOptions)
    mail: MailOptions | None = None
    """None if no mail is sent."""
    outbox: OutboxOptions | None = None
    """None keeps errors and mails in the memory of this process."""
    mailing: MailingOptions = field(default_factory=MailingOptions)

    @property
    def level(self) -> int:
        """The level of the root logger."""
        return logging.getLevelNamesMapping()[self.file.level]

    @property
    def samples(self) -> int:
        """Events of each group that are kept as samples."""
        return self.outbox.samples if self.outbox else SAMPLES

    @property
    def usable_mail(self) -> MailOptions | None:
        """The mail options, if mail can be sent with them."""
        return self.mail if self.mail is not None and self.mail.problem is None else None

    @property
    def own_addresses(self) -> tuple[str, ...]:
        """The operators' addresses, which redaction leaves in the log."""
        mail = (*self.mail.admins, self.mail.sender) if self.mail else ()
        readers = [address for reader in self.mailing.readers for address in reader.to]
        return tuple(map(bare_address, (*mail, *readers)))

    def with_paths_of(self, other: "DeliveryOptions") -> "DeliveryOptions":
        """Return these options with the paths of `other`, because paths do not change while the delivery runs."""
        outbox = other.outbox
        if outbox is not None and self.outbox is not None:
            outbox = replace(self.outbox, path=outbox.path)
        return replace(self, file=replace(self.file, path=other.file.path), outbox=outbox)
