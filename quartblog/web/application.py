"""Quart, but every exception that leaves a view gets a page and one record, and the record names the route's rule.

A record never names the path, which the visitor wrote. Quart answers only an `Exception`: after a `SystemExit`, a
`GeneratorExit` or the `CancelledError` of a task that the view awaited, it sends no page and logs nothing. Here these
are failures too. Only a cancellation by the server passes on: the client has left, or the server stops.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any

from quart import Quart, Request, Response, has_request_context, request
from quart.asgi import ASGIHTTPConnection
from quart.typing import ResponseTypes
from quart.wrappers.response import IterableBody

from quartblog.web.fixed_answer import Receive, Send

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_TRACEBACK = BaseException.__dict__["__traceback__"]
# Set in the ASGI scope of a request whose answer could not be finalized.
_FINALIZED = "quartblog.finalized"


class Escaped(Exception):
    """Stands for a BaseException that left a view and is not an Exception; its cause is that BaseException."""


@contextmanager
def failing(*, unless: Callable[[], bool]) -> Iterator[None]:
    """Raise Escaped from a BaseException that is not an Exception. `unless`: whether the server cancels the task.

    GeneratorExit passes. When an awaited task or thread raises it, Python closes every coroutine in between with it, so
    only the outermost one can handle it: `HTTPConnection.handle_request`.
    """
    task = _task()
    try:
        yield
    except (Exception, GeneratorExit):
        raise
    except BaseException as error:
        # In another task, or in none, the coroutine is being discarded.
        if _task() is not task or (isinstance(error, asyncio.CancelledError) and unless()):
            raise
        raise Escaped from error


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # There is no loop any more.
        return None


def _is_being_cancelled() -> bool:
    task = _task()
    return task is not None and task.cancelling() > 0


class Body(IterableBody):
    """An answer that is made while it is sent. Python 3.11 does that in a task of its own, which would end the loop."""

    def __aiter__(self) -> AsyncIterator[Any]:
        """Return the parts."""
        return self._parts()

    async def _parts(self) -> AsyncIterator[Any]:
        parts = super().__aiter__()
        while True:
            try:
                with failing(unless=_is_being_cancelled):
                    part = await anext(parts)
            except StopAsyncIteration:
                return
            except (TimeoutError, GeneratorExit) as error:
                # Quart takes the first for its own bound, and ends the answer without a word.
                raise Escaped from error
            yield part


class HTTPConnection(ASGIHTTPConnection):
    """One request: knows whether the server itself ended it."""

    async def __call__(self, receive: Receive, send: Send) -> None:  # type: ignore[override]  # ours are plain dicts
        """Answer the request."""
        self._left = False
        self._server = asyncio.current_task()
        self._tasks: set[asyncio.Task[Any]] = set()

        async def note_and_receive() -> dict[str, Any]:
            message = await receive()
            if message["type"] == "http.disconnect":
                self._left = True
            return message

        try:
            await super().__call__(note_and_receive, send)  # type: ignore[arg-type]
        except asyncio.CancelledError:
            # Quart 0.22 leaves its two tasks behind.
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            raise

    async def handle_messages(self, *arguments: Any) -> None:
        """Take in what the client sends."""
        self._note_task()
        await super().handle_messages(*arguments)

    async def handle_request(self, *arguments: Any) -> None:
        """Answer, whatever is raised."""
        self._note_task()
        # Cancelled by anybody else, the view has cancelled itself.
        task = _task()
        try:
            with failing(unless=lambda: self._left or self._cut_off):
                await super().handle_request(*arguments)
        except GeneratorExit as error:
            if _task() is not task:  # The coroutine is being discarded.
                raise
            raise Escaped from error

    @property
    def _cut_off(self) -> bool:
        """Whether the server stops."""
        return self._server is not None and self._server.cancelling() > 0

    def _note_task(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  Quart makes one for each half
        self._tasks.add(task)
        if self._cut_off:
            # Not for a client that left: Quart cancels for that, and twice would break off a driver's own clean-up.
            task.cancel()


class Application(Quart):
    """The class of our app."""

    asgi_http_class = HTTPConnection  # type: ignore[assignment]  # its messages are plain dicts

    async def handle_request(self, request: Request) -> ResponseTypes:
        """Answer, and record what Quart is about to show: with DEBUG or TESTING it raises before it would."""
        try:
            return await super().handle_request(request)
        except Exception as error:
            if self.debug or self.testing:
                self._record(request, error)
            raise

    async def full_dispatch_request(self, *arguments: Any) -> Any:
        """Turn what leaves a view, or a function around it, into what Quart answers."""
        with failing(unless=_is_being_cancelled):
            answer = await super().full_dispatch_request(*arguments)
        if isinstance(answer, Response) and type(answer.response) is IterableBody:
            answer.response = Body(answer.response.iter)
        return answer

    async def process_response(self, *arguments: Any) -> Any:
        """Let a function after the request fail once: Quart calls it again for the page about its own failure."""
        scope = request.scope
        try:
            return await super().process_response(*arguments)
        except BaseException as error:
            ends = isinstance(error, GeneratorExit) or (
                isinstance(error, asyncio.CancelledError) and _is_being_cancelled()
            )
            if ends or not scope.get(_FINALIZED):
                scope[_FINALIZED] = True  # type: ignore[literal-required]  # a key of ours
                raise
            return next(one for one in arguments if isinstance(one, Response))

    def log_exception(self, *arguments: Any) -> None:
        """Record the exception that nothing in the app has handled; its information comes last.

        From Quart 0.23 on the context comes before it.
        """
        if has_request_context():
            self._record(request, arguments[-1])
        else:
            super().log_exception(*arguments)

    def _record(self, request: Request, exc_info: Any) -> None:
        route = request.url_rule.rule if request.url_rule is not None else "(no route)"
        error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
        # The line tells the caller's place, in Quart, as it did before.
        self.logger.error("Exception on request %s %s", request.method, route, exc_info=info(error), stacklevel=3)


def info(error: BaseException) -> ExcInfo:
    """Return what to log of an exception: what the application's code raised, without what stands around it.

    Quart 0.23 runs each request in a task group, which wraps it. Its class is asked by type(): an exception may have
    a property or an operator of its own that raises.
    """
    while True:
        kind = type(error)
        if issubclass(kind, BaseExceptionGroup) and len(error.exceptions) == 1:  # type: ignore[attr-defined]
            error = error.exceptions[0]  # type: ignore[attr-defined]
        elif issubclass(kind, Escaped) and error.__cause__ is not None:
            error = error.__cause__
        else:
            return kind, error, _TRACEBACK.__get__(error)


def drop_threaded_context(app: Quart) -> None:
    """Let no page wait for a thread. Comes after all blueprints.

    Quart calls each context processor that is no coroutine on one: quart-auth's, for a user that no template of ours
    asks for, and Flask's, which every blueprint brings along and which finds no request of Flask's. Any other one is
    a mistake of ours.
    """
    for name, processors in app.template_context_processors.items():
        ours = [one for one in processors if one.__module__.partition(".")[0] not in ("flask", "quart_auth")]
        assert all(map(iscoroutinefunction, ours)), ours  # noqa: S101  for who writes one
        app.template_context_processors[name] = ours
