"""`quartblog errors list` with conditions, an order and a width: what the page of errors has, in the terminal."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from quartblog.cli.output import cells
from quartblog.delivery import GroupPage, Outbox, OutboxOptions, Query
from tests.support.clocks import FakeClock
from tests.support.failures import Tried, a_digest, an_event, report_all

Command = Callable[..., Result]

OPEN, RESOLVED, MUTED = 1, 2, 3


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the workers, three hours ago."""
    return FakeClock(time.time() - 3 * 3_600)


@pytest.fixture
def outbox(folder: Path, clock: FakeClock) -> Iterator[Outbox]:
    """An outbox with a group in each state."""
    outbox = Outbox(OutboxOptions(folder / "instance/outbox.sqlite3", release="1.0"), clock=clock)
    for number, changes in (
        (OPEN, {"title": "TimeoutError", "message": "the Database is slow", "route": "/posts"}),
        (RESOLVED, {"level": 50, "place": "shop/cart.py:12", "error_id": "k7c2mfq9wx3a"}),
        (MUTED, {"title": "KeyError"}),
    ):
        outbox.record([an_event(f"{number:016}", **changes)] * number)
        clock.advance(60)
    outbox.resolve(RESOLVED)
    outbox.mute(MUTED, 1, 1_000)
    yield outbox
    outbox.close()


def listed(quartblog: Command, *arguments: str) -> list[int]:
    """The ids of the groups, in their order."""
    result = quartblog("errors", "list", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return [group["id"] for group in json.loads(result.stdout)]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), [MUTED, OPEN]),
        (("--state", "open"), [OPEN]),
        (("--state", "resolved"), [RESOLVED]),
        (("--state", "muted"), [MUTED]),
        (("--state", "all"), [MUTED, RESOLVED, OPEN]),
        (("--all",), [MUTED, RESOLVED, OPEN]),
        (("--all", "--state", "all"), [MUTED, RESOLVED, OPEN]),
        (("--all", "--level", "critical"), [RESOLVED]),
        (("--all", "--level", "ERROR"), [MUTED, RESOLVED, OPEN]),
        (("--route", "/posts"), [OPEN]),
        (("--release", "1.0"), [MUTED, OPEN]),
        (("--release", "2.0"), []),
        (("--order", "count", "--all"), [MUTED, RESOLVED, OPEN]),
        (("timeout", "DATABASE"), [OPEN]),
        (("timeout database",), [OPEN]),
        (("timeout", "cart"), []),
        (("cart", "--all"), [RESOLVED]),
        (("K7C2MFQ9WX3A", "--all"), [RESOLVED]),
        (("[id", "k7c2mfq9wx3a]", "--all"), [RESOLVED]),
        (("[id k7c2mfq9wx3a]", "--all"), [RESOLVED]),
    ],
    ids=str,
)
def test_conditions_and_words_choose_the_groups(
    quartblog: Command, outbox: Outbox, arguments: tuple[str, ...], found: list[int]
) -> None:
    assert listed(quartblog, *arguments) == found


def test_the_largest_count_comes_first_on_request(quartblog: Command, outbox: Outbox, clock: FakeClock) -> None:
    clock.advance(60)
    outbox.record([an_event(f"{OPEN:016}")])

    assert listed(quartblog) == [OPEN, MUTED]
    assert listed(quartblog, "--order", "count") == [MUTED, OPEN]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nothing",), "No open errors match; --state all searches all states"),
        (("--state", "muted", "--route", "/"), "No muted errors match; --state all searches all states"),
        (("--all", "nothing"), "No errors match"),
        (("--state", "resolved", "--release", "9"), "No resolved errors match; --state all searches all states"),
    ],
    ids=str,
)
def test_an_empty_list_says_where_it_looked(
    quartblog: Command, outbox: Outbox, arguments: tuple[str, ...], line: str
) -> None:
    result = quartblog("errors", "list", *arguments)

    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{line}\n", "")


def test_a_state_without_groups_is_told(quartblog: Command, outbox: Outbox) -> None:
    for group in (RESOLVED, MUTED):
        outbox.reopen(group)

    assert quartblog("errors", "list", "--state", "resolved").stdout == "No resolved errors\n"
    assert quartblog("errors", "list", "--state", "muted").stdout == "No muted errors\n"


def test_all_and_another_state_exclude_each_other(quartblog: Command, outbox: Outbox) -> None:
    result = quartblog("errors", "list", "--all", "--state", "muted")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "--all means --state all" in result.stderr


def test_the_rest_is_counted_among_the_groups_that_were_looked_for(quartblog: Command, outbox: Outbox) -> None:
    outbox.record([an_event(f"{number:016}", title="OSError") for number in range(10, 15)])

    result = quartblog("errors", "list", "oserror", "--limit", "2")

    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "2 of 5 shown; --limit N shows more\n"


def test_a_limit_and_an_order_go_on_over_many_pages(
    quartblog: Command, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quartblog.cli.errors.PAGE", 4)
    for number in range(10, 21):
        outbox.record([an_event(f"{number:016}", title="OSError")] * (1 + number % 3))

    found = json.loads(quartblog("errors", "list", "oserror", "--order", "count", "--json").stdout)
    ten = json.loads(quartblog("errors", "list", "oserror", "--order", "count", "--limit", "10", "--json").stdout)

    assert [group["count"] for group in found] == [3] * 4 + [2] * 4 + [1] * 3
    assert len({group["id"] for group in found}) == 11
    assert ten == found[:10]


def test_a_group_that_fails_between_two_pages_is_listed_once(
    quartblog: Command, outbox: Outbox, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quartblog.cli.errors.PAGE", 2)
    for number in range(10, 16):
        clock.advance(1)
        outbox.record([an_event(f"{number:016}", title="OSError")])
    read, calls = Outbox.page, []

    def page(self: Outbox, query: Query) -> GroupPage:
        found = read(self, query)
        calls.append(query)
        if len(calls) == 1:
            clock.advance(1)
            outbox.record([an_event(f"{10:016}", title="OSError")])
        return found

    monkeypatch.setattr(Outbox, "page", page)

    found = json.loads(quartblog("errors", "list", "oserror", "--json").stdout)

    assert [int(group["fingerprint"]) for group in found] == [10, 15, 14, 13, 12, 11]
    assert found[0]["count"] == 2


def test_a_group_as_json_has_its_users_day_releases_and_the_fate_of_its_mail(
    quartblog: Command, outbox: Outbox, clock: FakeClock
) -> None:
    report_all(outbox)
    clock.advance(3_600)
    outbox.record([an_event(f"{OPEN:016}", user_id=user) for user in ("ada", "grace")])
    number = a_digest(outbox)
    outbox.sending.dead(number, Tried("550 no"))

    [muted, first] = json.loads(quartblog("errors", "list", "--order", "count", "--json").stdout)

    assert (first["id"], first["users"], first["users_exact"]) == (OPEN, 3, True)
    assert (first["first_release"], first["last_release"]) == ("1.0", "1.0")
    assert len(first["last_24_hours"]) == 24
    mail = first["mail"]
    assert (mail["id"], mail["state"], mail["count"], mail["why"]) == (number, "dead", 2, "550 no")
    assert muted["mail"] is None


def as_table(quartblog: Command, width: int | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    if width is not None:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _stream: True)
    result = quartblog("errors", "list", "--all")
    assert result.exit_code == 0
    return result.stdout.splitlines()


ALWAYS = {"id", "count", "last", "state", "what"}


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (80, ALWAYS | {"users", "mail"}),
        (120, ALWAYS | {"users", "mail", "where"}),
        (200, ALWAYS | {"users", "mail", "where", "24", "hours", "to", "level", "first"}),
        (None, ALWAYS | {"users", "mail", "where", "24", "hours", "to", "level", "first"}),
    ],
)
def test_a_table_has_the_columns_that_fit_into_the_terminal(
    quartblog: Command, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, width: int | None, titles: set[str]
) -> None:
    many: dict[str, Any] = {"title": "RuntimeError", "traceback": f"RuntimeError: {'图片服务 failed ' * 20}"}
    outbox.record([an_event("f" * 16, place="quartblog/profile/something.py:1204", **many)] * 12_000)

    head, *lines = as_table(quartblog, width, monkeypatch)

    assert set(head.split()) == titles
    assert len(lines) == 4
    assert width is None or max(map(cells, [head, *lines])) <= width
    assert "12,000" in lines[0]
    assert "RuntimeError: 图片" in lines[0]
    assert ("something.py:1204" in lines[0]) == ("where" in titles)


def test_the_day_of_a_group_is_a_line_of_bars(
    quartblog: Command, outbox: Outbox, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.record([an_event("f" * 16)] * 4)
    clock.advance(7_200)
    outbox.record([an_event("f" * 16)] * 8)

    assert ". #" in as_table(quartblog, None, monkeypatch)[1]
    assert "▄ █" in as_table(quartblog, 200, monkeypatch)[1]


def test_more_users_than_are_counted_are_marked(
    quartblog: Command, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.record([an_event("f" * 16, user_id=user) for user in range(1_200)])

    assert "  1,000+  " in as_table(quartblog, 80, monkeypatch)[1]
