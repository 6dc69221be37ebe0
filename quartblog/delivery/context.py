"""with scope(): one piece of work (a request, a job, a command) -> what each of its records carries.

The scope travels by ContextVar: tasks started inside it keep it, and so does `asyncio.to_thread`. Whoever learns more
(the route, the user) writes it into the scope; whoever takes in what a stranger sent tells the scope to hide it.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from logging import LogRecord

from .text.escaping import shortened
from .text.exceptions import drop_frames

# Crockford's base32: no i, l, o or u, so an id read out on the telephone is typed in right.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 12
_SHIFTS = range(0, 5 * LENGTH, 5)


def new_error_id() -> str:
    """Twelve characters, 60 random bits: two equal ones are not expected within a billion errors."""
    number = secrets.randbits(5 * LENGTH)
    return "".join([ALPHABET[number >> shift & 31] for shift in _SHIFTS])


Breadcrumb = tuple[float, str, str, str]
"""When (epoch seconds), level name, logger, message: a record below ERROR that came before an error."""

Route = str | Callable[[], str | None] | None
"""The rule that matched, or what returns it as soon as it is known: asked for each record."""

CRUMB_LIMIT = 1_000
"""Characters of a breadcrumb's message that are kept."""
FAILURES = 4
"""Failures of one piece of work whose frames are let go at its end; a long one may log many."""


class Scope:
    """What may be told of a piece of work: never a body, a query string, a cookie or an address."""

    __slots__ = ("_failures", "_ids", "_logged", "_route", "_sent", "breadcrumbs", "method", "user_id")

    def __init__(self, method: str | None = None, route: Route = None) -> None:
        """Begin without a user."""
        self.method = method
        """The HTTP method; None for what is no request."""
        self._route = route
        self.user_id: int | str | None = None
        """Who asked, as a key and not as a name."""
        # Lists, for a deque takes six hundred bytes at once: in a storm that is a third of what waits in the queue.
        self.breadcrumbs: list[Breadcrumb] = []
        """The newest records below ERROR, see `leave_crumb`."""
        self._ids: dict[str, str] = {}
        self._sent: list[Callable[[], Iterable[str]]] = []
        self._failures: list[LogRecord] = []
        self._logged: BaseException | None = None

    @property
    def route(self) -> str | None:
        """The rule that matched, such as /user/<name>, or the name of a job: nothing a visitor wrote."""
        return self._route() if callable(self._route) else self._route

    @route.setter
    def route(self, route: Route) -> None:
        self._route = route

    @property
    def error_id(self) -> str:
        """Shared by every record of this piece of work, and shown to the visitor; made when it is first asked for."""
        # Two threads of one request may ask at once: setdefault lets one of them win.
        return self._ids.get("error") or self._ids.setdefault("error", new_error_id())

    def leave_crumb(self, record: LogRecord, message: str, most: int) -> None:
        """Keep what an earlier record said, for the error that may follow; no more than `most` of them."""
        self.breadcrumbs.append((record.created, record.levelname, record.name, shortened(message, CRUMB_LIMIT)))
        self.keep_crumbs(most)

    def keep_crumbs(self, most: int) -> None:
        """Forget all but the newest."""
        del self.breadcrumbs[: max(0, len(self.breadcrumbs) - most)]

    def drop_frames_at_end(self, record: LogRecord) -> None:
        """Let a queued record keep its exception with all frames and locals no longer than this piece of work takes.

        They can be collected at once then, by the thread that made them: in a storm they would otherwise pile up until
        another thread has read the record.
        """
        self._failures.append(record)
        del self._failures[:-FAILURES]

    def note_logged(self, error: BaseException | None) -> None:
        """Remember that an error record of this piece of work has this exception, until the next one or the end."""
        self._logged = error

    def has_logged(self, error: BaseException) -> bool:
        """Whether the latest error record with an exception has this very one."""
        return self._logged is error

    def end(self) -> None:
        """Let go. What is logged in its name afterwards, by a task that outlives it, keeps its frames until written."""
        self._logged = None
        while self._failures:
            drop_frames(self._failures.pop())

    def hide(self, values: Callable[[], Iterable[str]]) -> None:
        """Name values that no record may show. Called on the listener's thread, for each record."""
        self._sent.append(values)

    def hidden(self) -> set[str]:
        """Every value named so far."""
        return {value for values in self._sent for value in values()}


_current: ContextVar[Scope | None] = ContextVar("scope", default=None)


def current_scope() -> Scope | None:
    """The piece of work being done, None outside of one."""
    return _current.get()


@contextmanager
def scope(method: str | None = None, route: Route = None) -> Iterator[Scope]:
    """Begin a piece of work; the one around it, if any, is current again afterwards."""
    begun = Scope(method, route)
    token = _current.set(begun)
    try:
        yield begun
    finally:
        _current.reset(token)
        begun.end()


def resume(work: Scope) -> None:
    """Make a piece of work current again for the rest of this task, as for whoever handles its failure further out."""
    _current.set(work)
