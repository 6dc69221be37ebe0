"""Two processes mail from their memories in an outage and share the file after it: every error is in one mail."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery.mail.sender import Sender
from quartblog.delivery.options import MailingOptions
from quartblog.delivery.store import database as database_file
from quartblog.delivery.store.fallback import RETRY_SECONDS
from quartblog.delivery.store.outbox import Outbox
from quartblog.delivery.store.stored import ToldMeanwhile

from .outboxes import Clock, event, mail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from quartblog.delivery import MailOptions

    from .conftest import Peer


class Two:
    """The outboxes of a leader and of another process, on one file."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self._path = path
        self.leader, self.other = (Outbox(path, clock=self.clock) for _ in range(2))
        self.leader.groups()  # From here on there is a file.

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """Nobody can write."""
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            yield

    def other_fails_and_mails(self, times: int) -> int:
        """In an outage of which the leader sees nothing; returns the mail."""
        with self.outage():
            self.other.record([event()] * times)
            assert self.other.in_memory
            [group] = self.other.unreported()
            return self.other.begin_mail(mail("from memory"), {group.id: (0, times)})

    def other_has_the_file_again(self) -> None:
        """It looks, once it is time to try."""
        self.clock.turn(RETRY_SECONDS)
        self.other.groups()
        assert not self.other.in_memory

    def counted(self) -> tuple[int, int]:
        """The errors of the one group on disk, and those that mails have told of."""
        [group] = self.leader.groups()
        return group.count, group.reported

    def mails(self) -> dict[str, str]:
        """The mails on disk by subject, and their states."""
        return {mail.subject: mail.state for mail in self.leader.mails()}


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    monkeypatch.setattr(database_file, "BUSY_SECONDS", 0.01)
    two = Two(tmp_path / "outbox.sqlite3")
    yield two
    two.leader.close()
    two.other.close()


def test_a_digest_written_before_another_process_brought_back_what_it_had_told_is_written_anew(two: Two) -> None:
    two.leader.record([event()] * 2)
    [seen] = two.leader.unreported()
    two.other_fails_and_mails(3)
    two.other_has_the_file_again()

    with pytest.raises(ToldMeanwhile):
        two.leader.begin_mail(mail("too late"), {seen.id: (seen.reported, seen.count)})

    assert two.mails() == {"from memory": "waiting"}
    [left] = two.leader.unreported()
    two.leader.begin_mail(mail("anew"), {left.id: (left.reported, left.count)})
    assert two.counted() == (5, 5)


def test_two_who_looked_at_the_same_errors_tell_of_them_once(two: Two) -> None:
    two.leader.record([event()] * 2)
    [seen] = two.leader.unreported()
    assert two.other.unreported() == [seen]

    two.other.begin_mail(mail("first"), {seen.id: (0, 2)})
    with pytest.raises(ToldMeanwhile):
        two.leader.begin_mail(mail("second"), {seen.id: (0, 2)})

    assert two.mails() == {"first": "waiting"}


def test_what_the_leader_told_of_in_an_outage_is_added_to_what_another_process_told_of(two: Two) -> None:
    two.leader.record([event()] * 2)
    [seen] = two.leader.unreported()
    two.other_fails_and_mails(3)
    with two.outage():
        two.leader.begin_mail(mail("of the leader"), {seen.id: (0, 2)})
        assert two.leader.in_memory
    two.other_has_the_file_again()

    assert two.leader.unreported() == []
    assert two.counted() == (5, 5)


def test_a_mail_that_is_being_sent_from_memory_comes_to_the_file_when_it_is_sent(two: Two) -> None:
    number = two.other_fails_and_mails(1)

    with two.other.alone(number) as alone:
        assert alone
        two.clock.turn(RETRY_SECONDS)
        two.other.record([event()])
        assert two.leader.next_mail(two.clock.now) is None
        two.other.sent(number, "250", two.clock.now)
    two.other_has_the_file_again()

    assert two.mails() == {"from memory": "sent"}
    assert two.counted() == (2, 1)


def test_a_mail_that_came_to_the_file_is_no_longer_one_processs_own(two: Two) -> None:
    number = two.other_fails_and_mails(1)
    two.other_has_the_file_again()

    with two.other.alone(number) as alone:
        assert not alone


def test_a_process_that_ends_while_it_sends_from_memory_leaves_the_mail_in_the_file(two: Two) -> None:
    with two.other.alone(two.other_fails_and_mails(1)):
        two.other.close()

    assert two.mails() == {"from memory": "waiting"}


async def test_who_has_the_file_again_leaves_the_mails_there_to_the_leader(
    two: Two, accepting_server: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    postman = Sender(two.other, mail_to(accepting_server), MailingOptions(), clock=two.clock)
    two.other_fails_and_mails(1)
    two.clock.turn(RETRY_SECONDS)

    assert not await postman.work(leads=lambda: False)

    assert accepting_server.mails == []
    assert two.mails() == {"from memory": "waiting"}


async def test_what_only_memory_holds_is_mailed_by_who_does_not_lead(
    two: Two, accepting_server: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    postman = Sender(two.other, mail_to(accepting_server), MailingOptions(), clock=two.clock)
    two.other_fails_and_mails(1)

    assert await postman.work(leads=lambda: False)

    assert len(accepting_server.mails) == 1


async def test_a_digest_that_comes_too_late_is_left_to_the_next_look(
    two: Two, accepting_server: Peer, mail_to: Callable[..., MailOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    postman = Sender(two.leader, mail_to(accepting_server), MailingOptions(), clock=two.clock)
    two.leader.record([event()])
    latest = two.leader.latest_digests

    def meanwhile(limit: int) -> list[float]:
        two.other_fails_and_mails(1)
        two.other_has_the_file_again()
        monkeypatch.setattr(two.leader, "latest_digests", latest)
        return latest(limit)

    monkeypatch.setattr(two.leader, "latest_digests", meanwhile)

    assert not await postman.work()
    assert two.mails() == {"from memory": "waiting"}
    assert await postman.work()
    assert two.counted() == (2, 1)


async def test_who_has_the_file_again_leaves_the_errors_there_to_the_leader(
    two: Two, accepting_server: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    postman = Sender(two.other, mail_to(accepting_server), MailingOptions(), clock=two.clock)
    with two.outage():
        two.other.record([event()])
    two.clock.turn(RETRY_SECONDS)

    assert await postman.work(leads=lambda: False)

    assert two.mails() == {}
    assert two.counted() == (1, 0)
