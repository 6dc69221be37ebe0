"""One record of any kind -> the event that the outbox stores."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quartblog.delivery.context import LENGTH
from quartblog.delivery.grouping.event import MESSAGE_LIMIT, TRACEBACK_LIMIT, Event

hostile = st.text(st.characters(codec=None, categories=None), max_size=80)
events = st.builds(
    Event,
    error_id=hostile,
    fingerprint=hostile,
    title=hostile,
    level=st.integers(),
    logger=hostile,
    message=hostile,
    place=hostile,
    function=hostile,
    created=st.floats(allow_nan=False),
    method=st.none() | hostile,
    route=st.none() | hostile,
    user_id=st.none() | st.integers() | hostile,
    traceback=hostile,
    breadcrumbs=st.lists(hostile, max_size=3).map(tuple),
    process=st.integers(),
)


def record(message: Any = "it failed", error: BaseException | None = None, **attributes: Any) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("app.views", logging.ERROR, "/srv/app/views.py", 7, message, None, info, "show")
    vars(made).update(attributes)
    return made


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


class Treacherous(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __getitem__(self, key: Any) -> str:
        raise RuntimeError("no parts")

    def __len__(self) -> int:
        raise RuntimeError("no length")


@given(events)
def test_an_event_comes_back_from_json_as_it_was(event: Event) -> None:
    text = event.to_json()

    assert text.isascii()
    assert Event.from_json(text, event.traceback) == event


def test_json_of_a_later_version_is_read(failure: BaseException) -> None:
    event = Event.from_record(record(error=failure))
    later = event.to_json()[:-1] + ',"mood":"grim"}'

    assert Event.from_json(later, event.traceback) == event


def test_an_event_has_everything_its_record_has(failure: BaseException) -> None:
    event = Event.from_record(
        record(
            error=failure,
            error_id="abcdefghjkmn",
            method="POST",
            route="/user/edit",
            user_id=7,
            breadcrumbs=("first", "second"),
            process=123,
        )
    )

    assert (event.error_id, event.method, event.route, event.user_id) == ("abcdefghjkmn", "POST", "/user/edit", 7)
    assert (event.title, event.message, event.logger, event.level) == ("ValueError", "it failed", "app.views", 40)
    assert event.breadcrumbs == ("first", "second")
    assert event.process == 123
    assert event.traceback.startswith("Traceback (most recent call last):")
    assert event.traceback.endswith("ValueError: invalid literal for int() with base 10: 'twelve'")
    assert event.place.partition(":")[0].endswith("tests/delivery/conftest.py")
    assert event.function == "failure"


def test_a_record_without_an_id_gets_one() -> None:
    ids = {Event.from_record(record()).error_id for _ in range(3)}

    assert len(ids) == 3
    assert {len(error_id) for error_id in ids} == {LENGTH}


def test_long_texts_are_shortened() -> None:
    event = Event.from_record(record("m" * 1_000_000, exc_text="t" * 1_000_000))

    assert MESSAGE_LIMIT <= len(event.message) < MESSAGE_LIMIT + 100
    assert TRACEBACK_LIMIT <= len(event.traceback) < TRACEBACK_LIMIT + 100


def test_a_hostile_record_still_becomes_an_event_that_can_be_stored() -> None:
    class Unspeakable_Error(Exception):  # noqa: N801
        __module__ = Unspeakable()  # type: ignore[assignment]

        def __str__(self) -> str:
            raise RuntimeError("no words")

        @property
        def __cause__(self) -> BaseException:  # type: ignore[override]
            raise RuntimeError("no cause")

    for hostile_thing in (Unspeakable(), Treacherous("x"), "\ud800\x00\n"):
        event = Event.from_record(
            record(
                hostile_thing,
                Unspeakable_Error(),
                error_id="a",
                method=hostile_thing,
                route=hostile_thing,
                user_id=hostile_thing,
                breadcrumbs=(hostile_thing,),
                levelno=sys.maxsize**2,
            )
        )

        assert Event.from_json(event.to_json(), event.traceback) == event
        assert event.level < 2**63


def test_every_field_but_the_traceback_is_in_the_json() -> None:
    event = Event.from_record(record())

    assert json.loads(event.to_json()).keys() == {field.name for field in fields(Event)} - {"traceback"}


@pytest.mark.parametrize("level", [10**30, -(10**30)])
def test_a_level_of_any_size_can_be_stored(level: int) -> None:
    assert -(2**63) < Event.from_record(record(levelno=level)).level < 2**63
