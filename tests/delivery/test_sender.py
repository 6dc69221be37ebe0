"""The leader with a real mail server and a clock that only the test moves."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import MailOptions, Outbox, OutboxOptions
from quartblog.delivery.mail.sender import Sender
from quartblog.delivery.options import MailingOptions, Reader
from quartblog.delivery.store.mails import Result
from quartblog.delivery.tools import new_message
from tests.support.clocks import START, FakeClock
from tests.support.failures import an_event
from tests.support.smtp import Accepting, Away, Behaviour, CuttingShort, MailServer, Silent

from .conftest import ADMINS

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator
    from pathlib import Path


HOUR, DAY = 3_600, 86_400
ONE, TWO = "00000000000000aa", "00000000000000bb"


class Office:
    """A leader's desk: its outbox, its mail server, and a clock that stands still."""

    def __init__(self, folder: Path, server: MailServer, mail_to: Callable[..., MailOptions]) -> None:
        self.clock = FakeClock(START)
        self.outbox = Outbox(OutboxOptions(folder / "outbox.sqlite3"), clock=self.clock)
        self.server = server
        self.mail_to = mail_to

    def fail(self, times: int = 1, fingerprint: str = ONE, **changes: Any) -> None:
        """Let it fail so many times, now."""
        self.outbox.record([an_event(created=self.clock.wall(), fingerprint=fingerprint, **changes)] * times)

    def sender(self, *, chance: float = 1.0, timeout: float = 10.0, **options: Any) -> Sender:
        """One with these mailing options; chance always draws the same, by default the longest pause."""
        mail = self.mail_to(self.server, timeout=timeout)
        return Sender(self.outbox, mail, MailingOptions(**options), chance=lambda: chance)


@pytest.fixture
def office(tmp_path: Path, accepting_server: MailServer, mail_to: Callable[..., MailOptions]) -> Iterator[Office]:
    desk = Office(tmp_path, accepting_server, mail_to)
    yield desk
    desk.outbox.close()


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    """The messages that the delivery itself logged; aiosmtpd logs too."""
    caplog.set_level("INFO")
    return lambda: [record for record in caplog.records if record.name.startswith("quartblog.delivery")]


def counts(server: MailServer) -> list[int]:
    """How many new errors each mail reports."""
    bodies = [mail.get_body(["plain"]) for mail in server.messages]
    return [sum(map(int, re.findall(r"^(\d+) new", body.get_content(), re.MULTILINE))) for body in bodies if body]


def held(server: MailServer) -> list[bool]:
    """Whether each mail says that the cap held it back."""
    bodies = [mail.get_body(["plain"]) for mail in server.messages]
    return ["The cap held this back since" in body.get_content() for body in bodies if body]


def waiting(outbox: Outbox) -> list[tuple[int, str]]:
    return [(mail.tries, mail.last_error) for mail in outbox.mails("waiting")]


async def test_the_first_of_a_group_is_mailed_at_once(office: Office) -> None:
    office.fail()
    sender = office.sender()
    await sender.work()
    await sender.work()

    [mail] = office.server.messages
    assert mail["Subject"].startswith("ValueError: twelve (微博 on ")
    assert office.server.recipients == [list(ADMINS)]
    [kept] = office.outbox.mails("sent")
    assert kept.message_id == mail["Message-ID"]
    assert kept.last_error == "taken"
    assert office.outbox.unreported() == []
    assert (sender.counters.mailed, sender.counters.retried, sender.counters.dead) == (1, 0, 0)
    assert sender.counters.latency.percentiles() == (0.0, 0.0)


async def test_a_thousand_equal_failures_in_a_minute_are_few_mails_whose_counts_add_up(office: Office) -> None:
    sender = office.sender(batch_seconds=0.0, window_seconds=900.0)
    for _ in range(1_000):
        office.fail()
        await sender.work()
        office.clock.advance(0.06)
    assert counts(office.server) == [1, 1, 2, 4, 8, 16, 32, 64, 128, 256]

    office.clock.advance(900)
    await sender.work()

    assert counts(office.server)[-1] == 1_000 - 512
    assert sum(counts(office.server)) == 1_000
    assert len(office.server.messages) <= 11


async def test_groups_due_within_batch_seconds_share_one_digest(office: Office) -> None:
    sender = office.sender(batch_seconds=5.0)
    office.fail()
    await sender.work()
    for number in range(3):
        office.clock.advance(1.5)
        office.fail(fingerprint=f"00000000000000b{number}", title=f"Error{number}", traceback="")
        await sender.work()
    assert len(office.server.messages) == 1

    office.clock.advance(0.5)
    await sender.work()

    assert len(office.server.messages) == 2
    assert "3 errors" in office.server.messages[1]["Subject"]
    assert "(+2 more)" in office.server.messages[1]["Subject"]


async def test_a_failure_that_goes_on_is_mailed_again_when_its_window_ends(office: Office) -> None:
    sender = office.sender(window_seconds=900.0)
    office.fail(4)
    await sender.work()
    office.fail()
    office.clock.advance(899)
    await sender.work()
    assert counts(office.server) == [4]

    office.clock.advance(1)
    await sender.work()

    assert counts(office.server) == [4, 1]


async def test_a_resolved_group_that_fails_again_is_mailed_at_once(office: Office) -> None:
    sender = office.sender()
    office.fail(100)
    await sender.work()
    assert office.outbox.resolve(ONE)
    office.clock.advance(60)
    office.fail()
    await sender.work()

    assert counts(office.server) == [100, 1]
    body = office.server.messages[1].get_body(["plain"])
    assert body is not None
    assert "1 new, 101 altogether, again since" in body.get_content()


async def test_the_cap_holds_digests_back_and_the_next_one_reports_it(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    sender = office.sender(mails_per_hour=3, batch_seconds=5.0)
    for number in range(20):
        office.fail(fingerprint=f"0000000000000{number:03}", title=f"Error{number}", traceback="")
        await sender.work()
        office.clock.advance(60)
    assert len(office.server.messages) == 3
    assert caplog.text.count("The cap of 3 digests an hour is reached") == 1

    office.clock.advance(HOUR - 20 * 60)
    await sender.work()

    assert counts(office.server) == [1, 1, 1, 17]
    assert held(office.server) == [False, False, False, True]


async def test_a_new_leader_knows_that_the_cap_held_a_digest(office: Office) -> None:
    sender = office.sender(mails_per_hour=2, batch_seconds=0.0)
    for number in range(4):
        office.fail(fingerprint=f"0000000000000{number:03}", title=f"Error{number}", traceback="")
        await sender.work()
        office.clock.advance(60)
    office.clock.advance(HOUR)

    await office.sender(mails_per_hour=2).work()

    assert counts(office.server) == [1, 1, 2]
    assert held(office.server) == [False, False, True]


@pytest.mark.parametrize("later", [10, HOUR - 60, 3 * HOUR])
async def test_a_digest_that_waited_for_nothing_does_not_speak_of_the_cap(office: Office, later: float) -> None:
    sender = office.sender(mails_per_hour=2, batch_seconds=0.0)
    for fingerprint in (ONE, TWO):
        office.fail(fingerprint=fingerprint)
        await sender.work()
        office.clock.advance(60)
    office.clock.advance(HOUR - 60 + later)

    office.fail(fingerprint="00000000000000cc")
    await sender.work()

    assert held(office.server) == [False, False, False]


async def test_product_mail_is_not_capped(office: Office) -> None:
    sender = office.sender(mails_per_hour=1)
    for number in range(5):
        message = new_message(office.mail_to(office.server), f"reset {number}", "link", to=["eve@example.org"])
        office.outbox.post(message, ["eve@example.org"])
    await sender.work()

    assert [mail["Subject"] for mail in office.server.messages] == [f"reset {number}" for number in range(5)]
    assert office.server.recipients == [["eve@example.org"]] * 5


async def test_a_route_gets_a_digest_with_only_its_groups(office: Office) -> None:
    sender = office.sender(mails_per_hour=1, readers=(Reader(("Eve <eve@example.org>", ADMINS[0]), logger="shop"),))
    office.fail(2)
    office.fail(5, TWO, logger="shop.cart")
    await sender.work()

    assert dict(zip(map(tuple, office.server.recipients), counts(office.server), strict=True)) == {
        ADMINS: 7,
        ("eve@example.org",): 5,
    }
    assert [mail["To"] for mail in office.server.messages if "Eve" in mail["To"]] == ["Eve <eve@example.org>"]


@pytest.mark.parametrize("behaviour", [Away, Silent, CuttingShort, "451 come back later", "421 closing"])
async def test_a_mail_is_tried_again_ever_later_with_the_same_message_id(office: Office, behaviour: Behaviour) -> None:
    # Only the silent server takes all of the time.
    sender = office.sender(retry_min=5.0, retry_max=60.0, timeout=0.5 if behaviour is Silent else 10.0)
    office.fail()
    office.server.behaviour = behaviour
    await sender.work()
    [mail] = office.outbox.mails("waiting")
    pauses = []
    for _ in range(6):
        [now] = office.outbox.mails("waiting")
        pauses.append(now.next_try - office.clock.wall())
        office.clock.advance(pauses[-1] - 0.1)
        await sender.work()
        assert office.outbox.mails("waiting") == [now]
        office.clock.advance(0.1)
        await sender.work()
    assert pauses == pytest.approx([5, 10, 20, 40, 60, 60])

    office.server.behaviour = Accepting
    office.clock.advance(60)
    await sender.work()

    assert [sent["Message-ID"] for sent in office.server.messages] == [mail.message_id]
    assert len(office.server.connections) == 8
    assert (sender.counters.mailed, sender.counters.retried) == (1, 7)


async def test_mails_that_failed_together_do_not_come_back_together(office: Office) -> None:
    office.fail()
    office.server.behaviour = "451 later"
    await office.sender(retry_min=8.0, chance=0.25).work()

    assert office.outbox.mails("waiting")[0].next_try == office.clock.wall() + 2.0


async def test_a_pause_of_no_length_is_no_loop(office: Office) -> None:
    office.fail()
    office.server.behaviour = "451 later"
    await office.sender(chance=0.0).work()

    assert len(office.server.connections) == 1


async def test_a_posted_mail_does_not_wait_for_the_end_of_a_long_outage_pause(office: Office) -> None:
    sender = office.sender(retry_min=300.0, retry_max=300.0)
    office.fail()
    office.server.behaviour = Away
    await sender.work()
    office.server.behaviour = Accepting
    office.outbox.post(new_message(office.mail_to(office.server), "reset", "link"), ADMINS)
    office.clock.advance(30)
    await sender.work()

    assert [mail["Subject"] for mail in office.server.messages] == ["reset"]


async def test_a_file_with_another_offset_of_its_clock_holds_no_mail(office: Office) -> None:
    office.outbox.heartbeats.beat("earlier", leader=False, figures={})
    office.outbox.close()
    path = office.outbox.path
    assert path is not None
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()
    office.clock.reboot(off=365 * DAY)
    office.outbox = Outbox(OutboxOptions(path), clock=office.clock)
    sender = office.sender(batch_seconds=60.0)
    office.server.behaviour = Away
    office.outbox.post(new_message(office.mail_to(office.server), "reset", "link"), ADMINS)
    await sender.work()
    assert office.outbox.in_memory

    path.rmdir()
    aside.rename(path)
    office.server.behaviour = Accepting
    office.clock.advance(60)
    for _ in range(2):
        await sender.work()
        office.clock.advance(60)

    assert not office.outbox.in_memory
    assert [mail["Subject"] for mail in office.server.messages] == ["reset"]


async def test_a_server_that_is_away_gets_one_try_and_not_one_for_each_mail(office: Office) -> None:
    sender = office.sender(retry_min=5.0)
    for number in range(20):
        office.outbox.post(new_message(office.mail_to(office.server), f"mail {number}", "text"), ADMINS)
    office.server.behaviour = Away
    await sender.work()
    office.clock.advance(1)
    await sender.work()
    assert office.server.connections == [Away]

    office.server.behaviour = Accepting
    office.clock.advance(4)
    await sender.work()

    assert len(office.server.messages) == 20


async def test_a_mail_that_breaks_every_session_does_not_stand_before_the_others(office: Office) -> None:
    sender = office.sender(retry_min=5.0)
    poison = office.outbox.post(new_message(office.mail_to(office.server), "poison", "text"), ADMINS)
    office.server.behaviour = CuttingShort
    await sender.work()
    office.clock.advance(1)
    office.outbox.post(new_message(office.mail_to(office.server), "healthy", "text"), ADMINS)
    office.server.behaviour = Accepting
    office.clock.advance(4)
    assert {mail.id for mail in office.outbox.mails("waiting") if mail.next_try <= office.clock.wall()} > {poison}

    await sender.work()

    assert [mail["Subject"] for mail in office.server.messages] == ["healthy", "poison"]


async def test_an_hour_without_a_mail_server_loses_nothing(office: Office) -> None:
    sender = office.sender(batch_seconds=5.0, mails_per_hour=30, retry_max=300.0)
    office.server.behaviour = Away
    failures = 0
    for number in range(HOUR):
        if number % 180 == 0:
            office.fail(3, f"0000000000000{number // 180:03}", title=f"Error{number}", traceback="")
            failures += 3
        await sender.work()
        office.clock.advance(1)
    assert office.server.messages == []
    assert len(office.server.connections) < HOUR / 30
    assert len(office.outbox.mails("waiting")) == 1

    office.server.behaviour = Accepting
    for _ in range(300):
        office.clock.advance(1)
        await sender.work()

    assert office.outbox.mails() == office.outbox.mails("sent")
    assert counts(office.server) == [failures]


async def test_after_ten_hours_without_a_mail_server_each_reader_gets_one_digest_that_reports_all(
    office: Office,
) -> None:
    readers = (Reader(("eve@example.org",), logger="shop"),)
    sender = office.sender(mails_per_hour=3, batch_seconds=5.0, readers=readers)
    office.server.behaviour = Away
    failures = shop = 0
    for minute in range(10 * 60):
        office.fail(1, f"0000000000000{minute % 40:03}", title=f"Error{minute % 40}", traceback="")
        office.fail(2, TWO, logger="shop")
        failures, shop = failures + 3, shop + 2
        await sender.work()
        office.clock.advance(60)
    office.server.behaviour = Accepting
    office.outbox.post(new_message(office.mail_to(office.server), "reset", "link"), ["bob@example.org"])
    office.clock.advance(300)
    await sender.work()

    assert [readers[0] for readers in office.server.recipients] == ["bob@example.org", ADMINS[0], "eve@example.org"]
    assert counts(office.server) == [0, failures, shop]
    assert office.outbox.unreported() == []


async def test_an_outage_longer_than_a_mail_is_tried_loses_nothing_and_ends_in_one_digest(office: Office) -> None:
    sender = office.sender(retry_for=2 * DAY)
    office.server.behaviour = Away
    for _ in range(5 * 24):
        office.fail(2)
        await sender.work()
        office.clock.advance(HOUR)
    assert len(office.outbox.mails("waiting")) == 1
    office.server.behaviour = Accepting
    await sender.work()

    assert counts(office.server) == [2 * 5 * 24]
    assert len(office.outbox.mails("dead")) == 2


@pytest.mark.parametrize("routed", [False, True])
async def test_a_waiting_digest_takes_errors_in_though_the_cap_is_spent(office: Office, *, routed: bool) -> None:
    readers = (Reader(("eve@example.org",), logger="shop"),) if routed else ()
    sender = office.sender(mails_per_hour=3, batch_seconds=5.0, readers=readers)
    for number in range(33):
        office.server.behaviour = Accepting if number < 2 else Away
        office.fail(fingerprint=f"0000000000000{number:03}", title=f"Error{number}", logger="shop")
        await sender.work()
        office.clock.advance(60)
    office.server.behaviour = Accepting
    office.clock.advance(300)
    await sender.work()

    assert counts(office.server) == ([1, 1, 1, 1, 31, 31] if routed else [1, 1, 31])
    assert held(office.server) == [False] * len(office.server.messages)
    assert office.outbox.unreported() == []


async def test_a_reader_with_a_route_does_not_wait_for_an_admin_whom_the_server_puts_off(office: Office) -> None:
    sender = office.sender(readers=(Reader(("eve@example.org",), logger="shop"),), retry_min=5.0, retry_max=5.0)
    office.server.refusing = dict.fromkeys(ADMINS, "452 4.2.2 mailbox full")
    for number in range(3):
        office.fail(2, f"0000000000000{number:03}", logger="shop")
        office.fail(1, f"0000000000001{number:03}", logger="else")
        await sender.work()
        office.clock.advance(5)

    assert office.server.recipients == [["eve@example.org"]] * 3
    assert counts(office.server) == [2, 2, 2]
    office.server.refusing = {}
    await sender.work()
    assert office.server.recipients[3:] == [list(ADMINS)]
    assert counts(office.server)[3:] == [9]


async def test_readers_with_overlapping_routes_get_one_copy_each(office: Office) -> None:
    readers = (
        Reader(("eve@example.org", "bob@example.org"), logger="shop"),
        Reader(("EVE@example.org",), logger="shop.cart"),
        Reader(("eve@example.org",), path="/user"),
    )
    sender = office.sender(readers=readers, mails_per_hour=1)
    office.fail(2, ONE, logger="shop.cart")
    office.fail(5, TWO, logger="blog", route="/user/edit")
    await sender.work()

    assert dict(zip(map(tuple, office.server.recipients), counts(office.server), strict=True)) == {
        ADMINS: 7,
        ("eve@example.org",): 7,
        ("bob@example.org",): 2,
    }


async def test_a_copy_that_waits_takes_in_what_later_digests_report(office: Office) -> None:
    sender = office.sender(readers=(Reader(("eve@example.org",)),), batch_seconds=0.0, mails_per_hour=5)
    office.server.refusing = {"eve@example.org": "452 4.2.2 mailbox full"}
    for number in range(4):
        office.fail(number + 1, f"0000000000000{number:03}", title=f"Error{number}", traceback="")
        await sender.work()
        office.clock.advance(60)
    assert [mail.recipients for mail in office.outbox.mails("waiting")] == [("eve@example.org",)]
    office.server.refusing = {}
    office.clock.advance(HOUR)
    await sender.work()

    assert office.server.recipients == [list(ADMINS)] * 4 + [["eve@example.org"]]
    assert counts(office.server) == [1, 2, 3, 4, 10]


@pytest.mark.parametrize("how", ["resolve", "mute"])
async def test_a_group_that_is_settled_while_its_digest_waits_is_not_mailed(office: Office, how: str) -> None:
    sender = office.sender(retry_min=5.0)
    office.server.behaviour = "451 later"
    office.fail(3)
    office.fail(2, TWO)
    await sender.work()
    assert office.outbox.resolve(ONE) if how == "resolve" else office.outbox.mute(ONE, DAY)
    office.server.behaviour = Accepting
    office.clock.advance(5)
    await sender.work()

    assert counts(office.server) == [2]


async def test_a_dead_digest_about_settled_groups_is_not_sent_when_an_operator_retries_it(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sender = office.sender()
    office.server.behaviour = "554 not with us"
    office.fail(3)
    await sender.work()
    assert office.outbox.resolve(ONE)
    office.server.behaviour = Accepting
    assert office.outbox.retry() == 1
    await sender.work()

    assert office.server.messages == []
    assert office.outbox.mails() == []
    assert "is not needed any more" in caplog.text


class Spoiled(MailServer):
    """Refuses every mail that holds a certain text, as a virus scanner does."""

    async def handle_DATA(self, server: object, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if b"EICAR" in envelope.content:
            return "554 5.7.1 virus found"
        return await super().handle_DATA(server, session, envelope)


async def test_a_group_whose_content_is_refused_does_not_keep_the_others_from_being_mailed(
    office: Office, mail_to: Callable[..., MailOptions]
) -> None:
    with Spoiled() as server:
        sender = Sender(office.outbox, mail_to(server), MailingOptions(window_seconds=900.0))
        office.fail(3, message="EICAR", traceback="Traceback\nValueError: EICAR")
        await sender.work()
        assert server.messages == []
        office.clock.advance(60)
        office.fail(1, TWO, title="Other", traceback="")
        await sender.work()

        assert counts(server) == [4]
        assert server.messages[0]["Subject"].startswith("ERROR: the edit failed (+1 more)")
        body = server.messages[0].get_body(["plain"])
        assert body is not None
        assert "3 new, 3 altogether: ValueError at app.py:12" in body.get_content()
        office.clock.advance(HOUR)
        await sender.work()
        assert len(server.messages) == 1
        assert office.outbox.unreported() == []


async def test_a_group_whose_name_is_refused_is_named_by_its_number(
    office: Office, mail_to: Callable[..., MailOptions]
) -> None:
    with Spoiled() as server:
        readers = (Reader(("eve@example.org",)),)
        sender = Sender(office.outbox, mail_to(server), MailingOptions(window_seconds=900.0, readers=readers))
        for _ in range(48):
            office.fail(1, title="EICAR", message="EICAR", traceback="")
            office.fail(1, TWO, title="Other", traceback="")
            await sender.work()
            office.clock.advance(HOUR)
        await sender.work()

        assert office.outbox.unreported() == []
        admins = [recipients for recipients in server.recipients if recipients == list(ADMINS)]
        assert len(admins) >= 40, "all but a few digests arrive"
        body = server.messages[-1].get_body(["plain"])
        assert body is not None
        assert re.search(r"^\d+ new, \d+ altogether: group 1\r?$", body.get_content(), re.MULTILINE)


async def test_a_content_that_is_put_off_again_and_again_is_given_up_and_the_others_are_mailed(
    office: Office, mail_to: Callable[..., MailOptions]
) -> None:
    class Suspicious(MailServer):
        async def handle_DATA(self, server: object, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
            if b"EICAR" in envelope.content:
                return "451 4.7.1 try again later"
            return await super().handle_DATA(server, session, envelope)

    with Suspicious() as server:
        sender = Sender(office.outbox, mail_to(server), MailingOptions(retry_for=float(DAY)))
        office.fail(1, message="EICAR", traceback="Traceback\nValueError: EICAR")
        for _ in range(48):
            office.fail(1, TWO, title="Other", traceback="")
            await sender.work()
            office.clock.advance(HOUR)

        assert len(server.messages) > 10
        assert len(office.outbox.mails("dead")) == 1


async def test_mails_that_expire_soon_are_few(office: Office) -> None:
    sender = office.sender(retry_for=1.0, retry_min=0.5, mails_per_hour=5, batch_seconds=0.0)
    office.server.behaviour = Away
    for _ in range(1_000):
        office.fail()
        await sender.work()
        office.clock.advance(1)

    assert len(office.outbox.mails("dead")) <= 5


async def test_a_reader_gets_one_copy_though_the_admins_digest_is_refused_each_time(office: Office) -> None:
    sender = office.sender(readers=(Reader(("eve@example.org",)),))
    office.server.refusing = dict.fromkeys(ADMINS, "550 5.1.1 nobody of this name")
    office.fail()
    for _ in range(24 * 4):
        await sender.work()
        office.clock.advance(900)

    assert office.server.recipients == [["eve@example.org"]]


async def test_the_limits_hold_for_copies_while_the_server_puts_the_admins_off(office: Office) -> None:
    readers = (Reader(("eve@example.org",)),)
    sender = office.sender(mails_per_hour=2, batch_seconds=60.0, retry_min=1.0, retry_max=1.0, readers=readers)
    office.server.refusing = dict.fromkeys(ADMINS, "452 4.2.2 mailbox full")
    for _ in range(2 * HOUR // 10):
        office.fail()
        await sender.work()
        office.clock.advance(10)
    assert 3 <= len(office.server.messages) <= 5
    office.server.refusing = {}
    await sender.work()

    assert sum(counts(office.server)) == 2 * (2 * HOUR // 10)


async def test_a_long_refusal_that_says_later_in_its_middle_is_no_loop(office: Office) -> None:
    sender = office.sender(retry_min=5.0)
    words = "550 " + "blah " * 50 + "try again later " + "blah " * 50
    office.server.refusing = dict.fromkeys(ADMINS, words)
    office.fail()
    for _ in range(20):
        await sender.work()
        office.clock.advance(0.25)

    assert len(office.server.connections) <= 2


async def test_addresses_that_mean_the_same_are_one_reader(office: Office) -> None:
    readers = (
        Reader(("Eve <eve@bücher.example>", "ADA@example.org"), logger="blog"),
        Reader(("eve@xn--bcher-kva.example",), logger="shop"),
    )
    sender = office.sender(readers=readers)
    office.fail(1, logger="blog")
    office.fail(2, TWO, logger="shop")
    await sender.work()

    assert office.server.recipients == [list(ADMINS), ["eve@xn--bcher-kva.example"]]
    assert counts(office.server) == [3, 3]


async def test_an_admin_who_is_named_twice_gets_one_mail(office: Office) -> None:
    mail = office.mail_to(office.server, admins=("ada@example.org", "Ada <ada@example.org>"))
    office.fail()
    await Sender(office.outbox, mail, MailingOptions()).work()

    assert office.server.recipients == [["ada@example.org"]]


async def test_a_copy_whose_group_is_muted_still_reaches_its_reader(office: Office) -> None:
    sender = office.sender(readers=(Reader(("eve@example.org",)),), retry_min=5.0)
    office.server.refusing = {"eve@example.org": "452 4.2.2 mailbox full"}
    office.fail(3)
    await sender.work()
    assert office.outbox.mute(ONE, 60)
    office.server.refusing = {}
    office.clock.advance(5)
    await sender.work()

    assert office.server.recipients == [list(ADMINS), ["eve@example.org"]]


async def test_refused_digests_are_few_though_every_error_is_a_new_group(office: Office) -> None:
    sender = office.sender(mails_per_hour=3, batch_seconds=5.0)
    office.server.behaviour = "554 not with us"
    for number in range(200):
        office.fail(fingerprint=f"0000000000000{number:03}", title=f"Error{number}", traceback="")
        await sender.work()
        office.clock.advance(10)

    assert len(office.server.connections) == 3


async def test_a_waiting_digest_goes_to_the_admins_that_the_operator_has_set_meanwhile(office: Office) -> None:
    sender = office.sender(retry_min=5.0)
    office.server.refusing = dict.fromkeys(ADMINS, "450 4.1.2 no such domain")
    office.fail()
    await sender.work()
    sender.reconfigure(office.mail_to(office.server, admins=("eve@example.org",)), MailingOptions())
    office.clock.advance(5)
    await sender.work()

    assert office.server.recipients == [["eve@example.org"]]


async def test_a_digest_that_takes_long_to_leave_counts_against_the_cap(office: Office) -> None:
    sender = office.sender(mails_per_hour=1, retry_min=60.0, retry_max=60.0)
    office.server.behaviour = "451 later"
    office.fail()
    await sender.work()
    office.clock.advance(2 * DAY)
    office.server.behaviour = Accepting
    await sender.work()
    office.clock.advance(60)
    office.fail(1, TWO)
    await sender.work()

    assert counts(office.server) == [1]


async def test_a_posted_mail_leaves_before_a_digest_about_thousands_of_groups_is_composed(office: Office) -> None:
    sender = office.sender()
    office.outbox.record([an_event(f"{number:016x}", created=office.clock.wall()) for number in range(3_000)])
    office.outbox.post(new_message(office.mail_to(office.server), "reset", "link"), ["eve@example.org"])
    await sender.work()

    reset, digest = office.server.messages
    assert reset["Subject"] == "reset"
    assert digest["Subject"].startswith("ValueError: twelve (+2999 more)")
    body = digest.get_body(["plain"])
    assert body is not None
    assert "and 2800 more kinds" in body.get_content()
    assert office.outbox.unreported() == []


async def test_the_cap_holds_after_an_outage(office: Office) -> None:
    sender = office.sender(mails_per_hour=2, batch_seconds=5.0)
    office.server.behaviour = Away
    office.fail()
    await sender.work()
    office.clock.advance(3 * HOUR)
    office.server.behaviour = Accepting
    for number in range(40):
        office.fail(fingerprint=f"0000000000000{number:03}", title=f"Error{number}", traceback="")
        await sender.work()
        office.clock.advance(60)

    assert len(office.server.messages) == 2


async def test_a_reader_whose_mailbox_is_full_keeps_no_report_from_the_others_and_gets_one_digest(
    office: Office,
) -> None:
    sender = office.sender(batch_seconds=0.0)
    office.server.refusing = {"grace@example.org": "452 4.2.2 mailbox full"}
    for number in range(10):
        office.fail(fingerprint=f"0000000000000{number:03}", title=f"Error{number}", traceback="")
        await sender.work()
        office.clock.advance(60)
    assert office.server.recipients == [["ada@example.org", "linus@example.org"]] * 10
    assert counts(office.server) == [1] * 10
    assert [mail.recipients for mail in office.outbox.mails("waiting")] == [("grace@example.org",)]

    office.server.refusing = {}
    office.clock.advance(HOUR)
    await sender.work()

    assert office.server.recipients[10:] == [["grace@example.org"]]
    assert counts(office.server)[10:] == [10]


@pytest.mark.parametrize("jump", [-DAY, DAY, -400 * DAY, 400 * DAY])
async def test_no_change_of_the_wall_clock_moves_the_cap(office: Office, jump: float) -> None:
    sender = office.sender(mails_per_hour=2, batch_seconds=5.0)
    for number in range(4):
        office.fail(fingerprint=f"0000000000000{number:03}", title=f"Error{number}", traceback="")
        await sender.work()
        office.clock.advance(60)
    office.clock.jump(jump)
    office.clock.advance(HOUR - 5 * 60)
    await sender.work()
    assert len(office.server.messages) == 2

    office.clock.advance(5 * 60)
    await sender.work()

    assert counts(office.server) == [1, 1, 2]


@pytest.mark.parametrize("jump", [-DAY, DAY])
async def test_no_change_of_the_wall_clock_moves_the_next_try_or_the_window(office: Office, jump: float) -> None:
    sender = office.sender(retry_min=100.0, window_seconds=900.0)
    office.fail(4)
    office.server.behaviour = "451 later"
    await sender.work()
    office.server.behaviour = Accepting
    office.clock.jump(jump)
    office.clock.advance(99)
    await sender.work()
    assert office.server.messages == []
    office.clock.advance(1)
    await sender.work()
    assert counts(office.server) == [4]

    office.fail()
    office.clock.jump(jump)
    office.clock.advance(899)
    await sender.work()
    assert counts(office.server) == [4]
    office.clock.advance(1)
    await sender.work()

    assert counts(office.server) == [4, 1]


@pytest.mark.parametrize("jump", [-DAY, DAY])
async def test_no_change_of_the_wall_clock_repeats_or_delays_the_mail_about_a_group_that_came_back(
    office: Office, jump: float
) -> None:
    sender = office.sender(window_seconds=900.0, batch_seconds=5.0)
    office.fail(4)
    await sender.work()
    office.clock.advance(60)
    assert office.outbox.resolve(ONE)
    office.clock.jump(jump)
    office.clock.advance(60)
    office.fail()
    await sender.work()
    assert counts(office.server) == [4, 1]
    office.clock.advance(60)
    office.fail()
    await sender.work()

    assert counts(office.server) == [4, 1], "the mail before has reported that the group came back"


async def test_a_digest_that_took_nothing_in_keeps_its_message_id(office: Office) -> None:
    sender = office.sender()
    office.server.behaviour = Away
    office.fail()
    await sender.work()
    [before] = office.outbox.mails("waiting")
    office.clock.advance(HOUR)
    office.server.behaviour = Accepting
    await sender.work()

    assert [mail["Message-ID"] for mail in office.server.messages] == [before.message_id]


async def test_errors_of_a_refused_digest_are_in_the_next_one_that_leaves(office: Office) -> None:
    sender = office.sender(batch_seconds=5.0, window_seconds=900.0)
    office.fail(3)
    office.server.behaviour = "554 5.7.1 not with us"
    await sender.work()
    [dead] = office.outbox.mails("dead")
    [group] = office.outbox.unreported()
    assert (group.count, group.reported) == (3, 0)

    office.server.behaviour = Accepting
    office.clock.advance(60)
    await sender.work()
    assert office.server.messages == []
    office.fail(2, TWO, title="Second", traceback="")
    await sender.work()
    office.clock.advance(HOUR)
    await sender.work()

    assert counts(office.server) == [5]
    body = office.server.messages[0].get_body(["plain"])
    assert body is not None
    assert re.search(
        r"^3 errors of these groups were in a mail that was refused: .*554 5\.7\.1 not with us",
        body.get_content(),
        re.MULTILINE,
    )
    assert office.outbox.mails("dead") == [dead]
    assert office.outbox.unreported() == []


async def test_errors_of_a_refused_digest_are_reported_when_their_window_ends(office: Office) -> None:
    sender = office.sender(window_seconds=900.0)
    office.fail(3)
    office.server.behaviour = "554 not with us"
    await sender.work()
    office.server.behaviour = Accepting
    office.clock.advance(900)
    await sender.work()

    assert counts(office.server) == [3]


async def test_a_refused_digest_that_an_operator_sends_again_is_not_reported_twice(office: Office) -> None:
    sender = office.sender()
    office.fail(3)
    office.server.behaviour = "554 not with us"
    await sender.work()
    office.server.behaviour = Accepting
    assert office.outbox.retry() == 1
    await sender.work()
    office.clock.advance(HOUR)
    office.fail(1, TWO)
    await sender.work()

    assert counts(office.server) == [3, 1]
    assert "refused" not in office.server.messages[1].as_string()


async def test_the_next_digest_names_whom_the_one_before_did_not_reach(office: Office) -> None:
    sender = office.sender()
    office.server.refusing = {"grace@example.org": "550 5.1.1 nobody of this name"}
    office.fail(3)
    await sender.work()
    office.clock.advance(60)
    office.fail(1, TWO)
    await sender.work()

    assert counts(office.server) == [3, 1]
    body = office.server.messages[1].get_body(["plain"])
    assert body is not None
    assert "did not reach grace@example.org: grace@example.org: 550 5.1.1 nobody of this name" in body.get_content()


async def test_a_refused_mail_to_additional_readers_is_named_and_reports_nothing_again(office: Office) -> None:
    sender = office.sender(readers=(Reader(("eve@example.org",), logger="shop"),))
    office.server.refusing = {"eve@example.org": "550 5.1.1 nobody of this name"}
    office.fail(3, logger="shop")
    await sender.work()
    office.clock.advance(60)
    office.fail(1, TWO)
    await sender.work()

    assert counts(office.server) == [3, 1]
    body = office.server.messages[1].get_body(["plain"])
    assert body is not None
    assert "did not reach eve@example.org" in body.get_content()


class Narrow(MailServer):
    """Refuses a mail of more than 9,000 bytes once it has it."""

    async def handle_DATA(self, server: object, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if len(envelope.content) > 9_000:
            return "552 5.3.4 Message size exceeds fixed limit"
        return await super().handle_DATA(server, session, envelope)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_digest_that_is_too_long_is_sent_shortened(
    announced: bool,  # noqa: FBT001
    office: Office,
    mail_to: Callable[..., MailOptions],
) -> None:
    office.fail(2, traceback="x" * 100_000)
    with MailServer(data_size_limit=9_000) if announced else Narrow() as server:
        sender = Sender(office.outbox, mail_to(server), MailingOptions())
        for _ in range(8):
            await sender.work()

    assert counts(server) == [2]
    body = server.messages[0].get_body(["plain"])
    assert body is not None
    assert "this one is shortened" in body.get_content()
    assert office.outbox.mails("dead") == []


async def test_a_posted_mail_that_is_too_long_is_a_dead_letter(
    office: Office, mail_to: Callable[..., MailOptions]
) -> None:
    with MailServer(data_size_limit=9_000) as server:
        office.outbox.post(new_message(mail_to(server), "news", "text " * 10_000), ADMINS)
        await Sender(office.outbox, mail_to(server), MailingOptions()).work()

    [dead] = office.outbox.mails("dead")
    assert "takes 9000 bytes at most" in dead.last_error


async def test_a_leader_that_lost_its_lease_on_the_way_to_the_server_sends_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = 0

    def look_up(*arguments: Any, **more: Any) -> Any:
        nonlocal slept
        if not slept:
            slept += 1
            office.clock.advance(60)
            assert office.outbox.sending.lead("another")
        return real(*arguments, **more)

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    office.fail()
    sender = office.sender()

    assert not await sender.work()
    assert slept == 1
    assert office.server.messages == []
    assert sender.lease is None


@pytest.mark.parametrize("answer", ["554 not with us", "451 later"])
async def test_a_late_refusal_changes_no_mail_that_the_next_leader_has_sent(
    office: Office, warnings: Callable[[], list[logging.LogRecord]], answer: str
) -> None:
    class Slow(MailServer):
        async def handle_DATA(self, server: object, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
            office.clock.advance(60)
            lease = office.outbox.sending.lead("another")
            assert lease is not None
            mail = office.outbox.sending.claim(lease, grace=30)
            assert mail is not None
            assert office.outbox.sending.sent(mail.id, Result("250"))
            return answer

    office.fail()
    with Slow() as server:
        sender = Sender(office.outbox, office.mail_to(server), MailingOptions())
        await sender.work()

    assert [mail.state for mail in office.outbox.mails()] == ["sent"]
    assert sender.counters.dead == 0
    assert warnings() == []


async def test_after_retry_for_a_mail_is_a_dead_letter_that_can_be_asked_for_again(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    sender = office.sender(retry_min=50.0, retry_for=100.0)
    office.fail()
    office.server.behaviour = "451 later"
    for _ in range(101):
        await sender.work()
        office.clock.advance(1)
    [dead] = office.outbox.mails("dead")
    assert "451 later" in dead.last_error
    assert dead.tries == 3
    assert caplog.text.count("is given up") == 1

    office.server.behaviour = Accepting
    assert office.outbox.retry(dead.id) == 1
    await sender.work()

    assert [mail["Message-ID"] for mail in office.server.messages] == [dead.message_id]
    assert sender.counters.dead == 1


async def test_a_refusal_for_good_is_a_dead_letter_at_once(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    sender = office.sender()
    office.outbox.post(new_message(office.mail_to(office.server), "reset", "link"), ADMINS)
    office.server.behaviour = "554 not with us"
    for _ in range(5):
        await sender.work()
        office.clock.advance(HOUR)

    [dead] = office.outbox.mails("dead")
    assert "554 not with us" in dead.last_error
    assert len(office.server.connections) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_password_that_is_refused_kills_no_mail(office: Office, server_with_password: MailServer) -> None:
    wrong, right = (
        office.mail_to(server_with_password, username="ada", password=word) for word in ("byron", "lovelace")
    )
    sender = Sender(office.outbox, wrong, MailingOptions())
    office.fail()
    await sender.work()
    assert [mail.state for mail in office.outbox.mails()] == ["waiting"]

    sender.reconfigure(right, MailingOptions())
    office.clock.advance(HOUR)
    await sender.work()

    assert len(server_with_password.messages) == 1


async def test_one_refused_recipient_of_three_costs_the_others_nothing(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    sender = office.sender()
    office.fail()
    office.server.refusing = {"grace@example.org": "550 nobody of this name"}
    await sender.work()

    assert office.server.recipients == [["ada@example.org", "linus@example.org"]]
    assert [mail.recipients for mail in office.outbox.mails("sent")] == [("ada@example.org", "linus@example.org")]
    [dead] = office.outbox.mails("dead")
    assert dead.recipients == ("grace@example.org",)
    assert caplog.text.count("was refused for grace@example.org: 550 nobody of this name") == 1


async def test_a_recipient_that_is_put_off_gets_the_same_mail_later_and_alone(office: Office) -> None:
    sender = office.sender(retry_min=5.0)
    office.fail()
    office.server.refusing = {"grace@example.org": "450 mailbox busy"}
    await sender.work()
    assert waiting(office.outbox) == [(1, "grace@example.org: 450 mailbox busy")]

    office.server.refusing = {}
    office.clock.advance(5)
    await sender.work()

    assert office.server.recipients == [["ada@example.org", "linus@example.org"], ["grace@example.org"]]
    assert len({mail["Message-ID"] for mail in office.server.messages}) == 1
    assert office.outbox.mails("waiting") == office.outbox.mails("dead") == []


async def test_a_posted_mails_readers_may_have_names(office: Office) -> None:
    readers = ["Eve <eve@example.org>", "Bob <bob@example.org>"]
    office.outbox.post(new_message(office.mail_to(office.server), "news", "text", to=readers), readers)
    office.server.refusing = {"eve@example.org": "550 nobody of this name"}
    await office.sender().work()

    assert office.server.recipients == [["bob@example.org"]]
    assert [mail.recipients for mail in office.outbox.mails("sent")] == [("bob@example.org",)]
    assert [mail.recipients for mail in office.outbox.mails("dead")] == [("eve@example.org",)]


async def test_a_digest_that_is_refused_for_everybody_is_tried_for_everybody_again(office: Office) -> None:
    sender = office.sender(retry_min=5.0)
    office.fail()
    office.server.refusing = dict(zip(ADMINS, ("450 busy", "550 nobody", "451 busy"), strict=True))
    await sender.work()
    assert [(mail.state, mail.recipients) for mail in office.outbox.mails()] == [("waiting", ADMINS)]

    office.server.refusing = {"grace@example.org": "550 nobody"}
    office.clock.advance(5)
    await sender.work()

    assert office.server.recipients == [["ada@example.org", "linus@example.org"]]
    assert [mail.recipients for mail in office.outbox.mails("dead")] == [("grace@example.org",)]


async def test_an_outage_is_two_lines_in_the_log_however_long_it_lasts(
    office: Office, warnings: Callable[[], list[logging.LogRecord]], capsys: pytest.CaptureFixture[str]
) -> None:
    sender = office.sender()
    office.server.behaviour = Away
    for number in range(30):
        office.fail(fingerprint=f"0000000000000{number:03}")
        await sender.work()
        office.clock.advance(100)
    office.server.behaviour = Accepting
    office.clock.advance(HOUR)
    await sender.work()

    first, last = warnings()
    assert "was not sent: 127.0.0.1" in first.getMessage()
    assert "The mail server takes mail again" in last.getMessage()
    assert {first.name, last.name} == {"quartblog.delivery.mailer"}
    assert capsys.readouterr().err.count("\n") == 1


async def test_the_log_does_not_name_the_readers_of_product_mail(
    office: Office, warnings: Callable[[], list[logging.LogRecord]], capsys: pytest.CaptureFixture[str]
) -> None:
    sender = office.sender()
    office.server.refusing = {"mallory@example.org": "550 mallory@example.org is not here"}
    office.outbox.post(
        new_message(office.mail_to(office.server), "Mallory, your password", "link"), ["mallory@example.org"]
    )
    await sender.work()

    [line] = warnings()
    assert "given up" in line.getMessage()
    assert "mallory" not in (line.getMessage() + capsys.readouterr().err).lower()


async def test_a_bug_while_sending_is_one_more_reason_to_try_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    sender = office.sender()
    office.fail()
    with monkeypatch.context() as patch:
        patch.setattr("quartblog.delivery.mail.sender.send", broken)
        await sender.work()
    assert waiting(office.outbox) == [(1, "ZeroDivisionError: a bug of ours")]

    office.clock.advance(5)
    await sender.work()

    assert len(office.server.messages) == 1


async def test_a_mail_whose_delivery_could_not_be_noted_does_not_leave_twice(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = office.sender()
    office.fail()
    with monkeypatch.context() as patch:
        patch.setattr(office.outbox.sending, "sent", lambda *_: 1 / 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await sender.work()
    await sender.work()

    assert len(office.server.messages) == 1
    assert [mail.state for mail in office.outbox.mails()] == ["sent"]


async def test_a_mail_whose_delivery_could_not_be_noted_takes_no_more_errors_in(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = office.sender()
    office.fail()
    with monkeypatch.context() as patch:
        patch.setattr(office.outbox.sending, "sent", lambda *_: 1 / 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await sender.work()
            office.clock.advance(10)
            office.fail(1, TWO)
    await sender.work()
    office.clock.advance(HOUR)
    await sender.work()

    assert sum(counts(office.server)) == 4
    assert counts(office.server)[0] == 1


class Deleting(MailServer):
    """Deletes a file of an outbox while it takes a mail."""

    path: Path | None = None

    async def handle_DATA(self, server: object, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.path is not None:
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self.path = None
        return await super().handle_DATA(server, session, envelope)


async def test_a_mail_of_a_new_file_leaves_though_one_with_its_id_left_the_deleted_file(
    office: Office, mail_to: Callable[..., MailOptions]
) -> None:
    with Deleting() as server:
        server.path = office.outbox.path
        sender = Sender(office.outbox, mail_to(server), MailingOptions())
        first = office.outbox.post(new_message(mail_to(server), "first", "text"), ADMINS)
        await sender.work()
        second = office.outbox.post(new_message(mail_to(server), "reset", "link"), ADMINS)
        assert second == first
        await sender.work()
        await sender.work()

        assert [mail["Subject"] for mail in server.messages] == ["first", "reset"]


async def test_a_mail_that_left_from_memory_unnoted_does_not_leave_again_from_the_file(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = office.outbox.path
    assert folder is not None
    folder.mkdir()
    sender = office.sender()
    office.outbox.post(new_message(office.mail_to(office.server), "reset", "link"), ADMINS)
    with monkeypatch.context() as patch:
        patch.setattr(office.outbox.sending, "sent", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await sender.work()
    assert office.outbox.in_memory
    folder.rmdir()
    office.clock.advance(60)
    await sender.work()

    assert not office.outbox.in_memory
    assert len(office.server.messages) == 1
    assert [mail.state for mail in office.outbox.mails()] == ["sent"]


async def test_a_follower_does_not_wait_for_a_digest_that_the_cap_holds(office: Office) -> None:
    leader, other = office.sender(mails_per_hour=1), office.sender(mails_per_hour=1)
    office.fail()
    await leader.work()
    office.clock.advance(2)
    office.fail(1, TWO)
    await leader.work()
    office.clock.advance(4)

    assert other.idle


async def test_a_new_leader_sends_what_the_last_one_left_with_the_same_message_id(office: Office) -> None:
    office.server.behaviour = CuttingShort
    office.fail()
    await office.sender().work()
    [left] = office.outbox.mails("waiting")
    office.outbox.close()
    office.clock.advance(5)
    office.server.behaviour = Accepting

    await office.sender().work()

    assert [mail["Message-ID"] for mail in office.server.messages] == [left.message_id]


@pytest.mark.parametrize("settled", [False, True])
async def test_a_digest_that_the_server_may_have_is_sent_again_as_it_was(office: Office, *, settled: bool) -> None:
    office.fail(2)
    first = office.sender()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(office.outbox.sending, "sent", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await first.work()
    office.fail(3)
    office.fail(1, TWO)
    if settled:
        assert office.outbox.resolve(ONE)
    office.clock.advance(60)

    await office.sender().work()

    one, again = office.server.messages
    assert one["Message-ID"] == again["Message-ID"]
    group = office.outbox.group(ONE)
    assert group is not None
    assert (group.count, group.reported) == (5, 2)


async def test_at_the_end_every_unreported_error_is_due(office: Office) -> None:
    sender = office.sender()
    office.fail(2)
    await sender.work()
    office.fail()
    office.fail(3, TWO)
    await sender.work()
    assert counts(office.server) == [2]

    await sender.work(last=True)

    assert counts(office.server) == [2, 4]


async def test_without_a_mail_server_everything_waits(office: Office) -> None:
    sender = Sender(office.outbox, None, MailingOptions())
    office.fail()
    await sender.work()
    assert sender.idle
    assert len(office.outbox.unreported()) == 1

    sender.reconfigure(office.mail_to(office.server), MailingOptions())
    assert not sender.idle
    await sender.work()

    assert counts(office.server) == [1]
    assert sender.idle
