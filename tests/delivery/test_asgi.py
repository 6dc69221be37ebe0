"""A request of Starlette, FastAPI or Quart has one error id: on the page, in the header and in each of its records."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import TYPE_CHECKING, Any

import fastapi
import pytest
import quart
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from quartblog.delivery import Delivery, ErrorScope, FileOptions, Scope, current_scope, scope
from tests.support.asgi import App, ask, request_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.websockets import WebSocket

    from .conftest import Kept

logger = logging.getLogger("tests.delivery.shop")


class Shop:
    """The same views in every framework, and the records they logged."""

    def __init__(self, delivery: Delivery, kept: Kept) -> None:
        self._delivery = delivery
        self._kept = kept

    @staticmethod
    def look_up(number: str) -> str:
        logger.info("looking up")
        raise LookupError(f"no order {number} of {{}}".format("those that are open"))

    @property
    def records(self) -> list[dict[str, Any]]:
        assert self._delivery.drain()
        return [vars(record) for record in self._kept.records if not record.name.startswith("quartblog.delivery")]

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [record for record in self.records if record["levelno"] >= logging.ERROR]


@pytest.fixture
def shop(tmp_path: Path, kept: Kept) -> Iterator[Shop]:
    with Delivery(file=FileOptions(path=tmp_path / "shop.log"), extra_sinks=[kept]) as delivery:
        yield Shop(delivery, kept)


def page() -> str:
    """The page of the application after a failure."""
    work = current_scope()
    return f"Error id {work.error_id if work is not None else None}"


def in_starlette(**options: Any) -> Starlette:
    async def order(request: Request) -> PlainTextResponse:
        return PlainTextResponse(Shop.look_up(request.path_params["number"]))

    async def failed(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse(page(), 500)

    return Starlette(routes=[Route("/orders/{number}", order)], exception_handlers={Exception: failed}, **options)


def in_fastapi() -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    orders = fastapi.APIRouter(prefix="/orders")

    @orders.get("/{number}")
    async def order(number: str) -> str:
        return Shop.look_up(number)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse(page(), 500)

    app.include_router(orders)
    return app


def in_quart() -> quart.Quart:
    app = quart.Quart(__name__)

    @app.before_request
    async def learn_rule() -> None:
        if (work := current_scope()) is not None and quart.request.url_rule is not None:
            work.route = quart.request.url_rule.rule

    @app.get("/orders/<number>")
    async def order(number: str) -> str:
        return Shop.look_up(number)

    @app.errorhandler(500)
    async def failed(error: Exception) -> tuple[str, int]:
        return page(), 500

    return app


FRAMEWORKS: dict[str, Callable[[], App]] = {"Starlette": in_starlette, "FastAPI": in_fastapi, "Quart": in_quart}


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_page_header_and_all_records_have_one_id(framework: str, shop: Shop) -> None:
    answer = await ask(ErrorScope(FRAMEWORKS[framework]()), "/orders/4711")

    error_id = answer.headers["X-Error-Id"]
    assert (answer.status, answer.text) == (500, f"Error id {error_id}")
    assert {record["error_id"] for record in shop.records} == {error_id}
    assert {record["name"] for record in shop.records} >= {logger.name}


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_a_failure_is_recorded_once_with_method_and_rule(framework: str, shop: Shop) -> None:
    await ask(ErrorScope(FRAMEWORKS[framework]()), "/orders/4711")

    [record] = shop.errors
    assert (record["method"], record["route"].replace("<", "{").replace(">", "}")) == ("GET", "/orders/{number}")
    assert "LookupError: no order" in record["exc_text"]
    # A frame of the program's own around the framework would make the framework's frames a part of the fingerprint.
    assert "delivery/asgi.py" not in record["exc_text"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_no_record_shows_what_the_visitor_wrote(framework: str, shop: Shop) -> None:
    app = FRAMEWORKS[framework]()

    async def logging_all(connection: Any, receive: Any, send: Any) -> None:
        logger.error("%s %s", connection["path"], connection["raw_path"])
        try:
            await app(connection, receive, send)
        finally:
            logger.error("%s orders %r", connection["query_string"], connection["headers"])

    headers = [
        (b"cookie", b"session=carrot"),
        (b"authorization", b"Bearer onion"),
        (b"x-api-key", b"leek"),
        (b"referer", b"http://localhost/reset?token=radish"),
        (b"user-agent", b"a browser"),
    ]
    path, raw_path = "/orders/tomato soup", b"/orders/tomato%20soup"
    await ask(ErrorScope(logging_all), path, raw_path=raw_path, query=b"card=pepper%20mill", headers=headers)

    texts = "".join(f"{record['message']}{record['exc_text']}" for record in shop.errors)
    for sent in ("tomato", "pepper", "carrot", "onion", "leek", "radish"):
        assert sent not in texts
    assert "no order [redacted] of those that are open" in texts
    assert " orders [(b'host'" in texts
    assert "a browser" in texts


async def test_a_quart_application_stays_one_with_the_scope_inside(shop: Shop) -> None:
    app = in_quart()
    app.asgi_app = ErrorScope(app.asgi_app)  # type: ignore[method-assign]  # as Quart's documentation has it

    answer = await ask(app, "/orders/4711")

    assert {record["error_id"] for record in shop.records} == {answer.headers["X-Error-Id"]}


async def test_a_handler_that_logs_the_failure_itself_leaves_one_record(shop: Shop) -> None:
    async def failed(request: Request, error: Exception) -> PlainTextResponse:
        logger.error("the order failed", exc_info=error)
        return PlainTextResponse(page(), 500)

    async def order(request: Request) -> PlainTextResponse:
        return PlainTextResponse(Shop.look_up("1"))

    await ask(ErrorScope(Starlette(routes=[Route("/", order)], exception_handlers={Exception: failed})))

    assert [record["message"] for record in shop.errors] == ["the order failed"]


async def test_what_a_handler_raises_is_recorded_beside_what_it_logged(shop: Shop) -> None:
    async def failed(request: Request, error: Exception) -> PlainTextResponse:
        logger.error("the order failed", exc_info=error)
        raise RuntimeError("so did the page")

    async def order(request: Request) -> PlainTextResponse:
        return PlainTextResponse(Shop.look_up("1"))

    answer = await ask(ErrorScope(Starlette(routes=[Route("/", order)], exception_handlers={Exception: failed})))

    first, last = shop.errors
    assert (first["message"], last["message"]) == ("the order failed", "An exception left the application")
    assert first["error_id"] == last["error_id"]
    assert answer.text == f"Internal Server Error\nError id: {last['error_id']}\n"


@pytest.mark.parametrize("failure", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_whatever_leaves_an_application_is_recorded_and_answered(failure: BaseException, shop: Shop) -> None:
    async def app(connection: Any, receive: Any, send: Any) -> None:
        raise failure

    answer = await ask(ErrorScope(app))

    [record] = shop.errors
    assert answer.status == 500
    assert answer.headers["X-Error-Id"] == record["error_id"]
    assert type(failure).__name__ in record["exc_text"]


async def test_a_cancellation_by_the_server_passes(shop: Shop) -> None:
    begun = asyncio.Event()

    async def app(connection: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(ask(ErrorScope(app)))
    await begun.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert shop.errors == []


async def test_a_failure_in_the_midst_of_an_answer_has_one_id(shop: Shop) -> None:
    async def parts() -> Any:
        yield "one"
        raise LookupError("two")

    async def numbers(request: Request) -> StreamingResponse:
        return StreamingResponse(parts())

    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    async def serve() -> None:
        await ErrorScope(Starlette(routes=[Route("/", numbers)]))(request_scope("/", "GET", b"", []), receive, send)
        # As uvicorn does.
        logger.error("the answer has no end")

    await asyncio.create_task(serve())

    assert [message["type"] for message in messages] == ["http.response.start", "http.response.body"]
    assert [record["message"] for record in shop.errors] == [
        "An exception left the application",
        "the answer has no end",
    ]
    assert len({record["error_id"] for record in shop.errors}) == 1


async def test_text_of_a_mount_counts_as_the_programs_own(shop: Shop) -> None:
    async def item(request: Request) -> PlainTextResponse:
        raise LookupError(f"administration of {request.path_params['tenant']} has no {request.path_params['number']}")

    inner = Starlette(routes=[Route("/items/{number}", item)])
    app = Starlette(routes=[Mount("/administration/{tenant}", inner)])

    await ask(ErrorScope(app), "/administration/acme/items/4711")

    [record] = shop.errors
    assert record["exc_text"].splitlines()[-1] == "LookupError: administration of [redacted] has no [redacted]"


async def fail(request: Request) -> PlainTextResponse:
    raise LookupError("nothing there")


@pytest.mark.parametrize(
    ("mount", "path", "rule"),
    [
        ("/shop", "/shop/items/4711", "/shop/items/{number}"),
        ("/stock", "/stock/items/4711", "/stock/items/{number}"),
        ("/tenants/{tenant}", "/tenants/acme/items/4711", "/tenants/{tenant}/items/{number}"),
        ("/tenants/{tenant}", "/tenants/4711/items/4711", "/tenants/{tenant}/items/{number}"),
        ("/items", "/items/items/items", "/items/items/{number}"),
    ],
)
async def test_the_rule_begins_with_that_of_the_mount(shop: Shop, mount: str, path: str, rule: str) -> None:
    inner = Starlette(routes=[Route("/items/{number}", fail)])

    await ask(ErrorScope(Starlette(routes=[Mount("/api", routes=[Mount(mount, inner)])])), f"/api{path}")

    [record] = shop.errors
    assert record["route"] == f"/api{rule}"


async def test_the_rule_holds_no_value_that_the_framework_has_converted(shop: Shop) -> None:
    inner = Starlette(routes=[Route("/items/{number}", fail)])

    await ask(ErrorScope(Starlette(routes=[Mount("/tenants/{tenant:int}", inner)])), "/tenants/007/items/4711")

    [record] = shop.errors
    assert record["route"] == "/{tenant}/items/{number}"


async def test_an_application_that_names_no_rule_has_that_of_its_mount(shop: Shop) -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("nothing there")

    await ask(ErrorScope(Starlette(routes=[Mount("/tenants/{tenant}", plain)])), "/tenants/acme/items")

    [record] = shop.errors
    assert record["route"] == "/tenants/{tenant}"


async def test_an_application_inside_of_a_dispatcher_has_the_rule_of_its_mount(shop: Shop) -> None:
    app = ErrorScope(Starlette(routes=[Route("/items/{number}", fail)]))

    with pytest.raises(LookupError):
        await ask(Starlette(routes=[Mount("/shop", app), Mount("/stock", app)]), "/stock/items/4711")

    [record] = shop.errors
    assert record["route"] == "/stock/items/{number}"


async def test_a_server_that_refuses_the_answer_logs_it_with_the_same_id(shop: Shop) -> None:
    async def forged(request: Request) -> PlainTextResponse:
        return PlainTextResponse("x", headers={"X-Note": "a\r\nSet-Cookie: b"})

    async def receive() -> dict[str, Any]:
        return await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        raise RuntimeError("invalid header")

    async def serve() -> None:
        await ErrorScope(Starlette(routes=[Route("/", forged)]))(request_scope("/", "GET", b"", []), receive, send)
        # As uvicorn does.
        logger.error("the answer has no end")

    await asyncio.create_task(serve())

    assert [record["message"] for record in shop.errors] == [
        "An exception left the application",
        "the answer has no end",
    ]
    assert len({record["error_id"] for record in shop.errors}) == 1


async def test_a_client_that_left_is_no_failure(shop: Shop) -> None:
    async def read(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        """Nobody is listening."""

    connection = request_scope("/", "POST", b"", [])
    await ErrorScope(Starlette(routes=[Route("/", read, methods=["POST"])]))(connection, receive, send)

    assert shop.errors == []


async def talk(app: App, *received: dict[str, Any], **connection: Any) -> list[dict[str, Any]]:
    """Open a websocket, send what is given, and return what comes back."""
    messages = [{"type": "websocket.connect"}, *received]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    given = request_scope("/talk/4711", "GET", b"", []) | {"type": "websocket", "scheme": "ws", "subprotocols": []}
    del given["method"]
    await app(given | connection, receive, send)
    return sent


def talking(*, accepts: bool) -> App:
    async def endpoint(websocket: WebSocket) -> None:
        if accepts:
            await websocket.accept()
        await websocket.receive_text()
        raise LookupError("nothing to say")

    return ErrorScope(Starlette(routes=[WebSocketRoute("/talk/{number}", endpoint)]))


async def test_a_websocket_that_fails_is_closed_with_its_id(shop: Shop) -> None:
    sent = await talk(talking(accepts=True), {"type": "websocket.receive", "text": "hello"})

    [record] = shop.errors
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert (sent[1]["code"], sent[1]["reason"]) == (1011, f"Error id: {record['error_id']}")
    assert (record["method"], record["route"]) == ("WEBSOCKET", "/talk/{number}")


async def test_a_handshake_that_fails_is_answered_500_where_the_server_can(shop: Shop) -> None:
    sent = await talk(talking(accepts=False), extensions={"websocket.http.response": {}})

    [record] = shop.errors
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert (b"x-error-id", record["error_id"].encode()) in sent[0]["headers"]
    assert (await talk(talking(accepts=False)))[0]["code"] == 1011


async def test_a_websocket_whose_client_left_is_no_failure(shop: Shop) -> None:
    await talk(talking(accepts=True), {"type": "websocket.disconnect", "code": 1001})

    assert shop.errors == []


async def test_added_as_a_middleware_it_shows_the_same_id_to_a_handler_outside(shop: Shop) -> None:
    seen: list[str] = []

    async def order(request: Request) -> PlainTextResponse:
        return PlainTextResponse(Shop.look_up("4711"))

    async def failed(request: Request, error: Exception) -> PlainTextResponse:
        seen.append(request.state.error_id)
        logger.info("the page")
        return PlainTextResponse(page(), 500)

    app = Starlette(
        routes=[Route("/{number}", order)],
        exception_handlers={Exception: failed},
        middleware=[Middleware(ErrorScope)],
    )
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    async def serve() -> None:
        with pytest.raises(LookupError):
            await app(request_scope("/4711", "GET", b"", []), None, send)  # type: ignore[arg-type]  # reads nothing

    await asyncio.create_task(serve())

    [error_id] = {record["error_id"] for record in shop.records}
    assert seen == [error_id]
    assert messages[1]["body"] == f"Error id {error_id}".encode()
    assert current_scope() is None


async def test_one_inside_of_another_leaves_all_to_the_outer_one(shop: Shop) -> None:
    inner = ErrorScope(in_fastapi())

    answer = await ask(ErrorScope(Starlette(routes=[Mount("/api", inner)])), "/api/orders/4711")

    [record] = shop.errors
    assert answer.text == f"Error id {record['error_id']}"
    assert answer.headers.getlist("X-Error-Id") == [record["error_id"]]


async def test_a_request_in_somebody_elses_scope_has_its_own(shop: Shop) -> None:
    with scope(route="start") as start:
        answer = await ask(ErrorScope(in_starlette()), "/orders/1")

    assert answer.headers["X-Error-Id"] != start.error_id
    assert {record["error_id"] for record in shop.errors} == {answer.headers["X-Error-Id"]}


async def test_middleware_that_starts_tasks_keeps_the_scope(shop: Shop) -> None:
    async def pass_on(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    app = in_starlette(middleware=[Middleware(BaseHTTPMiddleware, dispatch=pass_on)])

    answer = await ask(ErrorScope(app), "/orders/1")

    assert {record["error_id"] for record in shop.records} == {answer.headers["X-Error-Id"]}
    assert [record["route"] for record in shop.errors] == ["/orders/{number}"]


async def test_only_a_failure_has_the_header() -> None:
    async def view(request: Request) -> PlainTextResponse:
        return PlainTextResponse("", int(request.query_params["status"]), {"X-Error-Id": "mine"})

    app = ErrorScope(Starlette(routes=[Route("/", view)]))

    assert (await ask(app, query=b"status=404")).headers.getlist("X-Error-Id") == ["mine"]
    [error_id] = (await ask(app, query=b"status=503")).headers.getlist("X-Error-Id")
    assert len(error_id) == 12


async def test_the_lifespan_passes_untouched() -> None:
    seen: list[Any] = []

    async def app(connection: Any, receive: Any, send: Any) -> None:
        seen.append((connection, receive, send, current_scope()))

    connection, receive, send = {"type": "lifespan"}, object(), object()
    await ErrorScope(app)(connection, receive, send)  # type: ignore[arg-type]  # nobody calls them

    assert seen == [(connection, receive, send, None)]
    assert connection == {"type": "lifespan"}


async def test_an_application_can_choose_the_hidden_values(shop: Shop) -> None:
    def only_the_tea(query: bytes, headers: Any) -> list[str]:
        return ["oolong"]

    async def app(connection: Any, receive: Any, send: Any) -> None:
        raise LookupError(connection["query_string"].decode())

    await ask(ErrorScope(app, hide=only_the_tea), query=b"tea=oolong&cup=small")

    [record] = shop.errors
    assert "LookupError: tea=[redacted]&cup=small" in record["exc_text"]


async def test_the_scope_of_a_request_that_ended_keeps_nothing_of_the_connection() -> None:
    class Big:
        """Something that a server or a framework puts into the connection."""

    works: list[Scope | None] = []

    async def app(connection: Any, receive: Any, send: Any) -> None:
        connection["route"] = "/orders/{number}"
        connection["big"] = Big()
        bigs.append(weakref.ref(connection["big"]))
        works.append(current_scope())

    bigs: list[weakref.ref[Big]] = []
    await ErrorScope(app)(request_scope("/orders/4711", "GET", b"", []), None, None)  # type: ignore[arg-type]  # unused
    gc.collect()

    [work] = works
    assert work is not None
    assert (work.route, work.hidden()) == ("/orders/{number}", {"/orders/4711", "4711"})
    assert bigs[0]() is None
