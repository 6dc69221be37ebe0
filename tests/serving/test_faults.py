"""What is said of clients' faults and of stray exceptions: a line a minute, and nothing that anybody sent."""

import asyncio
import errno
import logging
from collections.abc import Callable
from typing import Any

import h11
import pytest

from quartblog.serving.faults import PAUSE, ClientFaults, Stray, handle, is_clients

CANARY = "canary-4711"


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def raised(error: BaseException) -> BaseException:
    """The exception, with a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_clients_faults_are_a_line_a_minute_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    faults = ClientFaults(clock)
    for _ in range(1_000):
        faults.note(raised(KeyError(CANARY)))
    clock.now = PAUSE
    faults.note(raised(KeyError(CANARY)))

    assert faults.count == 1_001
    first, second = caplog.messages
    assert first.startswith("Clients broke the protocol (once since the start), the last one at KeyError in ")
    assert second.startswith("Clients broke the protocol (1001 times since the start), the last one at KeyError in ")
    assert "serving/test_faults.py:" in first


def test_a_fault_may_be_seen_each_time_without_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    faults = ClientFaults(Clock())
    for _ in range(3):
        faults.note(raised(ExceptionGroup(CANARY, [ValueError(CANARY)])))

    assert len(caplog.messages) == 3
    assert CANARY not in caplog.text


def test_stray_exceptions_of_one_kind_are_a_record_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    stray = Stray(clock)
    for _ in range(1_000):
        stray.record("socket.accept() out of system resource", raised(OSError(errno.EMFILE, CANARY)))
    stray.record("Exception in callback", raised(ValueError(CANARY)))
    clock.now = PAUSE
    stray.record("socket.accept() out of system resource", raised(OSError(errno.EMFILE, CANARY)))

    assert caplog.messages == [
        "socket.accept() out of system resource",
        "Exception in callback",
        "socket.accept() out of system resource (999 more since the last such line)",
    ]
    assert "OSError: [Errno 24] Too many open files" in caplog.text
    assert CANARY not in caplog.text


def test_the_kinds_that_are_told_apart_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    stray = Stray(Clock())
    for number in range(1_000):
        stray.record("Exception in callback", type(f"Odd{number}", (Exception,), {})())

    assert len(caplog.messages) <= 101


class HostileText(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class HostileAttributes(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(4)


HOSTILE: dict[str, Callable[[], Exception]] = {
    "its text": HostileText,
    "its attributes": HostileAttributes,
    "its number": lambda: OSError(10**30, CANARY),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_exception_is_recorded_and_ends_nothing(
    kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quartblog.serving.faults.STRAY", Stray())
    loop = asyncio.new_event_loop()
    handle(loop, {"message": "Exception in callback f()", "exception": HOSTILE[kind]()})
    loop.close()

    assert len(caplog.records) == 1
    assert CANARY not in caplog.text


def test_who_reads_a_protocol_blames_the_client_and_nobody_else_does() -> None:
    def broken() -> None:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(b"nonsense\r\n\r\n")
        connection.next_event()

    with pytest.raises(h11.RemoteProtocolError) as caught:
        broken()

    assert is_clients(caught.value)
    assert is_clients(ExceptionGroup("", [caught.value]))
    assert is_clients(raised(ConnectionResetError()))
    assert not is_clients(raised(KeyError("one of ours")))
    assert not is_clients(ExceptionGroup("", [caught.value, KeyError()]))
