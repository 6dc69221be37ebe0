"""Every promise of `python -m tests.endurance` in its short form, and the crowd that must not pass in silence."""

from functools import partial
from itertools import count
from pathlib import Path

import pytest
from werkzeug.datastructures import Headers

from tests.endurance.promises import PROMISES
from tests.endurance.trial import Answers, Crowd, Trial
from tests.support.browsing import Page
from tests.support.client import Client
from tests.support.processes import Servers
from tests.support.small_disk import why_not
from tests.support.smtp import dead_server

# They start a private PostgreSQL.
ON_POSTGRES = ("gone", "read-only")
ON_SMALL_DISK = ("full", "read-only")
NAMES = [
    pytest.param(name, marks=pytest.mark.postgres if name in ON_POSTGRES else pytest.mark.server, id=name)
    for name in PROMISES
]


@pytest.mark.parametrize("name", NAMES)
def test_a_promise_holds(name: str, servers: Servers, tmp_path: Path) -> None:
    if name in ON_SMALL_DISK and (problem := why_not(tmp_path)):
        pytest.skip(f"nobody may mount a disk here: {problem}")
    assert PROMISES[name].attempt(Trial(servers, short=True, minutes=0))


def test_a_visitor_whom_nobody_answers_fails_the_trial_at_once() -> None:
    answers = Answers()
    with dead_server() as port:
        visitor = Client(f"http://127.0.0.1:{port}")

        with (
            pytest.raises(AssertionError, match=r"1 of 1 visitors stopped, the first by URLError: .*refused"),
            Crowd([partial(answers.read, visitor)]) as crowd,
        ):
            crowd.go_on(60)


def test_a_visitor_who_is_shown_an_error_fails_the_trial_at_once() -> None:
    class Failing(Client):
        def get(self, path: str, **headers: str) -> Page:
            return Page(500, Headers(), "")

    with (
        pytest.raises(AssertionError, match=r"visitors stopped, .* GET / was answered with 500"),
        Crowd([partial(Answers().read, Failing(""))] * 2) as crowd,
    ):
        crowd.go_on(60)


def test_a_crowd_counts_the_connections_that_it_breaks_and_goes_on() -> None:
    turns = count()

    def visit() -> None:
        if next(turns) in {1, 2, 4}:
            raise ConnectionResetError

    with Crowd([visit], breaks=True) as crowd:
        crowd.until_all_go_on()
        crowd.until_all_go_on()

    # The second vain try belongs to the same broken connection.
    assert crowd.broken == 2


def test_a_crowd_that_breaks_connections_still_fails_if_a_visitor_never_has_an_answer() -> None:
    def refuse() -> None:
        raise ConnectionRefusedError

    with (
        pytest.raises(AssertionError, match="1 of 2 visitors had no answer"),
        Crowd([refuse, lambda: None], breaks=True) as crowd,
    ):
        crowd.until(lambda: crowd.turns[1] and crowd.broken, "both have tried")


def test_too_few_answers_are_no_trial() -> None:
    with pytest.raises(AssertionError, match="only 0 pages in 60 s"):
        Answers().assert_enough(60)
