"""with scope(): one piece of work (a request, a job, a command) -> the facts that its records have.

The scope travels by ContextVar: tasks started inside it keep it, and so does `asyncio.to_thread`. Code that learns the
route or the user sets it on the scope. Code that reads a stranger's values names them to the scope, see `Scope.hide`.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from logging import LogRecord

from .text.escaping import shortened
from .text.exc_info import drop_frames, valid_exc_info

# Crockford's base32 has no i, l, o or u: so an id that is read aloud is typed correctly.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 12
_SHIFTS = range(0, 5 * LENGTH, 5)


def new_error_id() -> str:
    """Return twelve characters with 60 random bits. Two equal ids are not expected within a billion errors."""
    number = secrets.randbits(5 * LENGTH)
    return "".join([ALPHABET[number >> shift & 31] for shift in _SHIFTS])


Breadcrumb = tuple[float, str, str, str]
"""A record below ERROR that came before an error: epoch seconds, level name, logger, message."""

Rule = str | Callable[[], str | None] | None
"""The rule that matched, or a function that returns it once it is known; each record calls it."""

CRUMB_LIMIT = 1_000
"""Characters kept of a breadcrumb's message."""
FAILURES = 4
"""Exceptions whose frames a scope releases at its end: the latest, because a long scope may log many."""


class Scope:
    """The facts that records show of a piece of work: never a body, a query string, a cookie or an address."""

    __slots__ = ("_failures", "_hidden", "_ids", "_logged", "_route", "breadcrumbs", "method", "user_id")

    def __init__(self, method: str | None = None, route: Rule = None) -> None:
        """`route` may become known later, and so may the user: set `user_id` then."""
        self.method = method
        """The HTTP method; None outside of requests."""
        self._route = route
        self.user_id: int | str | None = None
        """The key of the user who asked, never a name."""
        # A list, because an empty deque takes 600 bytes: in a storm that is a third of the queue's memory.
        self.breadcrumbs: list[Breadcrumb] = []
        """The newest records below ERROR, see `leave_crumb`."""
        self._ids: dict[str, str] = {}
        self._hidden: list[Callable[[], Iterable[str]]] = []
        self._failures: list[LogRecord] = []
        self._logged: object = None

    @property
    def route(self) -> str | None:
        """The rule that matched, such as /user/<name>, or the name of a job. It holds nothing that a visitor wrote."""
        # Read once: another thread may set it meanwhile.
        route = self._route
        return route() if callable(route) else route

    @route.setter
    def route(self, route: Rule) -> None:
        self._route = route

    @property
    def error_id(self) -> str:
        """The id that all records of this piece of work share and the error page shows; made on first use."""
        # Two threads of one request may ask at once: setdefault lets one of them win.
        return self._ids.get("error") or self._ids.setdefault("error", new_error_id())

    def leave_crumb(self, record: LogRecord, message: str, most: int) -> None:
        """Keep the message of a record for an error that may follow, and at most `most` of them."""
        self.breadcrumbs.append((record.created, record.levelname, record.name, shortened(message, CRUMB_LIMIT)))
        self.keep_crumbs(most)

    def keep_crumbs(self, most: int) -> None:
        """Drop all but the newest `most`."""
        del self.breadcrumbs[: max(0, len(self.breadcrumbs) - most)]

    def drop_frames_at_end(self, record: LogRecord) -> None:
        """Release the frames and locals of a queued record's exception when this piece of work ends.

        The thread that made them collects them then. Otherwise they would pile up in a storm, until the listener reads
        the records.
        """
        self._failures.append(record)
        del self._failures[:-FAILURES]

    def note_logged(self, exc_info: object) -> None:
        """Remember the `exc_info` of the latest error record, until the scope ends."""
        self._logged = exc_info

    def has_logged(self, error: BaseException) -> bool:
        """Return whether the latest error record with an exception has this one."""
        logged = valid_exc_info(self._logged)
        return logged is not None and logged[1] is error

    def end(self) -> None:
        """Release exceptions and frames.

        The listener releases those whose text may take long, and those that a task logs after this end.
        """
        self._logged = None
        while self._failures:
            drop_frames(self._failures.pop(), at_any_cost=False)

    def hide(self, values: Callable[[], Iterable[str]]) -> None:
        """Name texts that no record may show. The listener's thread calls this function for each record.

        Convert numbers with `str` first: where the function raises or returns anything else than texts, the records
        of this scope lose their words.
        """
        self._hidden.append(values)

    def hidden(self) -> set[str]:
        """Return every value named so far."""
        return {value for values in self._hidden for value in values()}


_current: ContextVar[Scope | None] = ContextVar("scope", default=None)


def current_scope() -> Scope | None:
    """Return the scope of the piece of work under way, None outside of one."""
    return _current.get()


@contextmanager
def scope(method: str | None = None, route: Rule = None) -> Iterator[Scope]:
    """Begin a piece of work. After the block, the scope around it, if any, is current again."""
    begun = Scope(method, route)
    token = _current.set(begun)
    try:
        yield begun
    finally:
        _current.reset(token)
        begun.end()


def resume(work: Scope) -> None:
    """Make a scope current again for the rest of this task, because outer code still handles its failure."""
    _current.set(work)
