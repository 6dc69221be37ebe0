"""Noise leaves no error, no secret, no memory and no descriptor behind, and a site that stops in order."""

import pytest

from tests.server import noise
from tests.support.processes import Servers

pytestmark = pytest.mark.server

SECONDS = 10
"""The short form. `python -m tests.server.noise --minutes 20` is the long one."""
GROWTH = 15
"""MB that two workers may take more: the interpreter keeps what a burst has needed. It does not grow with the time."""


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_noise_leaves_the_site_as_it_was(servers: Servers, *, tls: bool) -> None:
    outcome = noise.suffer(servers, SECONDS, tls=tls)

    assert outcome.errors == 0
    assert outcome.leaked == ()
    assert outcome.after.descriptors <= outcome.before.descriptors
    assert outcome.after.megabytes < outcome.before.megabytes + GROWTH
    assert outcome.exit_code == 0
    assert sum(outcome.requests.values()) > 100
