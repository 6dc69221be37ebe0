"""Exception that leaves a view -> one error page and one log record, which names the route's rule.

The record never names the path, because the visitor wrote it. Quart handles only `Exception`. After a `SystemExit`, a
`GeneratorExit` or the `CancelledError` of a task that the view awaited, it sends no page and logs nothing; the classes
here treat these as failures too. They let only the server's own cancellation pass: the client left, or the server
stops.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
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
# Seconds that a view may still take after its visitor has left.
AFTER_LEAVING = 10.0

# A key of the ASGI scope, set once process_response() has failed for the request.
_FINALIZED = "quartblog.finalized"


class Escaped(Exception):
    """Wraps a BaseException that left a view and is not an Exception; `__cause__` holds the original."""


class failing:  # noqa: N801  named like the functions of contextlib; as a generator, it would cost each request more
    """Raise Escaped from a BaseException that is not an Exception. `unless`: whether the server cancels the task.

    GeneratorExit passes. When an awaited task or thread raises it, Python closes every coroutine in between with it, so
    only the outermost coroutine can handle it: `HTTPConnection.handle_request`.
    """

    __slots__ = ("_task", "_unless")

    def __init__(self, *, unless: Callable[[], bool]) -> None:
        self._unless = unless

    def __enter__(self) -> None:
        self._task = _task()

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None or isinstance(error, Exception | GeneratorExit):
            return
        # In another task, or in none, Python is discarding the coroutine.
        if _task() is not self._task or (isinstance(error, asyncio.CancelledError) and self._unless()):
            return
        raise Escaped from error


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # The loop has ended.
        return None


def _is_being_cancelled() -> bool:
    task = _task()
    return task is not None and task.cancelling() > 0


class Body(IterableBody):
    """A streamed answer. Python 3.11 runs it in a separate task, whose SystemExit would end the event loop."""

    def __aiter__(self) -> AsyncIterator[Any]:
        """Return the parts; an unusual exception in them becomes Escaped."""
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
                # Quart takes a TimeoutError for its own response timeout, and ends the answer without a record.
                raise Escaped from error
            yield part


class HTTPConnection(ASGIHTTPConnection):
    """One request, and whether the server cancelled it.

    A view goes on after its visitor has left, because it takes milliseconds. A statement that is cancelled costs its
    connection, and a few hundred visitors a second who leave would keep a database busy with new connections.
    """

    async def __call__(self, receive: Receive, send: Send) -> None:  # type: ignore[override]  # ours are plain dicts
        """Answer the request."""
        self._left = False
        self._server = asyncio.current_task()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._view_ended = asyncio.Event()
        complete = False

        async def note_and_receive() -> dict[str, Any]:
            nonlocal complete
            message = await receive()
            if message["type"] == "http.request":
                complete = not message.get("more_body", False)
            elif message["type"] == "http.disconnect":
                if complete:
                    await self._wait_for_view()
                self._left = True
            return message

        async def note_and_send(message: dict[str, Any]) -> None:
            self._view_ended.set()
            await send(message)

        try:
            await super().__call__(note_and_receive, note_and_send)  # type: ignore[arg-type]
        except asyncio.CancelledError:
            # Quart 0.22 does not end its two tasks.
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            raise

    async def handle_messages(self, *arguments: Any) -> None:
        """Receive the client's messages."""
        self._note_task()
        await super().handle_messages(*arguments)

    async def handle_request(self, *arguments: Any) -> None:
        """Answer the request, whatever the view raises."""
        self._note_task()
        # A cancellation by anybody but the server is a failure of the view.
        task = _task()
        try:
            with failing(unless=lambda: self._left or self._cut_off):
                await super().handle_request(*arguments)
        except GeneratorExit as error:
            if _task() is not task:  # Python is discarding the coroutine.
                raise
            raise Escaped from error
        finally:
            self._view_ended.set()

    async def _wait_for_view(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(AFTER_LEAVING):
                await self._view_ended.wait()

    @property
    def _cut_off(self) -> bool:
        """Whether the server is stopping and cancelled this request."""
        return self._server is not None and self._server.cancelling() > 0

    def _note_task(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  Quart runs each of the two methods in a task
        self._tasks.add(task)
        if self._cut_off:
            # Not when the client left: Quart cancels then, and a second cancel would interrupt a driver's clean-up.
            task.cancel()


class Application(Quart):
    """The Quart class of this app."""

    asgi_http_class = HTTPConnection  # type: ignore[assignment]  # its messages are plain dicts

    async def handle_request(self, request: Request) -> ResponseTypes:
        """Answer. With DEBUG or TESTING, record the exception here, because Quart then raises it without logging."""
        try:
            return await super().handle_request(request)
        except Exception as error:
            if self.debug or self.testing:
                self._record(request, error)
            raise

    async def full_dispatch_request(self, *arguments: Any) -> Any:
        """Turn any exception of a view, or of a function around it, into one that Quart handles."""
        with failing(unless=_is_being_cancelled):
            answer = await super().full_dispatch_request(*arguments)
        if isinstance(answer, Response) and type(answer.response) is IterableBody:
            answer.response = Body(answer.response.iter)
        return answer

    async def process_response(self, *arguments: Any) -> Any:
        """Survive a failing after-request function: Quart calls it again for the error page about its own failure."""
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
        """Record the exception that no error handler of the app took. The last argument is the exception information.

        From Quart 0.23 on, the request context precedes it.
        """
        if has_request_context():
            self._record(request, arguments[-1])
        else:
            super().log_exception(*arguments)

    def _record(self, request: Request, exc_info: Any) -> None:
        route = request.url_rule.rule if request.url_rule is not None else "(no route)"
        error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
        # stacklevel: the log line names the caller's place in Quart, as Quart's own method does.
        self.logger.error("Exception on request %s %s", request.method, route, exc_info=info(error), stacklevel=3)


def info(error: BaseException) -> ExcInfo:
    """Return the exception information to log: the application's exception without its wrappers.

    The wrappers are Escaped, and the exception group of the task group in which Quart 0.23 runs each request. Only
    type() reads the class: an exception may define a `__class__` property that raises.
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
    """Remove the context processors that run in a thread, so that no page waits for one. Call it after all blueprints.

    Quart runs each synchronous context processor in a thread. No template needs the two that the libraries add:
    quart-auth's `current_user`, and Flask's, which every blueprint brings and which finds no Flask request. Any other
    synchronous one is a programming error.
    """
    for name, processors in app.template_context_processors.items():
        ours = [one for one in processors if one.__module__.partition(".")[0] not in ("flask", "quart_auth")]
        assert all(map(iscoroutinefunction, ours)), ours  # noqa: S101  fails in the tests of the developer who adds one
        app.template_context_processors[name] = ours
