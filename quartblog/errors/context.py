"""Who was asking when it happened: what every record of a request carries, without asking the request.

The outermost ASGI layer opens a context for each request; routing and sign-in fill in what they learn. It travels by
ContextVar, so a background task started by a request keeps its request's error id.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from quartblog.delivery.ids import new_error_id


@dataclass(slots=True)
class RequestContext:
    """What may be told of a request: never its body, its query string, its cookies or its address."""

    method: str
    error_id: str = field(default_factory=new_error_id)
    route: str | None = None
    user_id: int | None = None


_current: ContextVar[RequestContext | None] = ContextVar("quartblog_request", default=None)
_NOTHING: Mapping[str, object] = {}


def current_request() -> RequestContext | None:
    """The request being answered, None outside of one."""
    return _current.get()


@contextmanager
def opened(context: RequestContext) -> Iterator[RequestContext]:
    """Make `context` the current one for the block, and for the tasks started in it."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def record_context() -> Mapping[str, object]:
    """The attributes the queue handler stamps on each log record; empty outside of a request."""
    context = _current.get()
    if context is None:
        return _NOTHING
    return {
        "error_id": context.error_id,
        "method": context.method,
        "route": context.route,
        "user_id": context.user_id,
    }
