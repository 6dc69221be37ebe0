"""Visitors on one thread -> requests over raw sockets -> how many were answered, and how late.

The same few lines ask every peer. They parse no more of an answer than tells its end, which takes a few percent of a
core where a load generator with a real HTTP client would compete with the servers for it.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Seconds for the answers that are still on their way at the end, and for a server that hangs.
PATIENCE = 60.0
# Seconds between two connections, of which each asks from its first moment on. Made at once, or while the workers are
# idle, they would mostly be accepted by the one that wakes first, and the other would have nothing to do.
STAGGER = 0.002
# Seconds of asking before anything counts: the first moments of a storm tell of connections that are being opened.
WARM_UP = 1.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LAST = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Visits:
    """What one kind of visitor asks for."""

    path: str
    status: int
    """The only status that counts as an answer."""
    connections: int
    rate: float | None = None
    """Requests a second, however late the answers; None: each connection asks again once it is answered."""
    requests: tuple[bytes, ...] = ()
    """Whole requests, asked in turn instead of a plain one for the path: those of several visitors, for example."""
    proofs: tuple[tuple[bytes, ...], ...] = ()
    """What the answer to each of these requests must contain, in its head or body."""


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    seconds: float
    delays: list[float] = field(default_factory=list)
    """Seconds from the moment a request was due to the end of its answer."""
    answered: int = 0
    """All answers, those too that came before or after the time."""
    in_time: int = 0
    """Those that came within it."""
    unexpected: list[bytes] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Answers a second, while the time was not over: a server that cannot keep up with a rate answers fewer."""
        return self.in_time / self.seconds

    def percentile(self, share: float) -> float:
        """Seconds that this share of the answers took at most."""
        assert self.delays, "nothing was answered in time"
        ordered = sorted(self.delays)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def visit(port: int, kinds: Sequence[Visits], seconds: float) -> list[Outcome]:
    """Let all kinds ask at the same time, for so long, and for WARM_UP seconds before.

    What is answered before or later has no part in the answers a second. The delay of what is answered later counts
    where a rate was asked for: the latest answers would be missing otherwise.

    Raise AssertionError for another status than expected, and when an answer does not come at all.
    """
    with select.epoll() as poll:
        # Not the module selectors: its objects for each event cost as much as the rest of an answer.
        listening: dict[int, _Connection] = {}
        crowds = [_Crowd(kind, port, seconds, poll, listening) for kind in kinds]
        try:
            _ask_all(crowds, poll, listening, seconds)
        finally:
            for crowd in crowds:
                crowd.close()
    for crowd in crowds:
        wrong = crowd.outcome.unexpected
        assert not wrong, f"{len(wrong)} other answers of {crowd.kind.path}: {wrong[0]!r}"
    return [crowd.outcome for crowd in crowds]


def _ask_all(crowds: list[_Crowd], poll: select.epoll, listening: dict[int, _Connection], seconds: float) -> None:
    begin = time.perf_counter() + WARM_UP
    end = begin + seconds
    for crowd in crowds:
        crowd.ask_from_now_on(begin, end)
    while True:
        now = time.perf_counter()
        if now >= end and not any(crowd.asking for crowd in crowds):
            return
        assert now < end + PATIENCE, "some requests were never answered"
        wake = min((crowd.ask_what_is_due(now) for crowd in crowds), default=end)
        for number, _ in poll.poll(max(0.0, wake - time.perf_counter())):
            connection = listening[number]
            connection.crowd.read(connection)


class _Connection:
    """One connection, opened when it is first needed and again after the server has closed it."""

    __slots__ = ("asked", "crowd", "proof", "received", "socket")

    def __init__(self, crowd: _Crowd) -> None:
        self.crowd = crowd
        self.socket: socket.socket | None = None
        self.received = b""
        self.proof: tuple[bytes, ...] = ()
        self.asked = 0.0


class _Crowd:
    """All visitors of one kind."""

    def __init__(
        self, kind: Visits, port: int, seconds: float, poll: select.epoll, listening: dict[int, _Connection]
    ) -> None:
        self.kind = kind
        self.outcome = Outcome(seconds)
        self.asking = 0
        self._port = port
        self._poll = poll
        self._listening = listening
        plain = f"GET {kind.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n".encode()
        requests = kind.requests or (plain,)
        self._requests = cycle(zip(requests, kind.proofs or ((),) * len(requests), strict=True))
        self._idle = deque(_Connection(self) for _ in range(kind.connections))
        self._late: deque[float] = deque()
        self._due = self._begin = self._end = 0.0

    def ask_from_now_on(self, begin: float, end: float) -> None:
        """Ask until `end`; what happens before `begin` tells nothing."""
        self._due, self._begin, self._end = time.perf_counter(), begin, end

    def ask_what_is_due(self, now: float) -> float:
        """Send what is due, and return when to come again."""
        if now >= self._end:
            return now + PATIENCE
        if self.kind.rate is None:
            return self._ask_one_more(now)
        while self._due <= now:
            self._late.append(self._due)
            self._due += 1 / self.kind.rate
        while self._late and self._idle:
            self._ask(self._idle.popleft(), self._late.popleft())
        return self._due

    def _ask_one_more(self, now: float) -> float:
        # Those that have asked already ask again by themselves.
        if self._idle and now >= self._due:
            self._ask(self._idle.popleft(), now)
            self._due = now + STAGGER
        return self._due if self._idle else self._end

    def read(self, connection: _Connection) -> None:
        """Take what has come in."""
        assert connection.socket is not None
        try:
            data = connection.socket.recv(65_536)
        except ConnectionResetError:
            data = b""
        connection.received += data
        head, separator, body = connection.received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not data:
            self._closed(connection, complete=bool(separator) and length is None)
        elif separator and length is not None and len(body) >= int(length[1]):
            if _LAST.search(head):
                self._hang_up(connection)
            self._answered(connection, head)

    def close(self) -> None:
        """Hang up."""
        for connection in self._idle:
            self._hang_up(connection)

    def _ask(self, connection: _Connection, due: float) -> None:
        self.asking += 1
        connection.asked = due
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        connection.received = b""
        if connection.socket is None:
            self._open(connection)
        assert connection.socket is not None
        request, connection.proof = next(self._requests)
        try:
            connection.socket.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            self._hang_up(connection)
            self._open(connection)
            connection.socket.sendall(request)

    def _answered(self, connection: _Connection, head: bytes) -> None:
        now = time.perf_counter()
        self.asking -= 1
        self.outcome.answered += 1
        if not head.startswith(b"HTTP/1.1 %d " % self.kind.status):
            self.outcome.unexpected.append(head)
        elif missing := [part for part in connection.proof if part not in connection.received]:
            self.outcome.unexpected.append(b"without %r: %s" % (missing[0].decode(), head))
        else:
            in_time = now <= self._end
            self.outcome.in_time += in_time and now >= self._begin
            if connection.asked >= self._begin and (in_time or self.kind.rate is not None):
                self.outcome.delays.append(now - connection.asked)
        if self._late:
            self._ask(connection, self._late.popleft())
        elif self.kind.rate is None and now < self._end:
            self._ask(connection, now)
        else:
            self._idle.append(connection)

    def _closed(self, connection: _Connection, *, complete: bool) -> None:
        waiting = connection not in self._idle
        received = connection.received
        self._hang_up(connection)
        if waiting and complete:
            self._answered(connection, received)
        elif waiting:
            # It was closed as idle while the request was on its way: any browser asks again.
            assert not received, f"the answer was cut off: {received!r}"
            self._send(connection)

    def _open(self, connection: _Connection) -> None:
        connection.socket = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listening[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, select.EPOLLIN)

    def _hang_up(self, connection: _Connection) -> None:
        if connection.socket is not None:
            self._poll.unregister(connection.socket)
            del self._listening[connection.socket.fileno()]
            connection.socket.close()
            connection.socket = None
