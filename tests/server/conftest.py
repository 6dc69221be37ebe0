"""Real servers, and a real mail server in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Servers
from tests.support.smtp import MailServer


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Starts servers; none is left when the test is over."""
    with Servers(tmp_path) as servers:
        yield servers


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """An SMTP server that takes every mail at once."""
    with MailServer() as server:
        yield server
