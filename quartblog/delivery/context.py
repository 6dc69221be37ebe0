"""with scope(): one piece of work (a request, a job, a command) -> what each of its records carries.

The scope travels by ContextVar: tasks started inside it keep it, and so does `asyncio.to_thread`. Whoever learns more
(the route, the user) writes it into the scope; whoever takes in what a stranger sent tells the scope to hide it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from .ids import new_error_id

Breadcrumb = tuple[float, str, str, str]
"""When (epoch seconds), level name, logger, message: a record below ERROR that came before an error."""


@dataclass(slots=True, eq=False)
class Scope:
    """What may be told of a piece of work: never a body, a query string, a cookie or an address."""

    method: str | None = None
    """The HTTP method; None for what is no request."""
    route: str | None = None
    """The rule that matched, such as /user/<name>, or the name of a job: nothing a visitor wrote."""
    user_id: int | str | None = None
    """Who asked, as a key and not as a name."""
    error_id: str = field(default_factory=new_error_id)
    """Shared by every record of this piece of work, and shown to the visitor."""
    breadcrumbs: deque[Breadcrumb] = field(default_factory=deque)
    """The newest records below ERROR; the queue handler bounds them."""
    _sent: list[Callable[[], Iterable[str]]] = field(default_factory=list)

    def hide(self, values: Callable[[], Iterable[str]]) -> None:
        """Name values that no record may show. Called on the listener's thread, for each record."""
        self._sent.append(values)

    def hidden(self) -> set[str]:
        """Every value named so far."""
        return {value for values in self._sent for value in values()}


_current: ContextVar[Scope | None] = ContextVar("quartblog_delivery_scope", default=None)


def current_scope() -> Scope | None:
    """The piece of work being done, None outside of one."""
    return _current.get()


@contextmanager
def scope(method: str | None = None, route: str | None = None) -> Iterator[Scope]:
    """Begin a piece of work; the one around it, if any, is current again afterwards."""
    begun = Scope(method, route)
    token = _current.set(begun)
    try:
        yield begun
    finally:
        _current.reset(token)
