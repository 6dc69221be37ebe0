"""Every promise of `python -m tests.endurance`, tried shortly."""

import pytest

from tests.endurance.promises import PROMISES
from tests.endurance.trial import Trial
from tests.support.processes import Servers

# The database that goes away is PostgreSQL.
NAMES = [
    pytest.param(name, marks=pytest.mark.postgres if name == "gone" else pytest.mark.server, id=name)
    for name in PROMISES
]


@pytest.mark.parametrize("name", NAMES)
def test_a_promise_holds(name: str, servers: Servers) -> None:
    assert PROMISES[name].attempt(Trial(servers, short=True, minutes=0))
