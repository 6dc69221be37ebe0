"""`quartblog operations`: an address that opens the operations pages once."""

import re
import time
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from quartblog.operations.keys import use_key

Command = Callable[..., Result]


def test_the_address_is_that_of_the_site_and_its_key_is_good(quartblog: Command, folder: Path) -> None:
    (folder / "instance").mkdir()

    result = quartblog("operations", "link", QUARTBLOG_SITE__PUBLIC_URL="https://blog.example.org")

    found = re.fullmatch(r"https://blog\.example\.org/operations/enter\?key=([\w-]{43})\n", result.stdout)
    assert found is not None
    assert use_key(folder / "instance", found[1], time.time())


def test_without_a_site_it_says_what_to_do(quartblog: Command) -> None:
    result = quartblog("operations", "link")

    assert result.exit_code == 1
    assert "start the site with `quartblog run` first" in result.stderr
