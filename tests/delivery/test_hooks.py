"""Exceptions that reach no logger are the operator's to know all the same."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import Delivery, FileOptions, scope
from quartblog.delivery.capture.hooks import Hooks
from tests.support import programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Kept


class Bug(Exception):
    """An uncaught exception."""


def fail() -> None:
    raise Bug("nobody caught this")


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Earlier hooks, which record the exceptions they were given."""
    names: list[str] = []
    for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, name, lambda *what, name=name: names.append(name))
    return names


@pytest.fixture
def delivery(tmp_path: Path, printed: list[str], kept: Kept) -> Iterator[Delivery]:
    with Delivery(file=FileOptions(path=tmp_path / "site.log"), extra_sinks=[kept]) as delivery:
        yield delivery


@pytest.fixture
def failures(delivery: Delivery, kept: Kept) -> Callable[[], list[tuple[str, str]]]:
    """Level and message of what was recorded as uncaught, each with its exception."""

    def failures() -> list[tuple[str, str]]:
        assert delivery.drain()
        found = [record for record in kept.records if record.name == "uncaught"]
        # Its message may hold hidden values, so the log has its type and its place alone.
        assert all(f"{Bug.__module__}.Bug" in str(record.exc_text).splitlines()[-1] for record in found)
        assert not any("nobody caught this" in str(record.exc_text).splitlines()[-1] for record in found)
        return [(record.levelname, record.getMessage()) for record in found]

    return failures


def test_an_exception_that_ends_a_thread_is_recorded_and_still_printed(
    failures: Callable[[], list[tuple[str, str]]], printed: list[str]
) -> None:
    thread = threading.Thread(target=fail, name="importer")
    thread.start()
    thread.join()

    assert failures() == [("ERROR", "An exception ended the thread importer")]
    assert printed == ["excepthook"]


def test_a_thread_that_exits_is_no_failure(failures: Callable[[], list[tuple[str, str]]]) -> None:
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()

    assert failures() == []


def test_an_exception_in_a_finalizer_is_recorded(
    failures: Callable[[], list[tuple[str, str]]], printed: list[str]
) -> None:
    class Fragile:
        def __del__(self) -> None:
            fail()

    Fragile()
    gc.collect()

    [(level, message)] = failures()
    assert level == "ERROR"
    assert message.startswith("Exception ignored in")
    assert printed == ["unraisablehook"]


def test_stderr_has_the_type_alone_whatever_its_class_does(tmp_path: Path) -> None:
    source = """
import sys, threading
from pathlib import Path
from quartblog.delivery import Delivery, FileOptions

class Nameless(type):
    @property
    def __name__(cls):
        raise ValueError("what a visitor sent")

class Odd(Exception, metaclass=Nameless):
    pass

def fail():
    raise Odd("what a visitor sent")

class Fragile(metaclass=Nameless):
    def __del__(self):
        fail()

with Delivery(file=FileOptions(path=Path(sys.argv[1]))):
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Fragile()
"""
    code, _, complained = programs.ended(programs.start(source, tmp_path / "site.log"))

    assert code == 0
    assert {"quartblog.delivery: Odd was not caught: see the log"} == set(complained.splitlines())


def test_a_finalizer_is_no_part_of_the_work_that_is_done_just_then(delivery: Delivery, kept: Kept) -> None:
    class Fragile:
        def __del__(self) -> None:
            fail()

    with scope("GET", "/innocent") as work:
        Fragile()
        gc.collect()
    assert delivery.drain()

    [record] = [record for record in kept.records if record.levelno >= logging.ERROR]
    assert record.error_id != work.error_id  # type: ignore[attr-defined]
    assert "route" not in vars(record)


def test_a_task_nobody_waited_for_is_recorded(delivery: Delivery, kept: Kept) -> None:
    async def work() -> None:
        async def forgotten() -> None:
            fail()

        task = asyncio.create_task(forgotten())
        await asyncio.wait([task])

    asyncio.run(work())
    gc.collect()
    assert delivery.drain()

    [record] = [record for record in kept.records if record.levelno >= logging.ERROR]
    assert "Task exception was never retrieved" in record.getMessage()
    assert "Bug: nobody caught this" in str(record.exc_text)


def test_what_leaves_the_block_is_recorded_before_the_delivery_stops(tmp_path: Path, printed: list[str]) -> None:
    with pytest.raises(Bug), Delivery(file=FileOptions(path=tmp_path / "site.log")):
        fail()

    text = (tmp_path / "site.log").read_text()
    assert " CRITICAL: An exception leaves the program [in " in text
    assert "Bug: nobody caught this" in text


def test_the_exception_that_ends_a_program_is_in_its_log(tmp_path: Path) -> None:
    source = (
        "import sys\nfrom pathlib import Path\nfrom quartblog.delivery import Delivery, FileOptions\n"
        "Delivery(file=FileOptions(path=Path(sys.argv[1]))).start()\n"
        "1 / 0\n"
    )
    code, _, complained = programs.ended(programs.start(source, tmp_path / "site.log"))

    assert code == 1
    assert "ZeroDivisionError" in complained
    text = (tmp_path / "site.log").read_text()
    assert " CRITICAL: An exception ends the program [in " in text
    assert text.endswith("ZeroDivisionError: division by zero\n")


def test_an_interruption_is_no_failure(failures: Callable[[], list[tuple[str, str]]]) -> None:
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)

    assert failures() == []


def test_afterwards_the_hooks_are_as_they_were(printed: list[str]) -> None:
    before = (sys.excepthook, sys.unraisablehook, threading.excepthook)
    hooks = Hooks()
    hooks.install()
    assert sys.excepthook is not before[0]
    hooks.remove()

    assert (sys.excepthook, sys.unraisablehook, threading.excepthook) == before


def test_two_deliveries_log_an_uncaught_exception_once(
    failures: Callable[[], list[tuple[str, str]]], tmp_path: Path
) -> None:
    with Delivery(file=FileOptions(path=tmp_path / "other.log")):
        sys.excepthook(Bug, Bug(), None)

    assert failures() == [("CRITICAL", "An exception ends the program")]


def test_a_hook_that_somebody_put_on_top_stays_and_ours_is_silent_beneath(
    printed: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = Hooks()
    hooks.install()
    ours = sys.excepthook

    def on_top(*what: Any) -> None:
        ours(*what)

    monkeypatch.setattr(sys, "excepthook", on_top)
    hooks.remove()

    assert sys.excepthook is on_top
    sys.excepthook(Bug, Bug(), None)
    assert printed == ["excepthook"]
    assert not caplog.records
