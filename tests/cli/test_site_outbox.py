"""Commands that want the outbox alone, while config.toml is broken and the site goes on with what it had."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from quartblog.delivery import Outbox, OutboxOptions
from tests.support.failures import events

Command = Callable[..., Result]

LOOKS = [("delivery", "status"), ("delivery", "outbox"), ("errors", "list"), ("errors", "show", "1")]
GOES_ON = "A running site keeps its previous settings.\n"


@pytest.fixture
def outbox(folder: Path) -> Iterator[Outbox]:
    """One with a failure, where config.toml says."""
    outbox = Outbox(OutboxOptions(folder / "elsewhere.db"))
    outbox.record(events(1))
    yield outbox
    outbox.close()


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_the_outbox_is_shown_though_another_setting_is_wrong(
    quartblog: Command, config: Callable[..., None], outbox: Outbox, command: tuple[str, ...]
) -> None:
    config(delivery={"outbox": "elsewhere.db", "mails_per_hour": 0})

    result = quartblog(*command)

    assert result.exit_code == 0
    assert result.stdout
    assert result.stderr == (
        "Warning: config.toml: [delivery] mails_per_hour = 0: must be a whole number from 1 to 1000000\n" + GOES_ON
    )


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_where_even_its_place_cannot_be_read_the_command_says_what_the_site_does(
    quartblog: Command, folder: Path, outbox: Outbox, command: tuple[str, ...]
) -> None:
    (folder / "config.toml").write_text('[delivery]\noutbox = "elsewhere.db"\nmails_per_hour = many\n')

    result = quartblog(*command)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == ("Error: config.toml: is not TOML: Invalid value (at line 3, column 18)\n" + GOES_ON)
