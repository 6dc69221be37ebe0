"""Several workers -> one leader; another one follows a leader that hangs, which then may not mail."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import Outbox, OutboxOptions
from quartblog.delivery.store.database import BUSY_SECONDS
from quartblog.delivery.store.mails import NewMail, Result
from quartblog.delivery.store.workers import LEASE, LeaseLost
from tests.support import programs
from tests.support.clocks import FakeClock
from tests.support.failures import a_digest, a_message, an_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quartblog.delivery.store.workers import Lease

GRACE = 25.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "outbox.sqlite3"


@pytest.fixture
def outbox(path: Path, clock: FakeClock) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(path), clock=clock)
    yield outbox
    outbox.close()


@pytest.fixture
def neighbour(path: Path, clock: FakeClock) -> Iterator[Outbox]:
    """The outbox of another process."""
    outbox = Outbox(OutboxOptions(path), clock=clock)
    yield outbox
    outbox.close()


def leads(outbox: Outbox, worker: str, lease: Lease | None = None) -> Lease:
    found = outbox.sending.lead(worker, lease)
    assert found is not None
    return found


def test_one_worker_leads_and_keeps_the_lead_as_long_as_it_renews(
    outbox: Outbox, neighbour: Outbox, clock: FakeClock
) -> None:
    lease = leads(outbox, "host:1")

    for _ in range(10):
        clock.advance(LEASE - 0.1)
        assert leads(outbox, "host:1", lease) == lease
        assert neighbour.sending.lead("host:2") is None


def test_a_leader_that_stands_still_is_followed_and_named(outbox: Outbox, neighbour: Outbox, clock: FakeClock) -> None:
    first = leads(outbox, "host:1")
    clock.advance(LEASE)
    leader = neighbour.leader()
    assert leader is not None
    assert (leader.worker, leader.silent) == ("host:1", LEASE)

    second = leads(neighbour, "host:2")

    assert (second.taken_from, second.silent) == ("host:1", LEASE)
    assert second.token > first.token
    assert outbox.sending.lead("host:1", first) is None


def test_a_leader_that_waits_for_a_busy_file_keeps_the_lead() -> None:
    between_renewals = 1.0

    assert BUSY_SECONDS + between_renewals < LEASE


def test_a_worker_that_was_started_anew_under_the_same_name_is_another_one(outbox: Outbox, neighbour: Outbox) -> None:
    leads(outbox, "host:1")

    assert neighbour.sending.lead("host:1") is None


def test_the_lead_of_a_worker_that_resigned_is_free_at_once(outbox: Outbox, neighbour: Outbox) -> None:
    first = leads(outbox, "host:1")
    a_digest(outbox, lease=first)
    assert outbox.sending.claim(first, grace=GRACE)

    outbox.sending.resign(first)

    assert outbox.leader() is None
    second = leads(neighbour, "host:2")
    assert second.taken_from is None
    assert neighbour.sending.claim(second, grace=GRACE), "its mail in flight is free as well"


def test_a_worker_that_lost_the_lead_neither_writes_a_digest_nor_claims_a_mail(
    outbox: Outbox, neighbour: Outbox, clock: FakeClock
) -> None:
    outbox.record([an_event()])
    outbox.post(a_message(), ["ada@example.org"])
    first = leads(outbox, "host:1")
    clock.advance(LEASE)
    leads(neighbour, "host:2")

    with pytest.raises(LeaseLost):
        outbox.sending.begin_digest(["ada@example.org"], first)
    with pytest.raises(LeaseLost):
        outbox.sending.claim(first, grace=GRACE)

    assert [mail.kind for mail in outbox.mails()] == ["post"]
    assert [group.reported for group in outbox.unreported()] == [0]
    outbox.sending.resign(first)
    assert outbox.sending.lead("host:3") is None, "a lease that was lost frees nothing"


def test_a_mail_in_flight_is_left_to_the_earlier_leader_for_a_while(
    outbox: Outbox, neighbour: Outbox, clock: FakeClock
) -> None:
    number = a_digest(outbox, "in flight")
    first = leads(outbox, "host:1")
    claimed = outbox.sending.claim(first, grace=GRACE)
    assert claimed is not None
    clock.advance(LEASE)
    a_digest(outbox, "waits")
    second = leads(neighbour, "host:2")

    other = neighbour.sending.claim(second, grace=GRACE)
    assert other is not None
    assert other.subject == "waits"
    assert neighbour.sending.sent(other.id, Result("250"))
    assert neighbour.sending.claim(second, grace=GRACE) is None
    clock.advance(GRACE - LEASE)

    again = neighbour.sending.claim(second, grace=GRACE)
    assert again is not None
    assert (again.id, again.message_id) == (number, claimed.message_id)


def test_what_an_earlier_leader_has_sent_is_not_sent_again(outbox: Outbox, neighbour: Outbox, clock: FakeClock) -> None:
    number = a_digest(outbox)
    assert outbox.sending.claim(leads(outbox, "host:1"), grace=GRACE)
    clock.advance(LEASE)
    second = leads(neighbour, "host:2")

    assert outbox.sending.sent(number, Result("250"))
    clock.advance(GRACE)

    assert neighbour.sending.claim(second, grace=GRACE) is None


def test_a_late_leader_gives_up_and_changes_no_mail_that_a_later_one_has_sent(
    outbox: Outbox, neighbour: Outbox, clock: FakeClock
) -> None:
    number = a_digest(outbox)
    late = outbox.sending.claim(leads(outbox, "host:1"), grace=GRACE)
    assert late is not None
    clock.advance(LEASE + GRACE)
    assert neighbour.sending.claim(leads(neighbour, "host:2"), grace=GRACE)
    assert neighbour.sending.sent(number, Result("250"))
    [before] = outbox.mails()

    assert not outbox.sending.dead(number, Result("timed out"))
    assert not outbox.sending.failed(number, Result("timed out", {"grace@example.org": "550"}))
    assert not outbox.sending.withdraw(number)

    assert outbox.mails() == [before]


def test_a_late_leader_changes_no_mail_that_a_later_one_has_in_flight(
    outbox: Outbox, neighbour: Outbox, clock: FakeClock
) -> None:
    number = a_digest(outbox)
    late = outbox.sending.claim(leads(outbox, "host:1"), grace=GRACE)
    assert late is not None
    clock.advance(LEASE + GRACE)
    second = leads(neighbour, "host:2")
    current = neighbour.sending.claim(second, grace=GRACE)
    assert current is not None
    [before] = outbox.mails()

    assert not outbox.sending.failed(number, Result("timed out", wait=0.0, token=late.token))
    assert not outbox.sending.dead(number, Result("timed out", token=late.token))
    assert not outbox.sending.withdraw(number, late.token)
    content = outbox.sending.content(number)
    assert content is not None
    anew = NewMail("<2@example.org>", "anew", b"anew", ("ada@example.org",), "digest")
    assert not outbox.sending.compose(number, anew, content, late.token)

    assert outbox.mails() == [before]
    clock.advance(LEASE)
    assert outbox.sending.claim(leads(outbox, "host:3"), grace=GRACE) is None, "it is still in flight"
    assert neighbour.sending.failed(number, Result("451", wait=0.0, token=current.token))


def test_the_leader_claims_its_own_mail_again_at_once(outbox: Outbox) -> None:
    a_digest(outbox)
    lease = leads(outbox, "host:1")

    assert outbox.sending.claim(lease, grace=GRACE) == outbox.sending.claim(lease, grace=GRACE) is not None


def test_posted_mail_leaves_before_digests_that_waited_longer(outbox: Outbox, clock: FakeClock) -> None:
    a_digest(outbox, "a digest")
    clock.advance(60)
    outbox.post(a_message(), ["ada@example.org"])
    lease = leads(outbox, "host:1")

    order = []
    while (claimed := outbox.sending.claim(lease, grace=GRACE)) is not None:
        order.append(claimed.kind)
        assert outbox.sending.sent(claimed.id, Result("250"))

    assert order == ["post", "digest"]


def test_without_a_file_everybody_leads(clock: FakeClock) -> None:
    with closing(Outbox(clock=clock)) as one, closing(Outbox(clock=clock)) as two:
        assert one.sending.lead("host:1") is not None
        assert two.sending.lead("host:2") is not None


def test_while_the_disk_is_away_each_worker_leads_its_own_memory_and_not_the_file_afterwards(
    outbox: Outbox, neighbour: Outbox, path: Path, clock: FakeClock
) -> None:
    first = leads(outbox, "host:1")
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.touch()
    neighbour.record([an_event()])
    in_memory = leads(neighbour, "host:2")
    assert a_digest(neighbour, lease=in_memory) < 0
    with pytest.raises(LeaseLost):
        outbox.sending.begin_digest(["ada@example.org"], first)
    path.parent.unlink()
    path.parent.with_name("elsewhere").rename(path.parent)
    clock.advance(3)

    with pytest.raises(LeaseLost):
        neighbour.sending.claim(in_memory, grace=GRACE)
    assert neighbour.sending.lead("host:2", in_memory) is None
    assert leads(outbox, "host:1", first).token == first.token
    claimed = outbox.sending.claim(first, grace=GRACE)
    assert claimed is not None
    assert claimed.subject == "a digest", "what memory held is mailed by the leader"


@pytest.mark.parametrize("jump", [-86_400.0 * 366, -3_600.0, 3_600.0, 86_400.0 * 366])
def test_a_clock_that_jumps_neither_ends_a_lease_nor_keeps_it(
    outbox: Outbox, neighbour: Outbox, clock: FakeClock, jump: float
) -> None:
    lease = leads(outbox, "host:1")
    clock.jump(jump)
    clock.advance(1)
    assert neighbour.sending.lead("host:2") is None
    assert leads(outbox, "host:1", lease) == lease
    clock.advance(LEASE)

    assert leads(neighbour, "host:2").silent == LEASE


def test_of_four_processes_that_ask_at_once_one_leads(path: Path) -> None:
    source = """
import sys
from pathlib import Path
from quartblog.delivery import Outbox, OutboxOptions
outbox = Outbox(OutboxOptions(Path(sys.argv[1])))
outbox.open()
print("ready", flush=True)
sys.stdin.readline()
print(outbox.sending.lead(sys.argv[2]) is not None, flush=True)
outbox.close()
"""
    running = [programs.start(source, path, f"host:{number}") for number in range(4)]
    for each in running:
        assert each.stdout
        assert each.stdout.readline() == "ready\n"
    for each in running:
        assert each.stdin
        each.stdin.write("go\n")
        each.stdin.flush()

    assert sorted(programs.output(each) for each in running) == ["False\n"] * 3 + ["True\n"]
