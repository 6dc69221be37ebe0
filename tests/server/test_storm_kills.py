"""`kill -9` at any moment: what was accepted 100 ms before is on disk, and no mail is lost or made twice."""

import itertools
import random
from pathlib import Path

import pytest

from tests.server.host import Host, by_message_id, error_ids, new_errors
from tests.support.processes import eventually
from tests.support.smtp import MailServer

pytestmark = pytest.mark.server

KILLS = 20
# What the design allows a `kill -9` to take along, in seconds.
AT_RISK = 0.1
# No other storm fills so many files: a rotation renames them all, which at 100 KB each would happen 70 times a second.
KEPT = {"max_bytes": 1_000_000, "backup_count": 1_000}
# Seconds: the lease of a killed leader ends after five, and the others ask once a second.
LEADERLESS = 10.0
# Seconds: its mail in flight is left alone for as long as a session may take, and five more.
IN_FLIGHT = 40.0


def test_twenty_kills_lose_nothing_that_was_accepted_100_ms_before(tmp_path: Path, mail_server: MailServer) -> None:
    accepted: set[str] = set()
    proven: set[str] = set()
    waiting: set[str] = set()
    mailing = {"batch_seconds": 0.1, "window_seconds": 0.2, "mails_per_hour": 10_000}
    with Host(tmp_path, mail_server.port, file=KEPT, **mailing) as host:
        for round_ in range(KILLS):
            # Every second storm is two processes as fast as they can be: then the order counts, and no moment.
            pause = 0.001 if round_ % 2 else 0.0
            kinds = [f"Fault{round_ % 3}{letter}" for letter in ("a" if pause else "ab")]
            before = [host.count(kind) for kind in kinds]
            programs = [host.start() for _ in kinds]
            for program in programs:
                program.wait_until_ready()
            for program, kind in zip(programs, kinds, strict=True):
                program.fail(1_000_000, kind, pause=pause)
            random.choice(programs).wait_for(random.randint(1, 500 if pause else 3_000))

            killed_at = [program.kill() for program in programs]

            answers = [program.answers for program in programs]
            logged = set(error_ids(host.errors))
            for kind, count, told_of, moment in zip(kinds, before, answers, killed_at, strict=True):
                ids = [answer.error_id for answer in told_of]
                safe = [answer.error_id for answer in told_of if pause and answer.at <= moment - AT_RISK]
                written = [error_id for error_id in ids if error_id in logged]
                assert len(safe) <= len(written), f"round {round_}: the file lacks what was accepted"
                assert written == ids[: len(written)], f"round {round_}: the file has a gap"
                assert_first_ones_stored(host, kind, count, ids, at_least=len(safe))
                proven |= set(safe)
                accepted |= set(ids)
            lines = [line for program in programs for line in program.stderr.splitlines()]
            assert [line for line in lines if "has not renewed its lease" not in line] == []
            waiting |= set(host.waiting)

        last = host.start().wait_until_ready()
        eventually(lambda: host.all_told)
        assert last.end() == 0

    assert len(proven) > KILLS * 20, "the kills came in mid-storm"
    mails = by_message_id(mail_server.mails)
    assert sum(map(new_errors, mails.values())) == host.counted
    assert waiting <= set(mails), "what a kill left unsent was sent after a start"
    assert_twice_only_in_flight(mail_server)
    logged_all = error_ids(host.errors)
    assert len(logged_all) == len(set(logged_all)), "no record twice"
    # Each process that was killed may leave one failure behind that nobody was answered.
    assert len(set(logged_all) - accepted) <= 2 * KILLS


def test_a_mail_in_flight_at_the_kill_is_the_same_mail_again(tmp_path: Path) -> None:
    with MailServer(holding=True) as mail_server, Host(tmp_path, mail_server.port) as host:
        program = host.start().wait_until_ready()
        program.fail(1)
        mail_server.wait_until_held()
        program.kill()
        mail_server.release()

        again = host.start().wait_until_ready()

        first, second = mail_server.wait_for(2, patience=IN_FLIGHT)
        eventually(lambda: host.all_told)
        assert again.end() == 0
        assert first.message.as_bytes() == second.message.as_bytes()
        assert new_errors(first) == 1
        assert len(mail_server.mails) == 2


def test_another_process_mails_once_a_killed_leaders_lease_has_ended(tmp_path: Path, mail_server: MailServer) -> None:
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


def test_another_process_sends_what_the_killed_leader_was_sending(tmp_path: Path) -> None:
    with MailServer(holding=True) as mail_server, Host(tmp_path, mail_server.port) as host:
        leader = host.start().wait_until_ready()
        leader.fail(1)
        mail_server.wait_until_held()
        other = host.start().wait_until_ready()

        leader.kill()
        mail_server.release()

        first, second = mail_server.wait_for(2, patience=IN_FLIGHT)
        assert first.message.as_bytes() == second.message.as_bytes()
        assert other.end() == 0


def assert_twice_only_in_flight(mail_server: MailServer) -> None:
    """A mail came again only where a kill interrupted it: at once after itself, and byte for byte."""
    runs = [list(run) for _, run in itertools.groupby(mail_server.mails, lambda mail: mail.message["Message-ID"])]
    assert len(runs) == len(by_message_id(mail_server.mails)), "another mail came between the two"
    assert all(len({mail.message.as_bytes() for mail in run}) == 1 for run in runs)
    assert len(mail_server.mails) - len(runs) <= KILLS


def assert_first_ones_stored(host: Host, kind: str, before: int, ids: list[str], *, at_least: int) -> None:
    """The outbox has the first of these ids, all that were accepted early enough, each counted once.

    It keeps the ids of the last ten of a group and counts the others. One process's errors reach it in the order they
    were accepted: where N are counted and the ten are those up to the Nth, the others are the ones before them.
    """
    stored = host.count(kind) - before
    # One more than was answered: the kill may come between the two.
    assert at_least <= stored <= len(ids) + 1, f"{kind}: {stored} stored, {at_least} of {len(ids)} were safe"
    newest = host.newest(kind)[-stored:] if stored else []
    unanswered = newest[-1:] if stored > len(ids) else []
    assert newest == [*ids, *unanswered][:stored][-len(newest) :], f"{kind}: these are not the first {stored}"
