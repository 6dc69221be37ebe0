"""Handlers that were on the root logger before the delivery: left alone, or made sinks until it stops."""

from __future__ import annotations

import io
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import Delivery, FileOptions, scope
from tests.support import programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger("tests.delivery.adoption")

WRITTEN = "carrot"
"""What a visitor has written."""


class Console(logging.StreamHandler[io.StringIO]):
    """As `basicConfig()` makes it, noting the thread it runs on."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.threads: set[int] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.threads.add(threading.get_ident())
        super().emit(record)

    @property
    def text(self) -> str:
        return self.stream.getvalue()


@pytest.fixture
def console() -> Iterator[Console]:
    console = Console()
    logging.root.addHandler(console)
    yield console
    logging.root.removeHandler(console)


@pytest.fixture
def file(tmp_path: Path) -> FileOptions:
    return FileOptions(path=tmp_path / "site.log")


def fail() -> None:
    known: dict[str, str] = {}
    with scope() as work:
        work.hide(lambda: [WRITTEN])
        try:
            known[f"no {WRITTEN} for ada{'@'}example.org"]
        except LookupError:
            logger.exception("%s failed", WRITTEN)


def test_an_adopted_handler_shows_nothing_that_is_redacted(console: Console, file: FileOptions) -> None:
    with Delivery(file=file, adopt=True):
        fail()

    assert "[redacted] failed\nTraceback (most recent call last):\n" in console.text
    assert "KeyError: 'no [redacted] for [redacted]'\n" in console.text
    assert not [sent for sent in (WRITTEN, "ada@") if sent in console.text]


def test_an_adopted_handler_runs_on_a_thread_of_its_own(console: Console, file: FileOptions) -> None:
    with Delivery(file=file, adopt=True):
        fail()

    assert len(console.threads) == 1
    assert threading.get_ident() not in console.threads


def test_an_adopted_handler_is_put_back_at_the_stop(console: Console, file: FileOptions) -> None:
    before = list(logging.root.handlers)

    with Delivery(file=file, adopt=True) as delivery:
        assert console not in logging.root.handlers
        assert delivery.healthy

    assert logging.root.handlers == before
    logger.error("by hand")
    assert console.text.endswith("by hand\n")
    assert threading.get_ident() in console.threads


def test_each_record_is_in_an_adopted_handler_once(console: Console, file: FileOptions) -> None:
    delivery = Delivery(file=file, adopt=True)
    for number in (1, 2):
        with delivery:
            logger.error("round %d", number)

    assert [console.text.count(f"round {number}\n") for number in (1, 2)] == [1, 1]


def test_a_handler_that_is_added_later_is_nobodys(file: FileOptions) -> None:
    later = Console()
    with Delivery(file=file, adopt=True):
        logging.root.addHandler(later)
        fail()
    assert later in logging.root.handlers
    logging.root.removeHandler(later)

    assert f"no {WRITTEN}" in later.text


def test_level_and_filters_of_an_adopted_handler_still_count(console: Console, file: FileOptions) -> None:
    console.setLevel(logging.ERROR)
    console.addFilter(lambda record: "secret" not in record.getMessage())

    with Delivery(file=file, adopt=True):
        logger.warning("too low")
        logger.error("a secret")
        logger.error("loud")

    assert console.text == "loud\n"


def test_another_deliverys_handler_is_not_adopted(console: Console, file: FileOptions, tmp_path: Path) -> None:
    with (
        Delivery(file=file) as outer,
        Delivery(file=FileOptions(path=tmp_path / "inner.log"), adopt=True),
    ):
        logger.error("for both")
        assert outer.healthy

    assert [path.read_text().count("for both") for path in tmp_path.glob("*.log")] == [1, 1]


def test_without_being_asked_for_nothing_is_adopted(console: Console, file: FileOptions) -> None:
    with Delivery(file=file):
        fail()
        assert console in logging.root.handlers

    assert f"no {WRITTEN}" in console.text


def test_a_forked_child_has_the_adopted_handlers_as_well(tmp_path: Path) -> None:
    source = """
import logging, os
from pathlib import Path
from quartblog.delivery import Delivery, FileOptions

logging.basicConfig(format="%(message)s")
with Delivery(file=FileOptions(path=Path("site.log")), adopt=True) as delivery:
    if child := os.fork():
        os.waitpid(child, 0)
        logging.error("parent of %s", "ada@example.org")
    else:
        logging.error("child of %s", "ada@example.org")
        delivery.stop()
        os._exit(0)
"""
    process = programs.start(source, folder=tmp_path, forks=True)

    code, _, complained = programs.ended(process)

    assert code == 0
    assert [complained.count(f"{who} of [redacted]\n") for who in ("parent", "child")] == [1, 1]
    assert "ada@" not in complained


@pytest.mark.parametrize("ends", ["delivery.stop(0.1)", "pass"])
def test_a_handler_that_hangs_does_not_keep_the_program_from_its_end(tmp_path: Path, ends: str) -> None:
    source = f"""
import logging, threading
from pathlib import Path
from quartblog.delivery import Delivery, FileOptions

class Hanging(logging.Handler):
    def emit(self, record):
        threading.Event().wait()

logging.root.addHandler(Hanging())
delivery = Delivery(file=FileOptions(path=Path("site.log")), adopt=True)
delivery.start()
logging.error("the last words")
{ends}
"""
    code, _, complained = programs.ended(programs.start(source, folder=tmp_path))

    assert code == 0
    assert "the sink <Hanging (NOTSET)> did not return in time and was left behind" in complained
    assert "the last words" in (tmp_path / "site.log").read_text()
