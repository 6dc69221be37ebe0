"""`quartblog errors`, on an outbox as workers leave it."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from quartblog.delivery import Outbox, OutboxOptions
from tests.support.failures import EVENT, an_event, events, report_all

Command = Callable[..., Result]

BREADCRUMBS = ("12:00:00 INFO blog: looked up a post", "12:00:00 WARNING blog: found none")


@pytest.fixture
def outbox(folder: Path) -> Iterator[Outbox]:
    outbox = Outbox(OutboxOptions(folder / "instance/outbox.sqlite3"))
    yield outbox
    outbox.close()


def test_open_failures_are_listed_with_their_counts_the_latest_first(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(1000))
    report_all(outbox)
    outbox.record(events(1, fingerprint="fedcba9876543210", title="KeyError", traceback="", message="no such key"))
    outbox.record(events(200))

    result = quartblog("errors", "list")

    head, first, second = result.stdout.splitlines()
    assert result.exit_code == 0
    assert head.split()[:4] == ["id", "count", "to", "mail"]
    assert first.split()[:3] == ["1", "1,200", "200"]
    assert "ValueError: twelve" in first
    assert "app.py:12" in first
    assert second.split()[:3] == ["2", "1", "1"]
    assert "ERROR: no such key" in second


def test_resolved_failures_are_listed_on_request(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(2))
    outbox.resolve(1)

    assert quartblog("errors", "list").stdout == "No open errors\n"
    assert " resolved " in quartblog("errors", "list", "--all").stdout


def test_a_failure_that_came_back_is_marked(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(2))
    outbox.resolve(1)
    outbox.record(events(1))

    [group] = json.loads(quartblog("errors", "list", "--json").stdout)

    assert (group["state"], group["count"]) == ("again", 3)


def test_the_list_as_json_has_what_a_script_needs(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(3))

    [group] = json.loads(quartblog("errors", "list", "--json").stdout)

    assert group["id"] == 1
    assert group["what"] == "ValueError: twelve"
    assert (group["level"], group["logger"], group["route"]) == ("ERROR", "blog.profile", "/user/edit")
    assert (group["count"], group["reported"], group["state"]) == (3, 0, "open")
    assert group["first_seen"] == "2023-11-14T22:13:20.000+00:00"
    assert group["last_seen"] == "2023-11-14T22:13:22.000+00:00"
    assert group["latest_error_id"] == "0000aa000002"


def test_a_list_that_is_cut_short_says_so(quartblog: Command, outbox: Outbox) -> None:
    for number in range(3):
        outbox.record(events(1, fingerprint=f"{number:016}"))

    result = quartblog("errors", "list", "--limit", "2")

    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "2 of 3 shown; --limit N shows more\n"
    assert quartblog("errors", "list", "--limit", "3").stderr == ""
    outbox.resolve(1)
    assert quartblog("errors", "list", "--limit", "2").stderr == ""
    assert quartblog("errors", "list", "--all", "--limit", "2").stderr == "2 of 3 shown; --limit N shows more\n"


def test_a_table_without_a_limit_says_what_it_leaves_out_and_json_is_complete(
    quartblog: Command, outbox: Outbox
) -> None:
    outbox.record([an_event(f"{number:016}") for number in range(1_234)])

    result = quartblog("errors", "list")
    as_data = quartblog("errors", "list", "--json")

    assert len(result.stdout.splitlines()) == 101
    assert result.stderr == "100 of 1,234 shown; --limit N shows more\n"
    assert (len(json.loads(as_data.stdout)), as_data.stderr) == (1_234, "")
    assert len(json.loads(quartblog("errors", "list", "--json", "--limit", "7").stdout)) == 7


@pytest.mark.parametrize("key", ["1", "0000aa000001", EVENT.fingerprint, EVENT.fingerprint.upper(), " 1 "])
def test_a_group_is_shown_by_its_number_an_error_id_or_its_fingerprint(
    quartblog: Command, outbox: Outbox, key: str
) -> None:
    outbox.record(events(3, breadcrumbs=BREADCRUMBS))

    result = quartblog("errors", "show", key)

    assert result.exit_code == 0
    assert result.stdout.startswith("1: ValueError: twelve\n")
    assert "0000aa000002 0000aa000001 0000aa000000" in result.stdout
    assert "3, 3 of them not mailed yet" in result.stdout
    assert "POST /user/edit" in result.stdout
    assert EVENT.traceback in result.stdout
    assert "\n  12:00:00 INFO blog: looked up a post\n  12:00:00 WARNING blog: found none" in result.stdout


def test_the_failure_a_visitor_saw_is_shown_rather_than_the_latest(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(3))

    assert "\nError 0000aa000001, " in quartblog("errors", "show", "0000aa000001").stdout
    assert "\nError 0000aa000002, " in quartblog("errors", "show", "1").stdout


@pytest.mark.parametrize(
    "words",
    [("K7C2MFQ9WX3A",), ("[id k7c2mfq9wx3a]",), ("[id", "K7c2mfq9wx3a]"), ("id", "k7c2mfq9wx3a"), (" k7c2mfq9wx3a ",)],
    ids=" ".join,
)
def test_an_error_id_may_be_typed_in_upper_case_or_copied_from_a_log_line(
    quartblog: Command, outbox: Outbox, words: tuple[str, ...]
) -> None:
    outbox.record([an_event(error_id="k7c2mfq9wx3a"), *events(2)])

    assert "\nError k7c2mfq9wx3a, " in quartblog("errors", "show", *words).stdout
    assert quartblog("errors", "resolve", *words).stdout.startswith("1 is resolved")


def test_two_ids_are_one_too_many_to_show(quartblog: Command, outbox: Outbox) -> None:
    result = quartblog("errors", "show", "1", "2")

    assert result.exit_code == 2
    assert result.stderr.endswith("Error: give the number of one group, or one error id\n")


def test_a_group_as_json_has_its_samples(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(2, breadcrumbs=BREADCRUMBS))

    group = json.loads(quartblog("errors", "show", "1", "--json").stdout)

    assert group["count"] == 2
    assert [sample["error_id"] for sample in group["samples"]] == ["0000aa000001", "0000aa000000"]
    sample = group["samples"][0]
    assert (sample["method"], sample["route"], sample["user_id"], sample["process"]) == ("POST", "/user/edit", 7, 4711)
    assert sample["traceback"] == EVENT.traceback
    assert sample["breadcrumbs"] == list(BREADCRUMBS)


def test_a_group_whose_samples_had_to_make_room_is_still_shown(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(2))
    with closing(sqlite3.connect(outbox.path or "")) as file, file:
        file.execute("DELETE FROM samples")

    assert " ValueError " in quartblog("errors", "list").stdout
    assert "no longer kept" in quartblog("errors", "show", "1").stdout


def test_nothing_a_stranger_typed_steers_the_terminal(quartblog: Command, outbox: Outbox) -> None:
    evil = "\x1b[2J\x9b2J\u202eevil\ud800\nError: forged"
    outbox.record(events(1, message=evil, traceback=f"ValueError: {evil}", breadcrumbs=(evil,), route=evil))

    for arguments in (["list"], ["show", "1"], ["list", "--json"], ["show", "1", "--json"], ["show", evil[:4]]):
        result = quartblog("errors", *arguments)
        assert not set("\x1b\x9b\u202e\ud800") & set(result.output)


def test_a_failure_outside_of_a_request_has_neither_route_nor_user(quartblog: Command, outbox: Outbox) -> None:
    nobody: dict[str, Any] = {"method": None, "route": None, "user_id": None}
    outbox.record([an_event(**nobody, traceback="", message="the disk is full")])

    lines = quartblog("errors", "show", "1").stdout.splitlines()

    assert lines[0] == "1: ERROR: the disk is full"
    assert [line.split() for line in lines[-4:]] == [
        ["request", "-", "-"],
        ["user", "-"],
        ["process", "4711"],
        ["message", "the", "disk", "is", "full"],
    ]


def test_a_long_message_is_cut_to_its_column_in_cells_and_not_in_characters(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(1, message="发生意外错误" * 20, traceback=""))

    line = quartblog("errors", "list").stdout.splitlines()[1]

    assert f"ERROR: {('发生意外错误' * 20)[:26]}…  app.py:12" in line


def test_an_unknown_group_is_one_clear_line(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(1))

    result = quartblog("errors", "show", "zzzz")

    assert result.exit_code == 1
    assert result.stderr == (
        "Error: zzzz: no group has this number or error id;"
        " the outbox knows the latest 100,000 error ids, search the log files for older ones\n"
    )


def test_resolving_takes_a_group_off_the_list(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(1))
    outbox.record(events(1, fingerprint="fedcba9876543210"))

    result = quartblog("errors", "resolve", "1", "543210000000")

    assert result.exit_code == 0
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == ["1 is resolved", "2 is resolved"]
    assert outbox.groups() == []


def test_resolving_twice_is_told_and_no_error(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(1))
    quartblog("errors", "resolve", "1")

    result = quartblog("errors", "resolve", "1")

    assert (result.exit_code, result.stdout.split(":")[0]) == (0, "1 was already resolved")


def test_an_unknown_group_does_not_keep_the_others_from_being_resolved(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(1))

    result = quartblog("errors", "resolve", "99", "1")

    assert (result.exit_code, result.stderr) == (1, "Error: no group has this number or error id: 99\n")
    assert outbox.groups() == []


def test_a_muted_group_is_marked_and_is_not_due(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(1))
    outbox.record(events(1, fingerprint="fedcba9876543210"))

    result = quartblog("errors", "mute", "1", "--for", "2h")

    assert result.exit_code == 0
    assert re.match(r"1 is muted until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: ValueError: ", result.stdout)
    assert [group.id for group in outbox.unreported()] == [2]
    by_id = {group["id"]: group for group in json.loads(quartblog("errors", "list", "--json").stdout)}
    assert (by_id[1]["state"], by_id[2]["state"]) == ("muted", "open")
    assert datetime.fromisoformat(by_id[1]["muted_until"]) > datetime.now(UTC) + timedelta(minutes=119)
    assert by_id[2]["muted_until"] is None
    assert "state    muted until 2" in quartblog("errors", "show", "1").stdout


def test_a_group_is_reopened_whether_it_was_muted_or_resolved(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(1))
    quartblog("errors", "mute", "1", "--for", "30min")
    quartblog("errors", "resolve", "1")

    result = quartblog("errors", "reopen", "1")

    assert (result.exit_code, result.stdout.split(":")[0]) == (0, "1 is open")
    [group] = json.loads(quartblog("errors", "list", "--json").stdout)
    assert (group["state"], group["muted_until"]) == ("again", None)


@pytest.mark.parametrize("span", ["2", "h", "0h", "-1h", "2 weeks", "nan", "1e9d", "99999d", ""])
def test_a_span_that_is_none_is_a_wrong_argument(quartblog: Command, outbox: Outbox, span: str) -> None:
    result = quartblog("errors", "mute", "1", "--for", span)

    assert result.exit_code == 2
    why = "is not above 0 and at most 3650 days." if span in {"0h", "99999d"} else "is not a number with s, min, h or d"
    assert why in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("show", "1"), ("resolve", "1"), ("mute", "1", "--for", "2h"), ("reopen", "1")],
    ids=" ".join,
)
def test_without_an_outbox_every_command_says_how_it_comes_to_be(
    quartblog: Command, folder: Path, arguments: tuple[str, ...]
) -> None:
    result = quartblog("errors", *arguments)

    assert result.exit_code == 1
    assert result.stderr == (
        "Error: instance/outbox.sqlite3: the outbox does not exist yet;"
        f" `quartblog run` creates it at the path in [delivery] outbox; there is no config.toml in {folder}\n"
    )
    assert not (folder / "instance").exists()


@pytest.mark.parametrize(
    "arguments", [("errors", "list", "--limit"), ("delivery", "outbox", "--limit"), ("delivery", "retry")]
)
def test_a_number_that_no_database_knows_is_a_wrong_argument(
    quartblog: Command, outbox: Outbox, arguments: tuple[str, ...]
) -> None:
    outbox.record(events(1))

    result = quartblog(*arguments, "9" * 20)

    assert result.exit_code == 2
    assert "is not in the range" in result.stderr


def test_an_error_without_a_sample_is_found_by_its_id(quartblog: Command, outbox: Outbox) -> None:
    outbox.record(events(30))

    shown = quartblog("errors", "show", "0000AA000003").stdout

    assert "\nError 0000aa000003, " in shown
    assert ", user 7: its text is no longer kept\n\nError 0000aa000029, " in shown


def test_a_group_is_shown_with_its_users_releases_mails_and_history(quartblog: Command, folder: Path) -> None:
    path = folder / "instance" / "outbox.sqlite3"
    for release in ("1.0", "1.1"):
        with closing(Outbox(OutboxOptions(path, release=release))) as outbox:
            outbox.record([an_event(user_id=user) for user in ("ada", "grace")])
            report_all(outbox)
    quartblog("errors", "note", "1", "looks like\nthe \x1b[31mdisk")
    quartblog("errors", "resolve", "1", "--note", "fixed")

    shown = quartblog("errors", "show", "1").stdout
    found = json.loads(quartblog("errors", "show", "1", "--json").stdout)

    assert "users    2" in shown
    assert "release  first 1.0, last 1.1" in shown
    assert "digest  sent  2 errors" in shown
    assert "(command line)  noted     looks like\\nthe \\x1b[31mdisk" in shown
    assert "(command line)  resolved  fixed" in shown
    assert [past["what"] for past in found["history"]] == ["resolved", "noted"]
    assert [mail["state"] for mail in found["mails"]] == ["sent", "sent"]
    assert sum(found["hours"].values()) == len(found["ids"]) == 4


def test_a_group_is_muted_until_more_errors_come(quartblog: Command, outbox: Outbox) -> None:
    outbox.record([an_event()])

    told = quartblog("errors", "mute", "1", "--more", "10", "--for", "1h").stdout

    assert told.startswith("1 is muted until more than 10 errors in 1 h: ")
    assert "muted until more than 10 errors in 1 h" in quartblog("errors", "show", "1").stdout
    assert "muted" in quartblog("errors", "list").stdout
    outbox.record([an_event()] * 11)
    assert "muted" not in quartblog("errors", "list").stdout


@pytest.mark.parametrize("words", [["1", " "], ["1"], ["1", "--more", "0", "--for", "1h"]])
def test_an_empty_note_or_a_wrong_number_is_a_wrong_argument(
    quartblog: Command, outbox: Outbox, words: list[str]
) -> None:
    outbox.record([an_event()])

    assert quartblog("errors", "mute" if "--more" in words else "note", *words).exit_code == 2


def test_a_note_may_say_why_a_group_is_open_again(quartblog: Command, outbox: Outbox) -> None:
    outbox.record([an_event()])
    outbox.resolve(1)

    quartblog("errors", "reopen", "1", "--note", "not fixed in 1.2")

    [past] = json.loads(quartblog("errors", "show", "1", "--json").stdout)["history"][:1]
    assert (past["what"], past["note"]) == ("reopened", "not fixed in 1.2")
