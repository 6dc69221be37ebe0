"""Noise leaves no error, no secret, no memory and no descriptor behind, and a site that stops in order."""

import pytest

from tests.server import noise
from tests.support.processes import Servers

pytestmark = pytest.mark.server

SECONDS = 6
"""The short form. `python -m tests.server.noise --minutes 20` is the long one."""
GROWTH = {False: 15, True: 150}
"""MB that two workers may take more, without and with TLS: the allocator keeps what a burst has needed. It does not
grow for long: the buffers of a TLS connection take 256 KB, and uvloop frees them late."""


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_noise_leaves_the_site_as_it_was(servers: Servers, *, tls: bool) -> None:
    outcome = noise.suffer(servers, SECONDS, tls=tls)

    assert outcome.errors == 0
    assert outcome.leaked == ()
    assert outcome.after.descriptors <= outcome.before.descriptors
    assert outcome.after.megabytes < outcome.before.megabytes + GROWTH[tls]
    assert outcome.exit_code == 0
    assert sum(outcome.requests.values()) > 100
