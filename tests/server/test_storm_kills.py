"""`kill -9` at any moment: what was accepted 100 ms before is on disk, and no mail is lost or made twice."""

import itertools
import random
from pathlib import Path

import pytest

from tests.server.storm import Host, by_message_id, error_ids, told
from tests.support.processes import eventually
from tests.support.smtp import MailServer

pytestmark = pytest.mark.server

KILLS = 20
# What the design allows a `kill -9` to take along, in seconds.
AT_RISK = 0.1
# What the issue allows the host to be without a leader, in seconds.
LEADERLESS = 5.0


def test_twenty_kills_lose_nothing_that_was_accepted_100_ms_before(tmp_path: Path, mail_server: MailServer) -> None:
    accepted: set[str] = set()
    proven: set[str] = set()
    waiting: set[str] = set()
    with Host(tmp_path, mail_server.port, batch_seconds=0.1, window_seconds=0.2, mails_per_hour=10_000) as host:
        for round_ in range(KILLS):
            counted = host.counted
            program = host.start().wait_until_ready()
            program.fail(1_000, f"Fault{round_ % 3}", pause=0.001)
            program.wait_for(random.randint(1, 500))

            killed_at = program.kill()

            safe = {answer.error_id for answer in program.answers if answer.at <= killed_at - AT_RISK}
            logged = error_ids(host.errors)
            assert safe <= set(logged), f"round {round_}: the file lacks what was accepted"
            # One more than was answered: the kill may come between the two.
            assert counted + len(safe) <= host.counted <= counted + len(program.answers) + 1, f"round {round_}"
            assert program.stderr == ""
            proven |= safe
            accepted |= {answer.error_id for answer in program.answers}
            waiting |= set(host.waiting)

        last = host.start().wait_until_ready()
        eventually(lambda: host.all_told)
        assert last.end() == 0

    assert len(proven) > KILLS * 20, "the kills came in mid-storm"
    mails = by_message_id(mail_server.mails)
    assert sum(map(told, mails.values())) == host.counted
    assert waiting <= set(mails), "what a kill left unsent was sent after a start"
    assert_twice_only_in_flight(mail_server)
    logged = error_ids(host.errors)
    assert len(logged) == len(set(logged)), "no record twice"
    # Each kill may leave one failure behind that nobody was answered.
    assert len(set(logged) - accepted) <= KILLS


def test_a_mail_in_flight_at_the_kill_is_the_same_mail_again(tmp_path: Path) -> None:
    with MailServer(holding=True) as mail_server, Host(tmp_path, mail_server.port) as host:
        program = host.start().wait_until_ready()
        program.fail(1)
        mail_server.wait_until_held()
        program.kill()
        mail_server.release()

        again = host.start().wait_until_ready()

        first, second = mail_server.wait_for(2)
        eventually(lambda: host.all_told)
        assert again.end() == 0
        assert first.message.as_bytes() == second.message.as_bytes()
        assert told(first) == 1
        assert len(mail_server.mails) == 2


def test_another_process_mails_within_5_s_when_the_leader_is_killed(tmp_path: Path, mail_server: MailServer) -> None:
    with Host(tmp_path, mail_server.port, batch_seconds=0.1) as host:
        leader = host.start().wait_until_ready()
        leader.fail(1, "First")
        mail_server.wait_for(1)
        other = host.start().wait_until_ready()

        leader.kill()
        other.fail(1, "Second")

        first, second = mail_server.wait_for(2, patience=LEADERLESS)
        assert "First" in first.subject
        assert "Second" in second.subject
        assert other.end() == 0


def test_another_process_sends_within_5_s_what_the_killed_leader_was_sending(tmp_path: Path) -> None:
    with MailServer(holding=True) as mail_server, Host(tmp_path, mail_server.port) as host:
        leader = host.start().wait_until_ready()
        leader.fail(1)
        mail_server.wait_until_held()
        other = host.start().wait_until_ready()

        leader.kill()
        mail_server.release()

        first, second = mail_server.wait_for(2, patience=LEADERLESS)
        assert first.message.as_bytes() == second.message.as_bytes()
        assert other.end() == 0


def assert_twice_only_in_flight(mail_server: MailServer) -> None:
    """A mail came again only where a kill interrupted it: at once after itself, and byte for byte."""
    runs = [list(run) for _, run in itertools.groupby(mail_server.mails, lambda mail: mail.message["Message-ID"])]
    assert len(runs) == len(by_message_id(mail_server.mails)), "another mail came between the two"
    assert all(len({mail.message.as_bytes() for mail in run}) == 1 for run in runs)
    assert len(mail_server.mails) - len(runs) <= KILLS
