"""A line that anybody can cause is logged once a minute."""

import logging

import pytest

from quartblog.web.seldom import Seldom
from tests.support.clocks import FakeClock

logger = logging.getLogger("tests.web.seldom")


def test_a_minute_has_one_line_which_counts_those_before(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    seldom = Seldom(logger, logging.WARNING, clock=clock.ticks)
    for number in range(4):
        seldom.log("Refused %s", number)
    clock.advance(61)
    seldom.log("Refused %s", 4)
    clock.advance(61)
    seldom.log("Refused %s", 5)

    assert caplog.messages == ["Refused 0", "Refused 4 (3 more since the last such line)", "Refused 5"]
