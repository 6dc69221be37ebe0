"""Which piece of work a record belongs to, wherever it is logged."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from quartblog.delivery import Delivery, FileOptions, current_scope, scope
from quartblog.delivery.context import ALPHABET, new_error_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Kept

logger = logging.getLogger("tests.delivery.context")


@pytest.fixture
def delivery(tmp_path: Path, kept: Kept) -> Iterator[Delivery]:
    with Delivery(file=FileOptions(path=tmp_path / "site.log"), extra_sinks=[kept]) as delivery:
        yield delivery


@pytest.fixture
def failures(delivery: Delivery, kept: Kept) -> Callable[[], list[tuple[str, str | None, list[str]]]]:
    """Error id, route and breadcrumbs, without their times, of each error."""

    def failures() -> list[tuple[str, str | None, list[str]]]:
        assert delivery.drain()
        found = [vars(record) for record in kept.records if record.levelno >= logging.ERROR]
        return [
            (fields["error_id"], fields.get("route"), [crumb[9:] for crumb in fields.get("breadcrumbs", ())])
            for fields in found
        ]

    return failures


def test_a_command_is_a_piece_of_work(failures: Callable[[], list[tuple[str, str | None, list[str]]]]) -> None:
    with scope(route="command user create") as work:
        logger.info("asking")
        logger.error("failed")

    assert failures() == [
        (work.error_id, "command user create", ["INFO tests.delivery.context: asking"]),
    ]


def test_outside_of_any_work_an_error_has_no_breadcrumbs(
    failures: Callable[[], list[tuple[str, str | None, list[str]]]],
) -> None:
    logger.info("asking")
    logger.error("failed")

    [(error_id, route, crumbs)] = failures()
    assert (len(error_id), route, crumbs) == (12, None, [])


async def test_tasks_and_threads_belong_to_the_work_that_started_them(delivery: Delivery, kept: Kept) -> None:
    async def later() -> None:
        await asyncio.sleep(0)
        logger.error("in a task")

    with scope(route="/start") as work:
        logger.info("starting")
        task = asyncio.create_task(later())
        await asyncio.to_thread(logger.error, "in a thread")
    with scope(route="/other"):
        await task
    assert await asyncio.to_thread(delivery.drain)

    errors = [vars(record) for record in kept.records if record.levelno >= logging.ERROR]
    assert {fields["message"] for fields in errors} == {"in a task", "in a thread"}
    assert {(fields["error_id"], fields["route"]) for fields in errors} == {(work.error_id, "/start")}
    assert all(len(fields["breadcrumbs"]) >= 1 for fields in errors)


def test_a_thread_of_its_own_belongs_to_no_work(delivery: Delivery, kept: Kept) -> None:
    with scope(route="/start"):
        thread = threading.Thread(target=logger.error, args=("alone",))
        thread.start()
        thread.join()
    assert delivery.drain()

    [record] = [record for record in kept.records if record.levelno >= logging.ERROR]
    assert not hasattr(record, "route")


def test_work_inside_of_work_ends_before_it() -> None:
    with scope(route="outer") as outer:
        with scope(route="inner") as inner:
            assert current_scope() is inner
        assert current_scope() is outer
    assert current_scope() is None


def test_the_error_id_stays_the_same_however_many_ask_for_it_first() -> None:
    ids: set[str] = set()
    with scope() as work:
        threads = [threading.Thread(target=lambda: ids.add(work.error_id)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(ids) == 1


def test_later_facts_are_on_the_records_after_them(delivery: Delivery, kept: Kept) -> None:
    with scope() as work:
        logger.error("before")
        work.route, work.user_id = "/edit", 7
        logger.error("after")
    assert delivery.drain()

    facts = [(vars(record)["route"], vars(record)["user_id"]) for record in kept.records if record.name == logger.name]
    assert facts == [(None, None), ("/edit", 7)]


def test_a_rule_that_is_found_later_is_asked_for_by_each_record(delivery: Delivery, kept: Kept) -> None:
    found: list[str] = []
    with scope(route=lambda: found[0] if found else None) as work:
        logger.error("before")
        found.append("/edit")
        logger.error("after")
        work.route = "/corrected"
        logger.error("at the end")
    assert delivery.drain()

    routes = [vars(record)["route"] for record in kept.records if record.name == logger.name]
    assert routes == [None, "/edit", "/corrected"]


def test_work_knows_which_failure_it_has_logged(delivery: Delivery) -> None:
    first, second = LookupError("one"), LookupError("one")
    with scope() as work:
        logger.warning("below ERROR", exc_info=second)
        logger.error("failed", exc_info=first)
        assert (work.has_logged(first), work.has_logged(second)) == (True, False)

    assert not work.has_logged(first)


def test_an_error_id_is_twelve_characters_that_can_be_read_out() -> None:
    characters = "".join(new_error_id() for _ in range(2_000))

    assert len(characters) == 2_000 * 12
    assert set(characters) == set(ALPHABET)
    assert not set("ilou") & set(ALPHABET)
    assert ALPHABET.lower() == ALPHABET


def test_two_error_ids_differ() -> None:
    assert len({new_error_id() for _ in range(10_000)}) == 10_000
