"""`quartblog delivery rehearse`, with the real pipeline for a fraction of a second."""

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from quartblog.cli import rehearse
from quartblog.delivery import Percentiles
from quartblog.rehearsal.report import SHARE, Plan, Rehearsed
from tests.support.processes import ROOT

Command = Callable[..., Result]
SHORT = ("--seconds", "0.2", "--smtp-delay", "0")


def test_a_rehearsal_prints_what_an_operator_needs_and_touches_nothing_real(
    quartblog: Command, folder: Path, config: Callable[..., None]
) -> None:
    config(delivery={"batch_seconds": 0.05}, mail={"server": "mail.invalid", "admins": ["ada@example.org"]})

    result = quartblog("delivery", "rehearse", "--rate", "50", "--distinct", "2", *SHORT)

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].endswith("of the planned 50 a second")
    table = {line.split("  ")[0]: line for line in lines if "  " in line}
    offered = table["offered"].split()[1:]
    assert table["accepted"].split()[1:] == offered
    assert table["refused"].split()[1:] == ["0", "0"]
    assert " of 10,000 (" in table["queue peak"]
    for name in ("log call", "to the file", "to a mail"):
        assert " median " in table[name]
        assert ", p99 " in table[name]
    assert f"counting all {offered[1]} errors" in table["mails"]
    assert "kill -9 loses the records of the last" in table["worst case"]
    assert lines[-3] == "No setting is too small for this storm."
    assert lines[-1] == SHARE
    assert result.stdout.isascii() is ("µ" not in result.stdout)
    assert [path.name for path in folder.iterdir()] == ["config.toml"]


def test_a_terminal_gets_the_finer_picture_unless_plain_characters_are_asked_for(
    quartblog: Command, terminal: None
) -> None:
    storm = ("--rate", "50", "--distinct", "1", *SHORT)

    assert "│" in quartblog("delivery", "rehearse", *storm, QUARTBLOG_DELIVERY__BATCH_SECONDS="0.05").stdout
    plain = quartblog("delivery", "rehearse", "--ascii", *storm, QUARTBLOG_DELIVERY__BATCH_SECONDS="0.05").stdout
    assert "│" not in plain
    assert "0 |" in plain


@pytest.mark.server
def test_a_storm_this_machine_cannot_make_is_no_proof(quartblog: Command) -> None:
    result = quartblog("delivery", "rehearse", "--rate", "100000", "--seconds", "0.1")

    assert "This machine reached only " in result.stdout


def test_the_settings_in_use_are_rehearsed(quartblog: Command) -> None:
    result = quartblog(
        *("delivery", "rehearse", "--rate", "20000", "--distinct", "1", *SHORT),
        QUARTBLOG_DELIVERY__QUEUE_SIZE="10",
        QUARTBLOG_DELIVERY__BATCH_SECONDS="0.05",
    )

    assert result.exit_code == 0
    assert " of 10 (" in result.stdout
    advice = result.stdout.partition("Too small for this storm, in your settings file:\n")[2].splitlines()
    assert advice[0] == "  [delivery]"
    assert advice[1].startswith("  queue_size = ")


def test_the_help_says_how_a_site_follows_from_one_worker_in_the_words_of_the_advice(quartblog: Command) -> None:
    assert SHARE in " ".join(quartblog("delivery", "rehearse", "--help").stdout.split())


def test_the_page_about_sizes_has_the_rule_in_the_same_words() -> None:
    page = (ROOT / "docs" / "delivery.md").read_text("utf-8")

    assert SHARE.partition(":")[0] in " ".join(page.split())


def test_another_window_is_rehearsed_without_a_change_of_the_settings(quartblog: Command) -> None:
    # Long enough that a busy machine, too, sends more digests than the seven that powers of two give.
    storm = ("--rate", "20", "--distinct", "1", "--seconds", "4", "--smtp-delay", "0", "--json")
    settings = {"QUARTBLOG_DELIVERY__BATCH_SECONDS": "0.05"}

    rare = json.loads(quartblog("delivery", "rehearse", *storm, **settings).stdout)
    often = json.loads(quartblog("delivery", "rehearse", "--window-seconds", "0.1", *storm, **settings).stdout)

    assert often["in_time"] > rare["in_time"]


def test_the_settings_of_mail_are_in_use_as_well(quartblog: Command) -> None:
    result = quartblog(
        *("delivery", "rehearse", "--rate", "10", "--distinct", "1", "--seconds", "0.2", "--smtp-delay", "0.2"),
        QUARTBLOG_DELIVERY__BATCH_SECONDS="0.05",
    )

    assert "  [delivery]\n  batch_seconds = 1  # the server takes 0.2 s for a mail" in result.stdout


def test_a_level_above_errors_leaves_nothing_to_mail(quartblog: Command) -> None:
    result = quartblog("delivery", "rehearse", *SHORT, QUARTBLOG_LOGGING__LEVEL="CRITICAL")

    assert result.exit_code == 0
    assert "to a mail    never" in result.stdout


def test_one_of_anything_is_reported_as_one() -> None:
    done = Rehearsed(
        plan=Plan(rate=1, distinct=1),
        lasted=1.0,
        drained=0.1,
        offered={"INFO": 1, "ERROR": 1},
        refused={},
        size=10,
        high_water=1,
        depths=((0.0, 1),),
        call=None,
        to_file=None,
        to_mail=Percentiles(1000.0, 1000.0),
        kinds_in_time=1,
        grouped=1,
        in_time=1,
        mails=1,
        counted=1,
        held=1,
        waiting=1,
        dead=1,
        tries=1,
    )

    lines = rehearse.as_text(done, [], ascii_only=True).splitlines()

    [first_mail] = [line for line in lines if line.startswith("to a mail ")]
    [mails] = [line for line in lines if line.startswith("mails ")]
    assert first_mail.endswith("(1 of 1 kind)")
    assert mails.removeprefix("mails").strip() == (
        "1 in 1 try, 1 before the end, counting all 1 error; 1 error held back by mails_per_hour;"
        " 1 mail waiting; 1 mail dead"
    )


def test_the_figures_as_json_are_numbers_in_seconds(quartblog: Command) -> None:
    result = quartblog(
        *("delivery", "rehearse", "--rate", "50", "--distinct", "1", "--json", *SHORT),
        QUARTBLOG_DELIVERY__BATCH_SECONDS="0.05",
    )

    done = json.loads(result.stdout)
    assert result.stderr == ""
    assert done["plan"] == {"rate": 50.0, "distinct": 1, "seconds": 0.2, "smtp_delay": 0.0, "smtp_down": 0.0}
    assert done["accepted"]["ERROR"] == done["counted"] == done["grouped"] > 0
    assert 0 < done["call"]["median"] <= done["call"]["p99"]
    assert len(done["depths"]["peaks"]) == 100
    assert max(done["depths"]["peaks"]) <= done["high_water"]
    assert done["suggestions"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rate", "0"),
        ("--distinct", "0"),
        ("--seconds", "0"),
        ("--smtp-delay", "-1"),
        ("--rate", "nan"),
        ("--seconds", "inf"),
    ],
)
def test_a_storm_that_cannot_be_is_a_usage_error(quartblog: Command, arguments: tuple[str, ...]) -> None:
    assert quartblog("delivery", "rehearse", *arguments).exit_code == 2


def test_a_folder_that_cannot_be_made_is_one_clear_line(quartblog: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)

    result = quartblog("delivery", "rehearse", *SHORT)

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == ("Error: cannot start the rehearsal: [Errno 28] No space left on device")


def test_every_option_is_explained_and_shown_in_use(quartblog: Command) -> None:
    help_text = quartblog("delivery", "rehearse", "--help").stdout
    examples = help_text.partition("Example:")[2].partition("Options:")[0]

    for option in rehearse.command.params:
        assert isinstance(option, click.Option)
        assert option.help
        assert f" {option.opts[0]}" in examples
        if isinstance(option.type, click.FloatRange):
            assert "second" in option.help.lower(), f"{option.opts[0]} lacks its unit"
