"""Test -> a real SMTP server, named after what it does to a mail, and small helpers of these tests."""

from __future__ import annotations

import logging
import ssl
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.smtp import ACCOUNT, HangingUp, MailServer, NotReading, ShuttingDown, Silent, WithoutFarewell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from quartblog.delivery import MailOptions

CERTIFICATES = Path(__file__).parent / "certificates"
ADMINS = ("ada@example.org", "grace@example.org", "linus@example.org")


@pytest.fixture
def accepting_server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def slow_server() -> Iterator[MailServer]:
    with MailServer(holding=True) as server:
        yield server


@pytest.fixture
def silent_server() -> Iterator[MailServer]:
    with MailServer(Silent) as server:
        yield server


@pytest.fixture
def server_that_says_later() -> Iterator[MailServer]:
    with MailServer("451 come back later") as server:
        yield server


@pytest.fixture
def server_that_says_never() -> Iterator[MailServer]:
    with MailServer("554 we do not want this") as server:
        yield server


@pytest.fixture
def server_without_grace() -> Iterator[MailServer]:
    with MailServer(refusing={"grace@example.org": "550 nobody of this name"}) as server:
        yield server


@pytest.fixture
def server_that_hangs_up() -> Iterator[MailServer]:
    with MailServer(HangingUp) as server:
        yield server


@pytest.fixture
def server_that_stops_reading() -> Iterator[MailServer]:
    with MailServer(NotReading) as server:
        yield server


@pytest.fixture
def server_without_farewell() -> Iterator[MailServer]:
    with MailServer(WithoutFarewell) as server:
        yield server


@pytest.fixture
def server_that_is_closing() -> Iterator[MailServer]:
    with MailServer(ShuttingDown) as server:
        yield server


@pytest.fixture
def server_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem")
    return context


@pytest.fixture
def trusted_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operating system trusts the certificate of these servers."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "authority.pem"))


@pytest.fixture
def starttls_server(server_certificate: ssl.SSLContext) -> Iterator[MailServer]:
    with MailServer(tls_context=server_certificate, require_starttls=True, **ACCOUNT) as server:
        yield server


@pytest.fixture
def implicit_tls_server(server_certificate: ssl.SSLContext) -> Iterator[MailServer]:
    with MailServer(tls=server_certificate) as server:
        yield server


@pytest.fixture
def server_with_password() -> Iterator[MailServer]:
    # Without TLS, as on a laptop: aiosmtpd warns of that, once for each connection.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with MailServer(auth_require_tls=False, **ACCOUNT) as server:
            yield server


@pytest.fixture
def mail_to() -> Callable[..., MailOptions]:
    """Mail options for a server, changed as asked."""
    from quartblog.delivery import MailOptions  # noqa: PLC0415  collected without it on purpose

    def options(to: MailServer, /, **changes: Any) -> MailOptions:
        values: dict[str, Any] = {
            "server": "127.0.0.1",
            "port": to.port,
            "sender": "blog@example.org",
            "admins": ADMINS,
            "timeout": 10.0,
            "site": "微博",
        }
        return MailOptions(**(values | changes))

    return options


class Kept(logging.Handler):
    """A sink that keeps what it is given."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def app_logger() -> Iterator[logging.Logger]:
    """A logger of an application, with no handler but the root's."""
    logger = logging.getLogger("tests.delivery.app")
    yield logger
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()


@pytest.fixture
def failure() -> BaseException:
    """An exception that was raised and caught."""
    try:
        int("twelve")
    except ValueError as error:
        return error
    raise AssertionError("twelve is a number now")
