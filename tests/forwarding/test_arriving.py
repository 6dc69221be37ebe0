"""An error of the site arrives at the other system under the id that the visitor saw, without what he sent."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from quartblog.delivery import scope
from quartblog.operations.health import DELIVERY
from quartblog.release import running_release
from tests.forwarding.conftest import KEY, TOKEN, Destination, attributes, events, log_records, requests
from tests.support.browsing import FROM_OURSELVES, Visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart import Quart

    from quartblog.delivery import Delivery
    from quartblog.models import User
    from tests.support.browsing import Configuration, Serve

CANARIES = (
    "canary-password",
    "canary-cookie",
    "canary-query",
    "canary-path",
    "canary-header",
    "canary-variable",
    "canary@example.org",
)
logger = logging.getLogger("tests.forwarding.app")


async def fail_at(app: Quart, visitor: Visitor | None = None) -> str:
    """Let the app fail with everything in the request that nobody may see; return the id on the page."""
    visitor = visitor or Visitor(app)
    visitor.set_cookie("theirs", "canary-cookie")

    page = await visitor.client.post(
        "/errors/rehearsal/canary-path",
        query_string={"q": "canary-query"},
        form={"password": "canary-password", "email": "canary@example.org"},
        headers={"Authorization": "Bearer canary-header", **FROM_OURSELVES},
    )
    assert page.status_code == 500
    error_id = page.headers["X-Error-Id"]
    assert error_id in await page.get_data(as_text=True)
    return error_id


@pytest.fixture
async def site(configuration: Configuration, serve: Serve, destination: Destination) -> Quart:
    configuration["forwarding"] = destination.section
    return await serve()


async def test_the_id_on_the_page_is_found_in_the_other_system(site: Quart, destination: Destination) -> None:
    error_id = await fail_at(site)
    delivery = site.extensions[DELIVERY]
    assert delivery.drain()

    assert destination.error_ids() == [error_id]
    assert delivery.statistics().dropped == 0


async def test_nothing_that_the_visitor_sent_arrives(site: Quart, destination: Destination) -> None:
    @site.post("/fail/<name>")
    async def fail(name: str) -> str:
        from quart import request  # noqa: PLC0415  only this view reads it

        form = await request.form
        told = [*form.values(), *request.cookies.values(), *request.args.values(), name]
        variable = "-".join(("canary", name.removeprefix("canary-path") or "variable"))
        for value in told:
            logger.info("Looking for %s", value)
        try:
            raise ValueError(f"there is no {told}")  # noqa: TRY301  an exception with a cause is the point
        except ValueError as error:
            raise LookupError(f"nor {told} of {len(variable)}") from error

    visitor = Visitor(site)
    visitor.set_cookie("theirs", "canary-cookie")
    page = await visitor.client.post(
        "/fail/canary-path",
        query_string={"q": "canary-query"},
        form={"password": "canary-password", "email": "canary@example.org"},
        headers={"Authorization": "Bearer canary-header", **FROM_OURSELVES},
    )
    assert page.status_code == 500
    assert site.extensions[DELIVERY].drain()

    [post] = destination.server.posts
    body = post.body.decode("utf-8", "replace")
    assert "Looking for" in body
    assert "there is no" in body
    assert [canary for canary in CANARIES if canary in body] == []


async def test_what_sentry_gets(
    configuration: Configuration, serve: Serve, sentry: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTRY_RELEASE", "another program's")
    configuration["forwarding"] = sentry.section
    app = await serve()
    error_id = await fail_at(app)
    assert app.extensions[DELIVERY].drain()
    [group] = app.extensions[DELIVERY].outbox.groups()

    [post] = sentry.server.posts
    [event] = events(sentry.server)
    assert post.path == "/api/3/envelope/"
    assert f"sentry_key={KEY}" in post.headers["x-sentry-auth"]
    assert KEY not in post.body.decode()
    assert event["level"] == "error"
    assert event["platform"] == "python"
    assert event["logger"] == "quartblog"
    assert event["release"] == running_release()
    assert event["fingerprint"] == [group.fingerprint]
    assert event["transaction"] == "POST /errors/rehearsal/<path:below>"
    assert event["tags"] == {
        "error_id": error_id,
        "method": "POST",
        "route": "/errors/rehearsal/<path:below>",
        "place": group.place,
    }
    assert not event.get("server_name")
    assert "user" not in event
    assert "modules" not in event
    [exception] = event["exception"]["values"]
    assert exception["type"] == "Rehearsal"
    assert exception["module"] == "quartblog.errors.rehearsal"
    assert exception["value"].startswith("this error is a rehearsal")
    frame = exception["stacktrace"]["frames"][-1]
    assert frame["filename"] == "quartblog/errors/rehearsal.py"
    assert frame["function"] == "rehearse"
    assert frame["context_line"].startswith("raise Rehearsal(")
    assert frame["in_app"]
    assert "Rehearsal: this error is a rehearsal" in event["extra"]["traceback"]
    assert [frame for frame in exception["stacktrace"]["frames"] if "vars" in frame] == []


async def test_what_a_collector_gets(configuration: Configuration, serve: Serve, otlp: Destination) -> None:
    configuration["forwarding"] = {**otlp.section, "host": "blog-2"}
    app = await serve()
    error_id = await fail_at(app)
    assert app.extensions[DELIVERY].drain()
    [group] = app.extensions[DELIVERY].outbox.groups()

    [post] = otlp.server.posts
    [request] = requests(otlp.server)
    [record] = log_records(otlp.server)
    path, _, line = group.place.rpartition(":")
    assert post.path == "/v1/logs"
    assert post.headers["authorization"] == f"Bearer {TOKEN}"
    assert post.headers["content-type"] == "application/x-protobuf"
    described = attributes(request.resource_logs[0].resource)
    assert described["service.name"] == "quartblog"
    assert described["service.version"] == running_release()
    assert described["host.name"] == "blog-2"
    assert request.resource_logs[0].scope_logs[0].scope.name == "quartblog"
    assert record.severity_text == "ERROR"
    assert record.severity_number == 17
    found = attributes(record)
    assert found.pop("exception.stacktrace").endswith("errors.rehearsal_route is on")
    assert found == {
        "quartblog.error_id": error_id,
        "quartblog.fingerprint": group.fingerprint,
        "quartblog.title": "quartblog.errors.rehearsal.Rehearsal",
        "http.request.method": "POST",
        "http.route": "/errors/rehearsal/<path:below>",
        "code.file.path": path,
        "code.line.number": int(line),
        "code.function.name": "rehearse",
        "exception.type": "quartblog.errors.rehearsal.Rehearsal",
        "exception.message": "this error is a rehearsal: errors.rehearsal_route is on",
    }


async def test_the_user_is_known_by_number(
    configuration: Configuration, serve: Serve, destination: Destination, ada: User
) -> None:
    configuration["forwarding"] = destination.section
    app = await serve()
    visitor = Visitor(app)
    answer = await visitor.submit("/login", username="ada", password="correct horse")
    assert answer.status == 302
    await fail_at(app, visitor)
    assert app.extensions[DELIVERY].drain()

    if destination.kind == "sentry":
        assert events(destination.server)[0]["user"] == {"id": str(ada.id)}
    else:
        assert attributes(log_records(destination.server)[0])["user.id"] == str(ada.id)


async def test_a_site_that_names_nobody_forwards_nothing(serve: Serve, destination: Destination) -> None:
    app = await serve()
    await fail_at(app)
    assert app.extensions[DELIVERY].drain()

    assert destination.server.posts == []


def test_only_errors_are_forwarded_and_what_came_before_is_a_breadcrumb(
    forward: Callable[[Destination], Delivery], destination: Destination
) -> None:
    delivery = forward(destination)
    with scope(route="job", method="RUN"):
        logger.warning("it is odd")
        logger.critical("it is over")
    assert delivery.drain()

    assert destination.messages() == ["it is over"]
    if destination.kind == "sentry":
        [event] = events(destination.server)
        assert event["level"] == "fatal"
        crumbs = [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
    else:
        [record] = log_records(destination.server)
        assert record.severity_number == 21
        crumbs = attributes(record)["quartblog.breadcrumbs"]
    assert len(crumbs) == 1
    assert crumbs[0].endswith("WARNING tests.forwarding.app: it is odd")


def test_causes_arrive_with_their_own_frames(forward: Callable[[Destination], Delivery], sentry: Destination) -> None:
    delivery = forward(sentry)
    try:
        try:
            int("twelve")
        except ValueError as error:
            raise LookupError("no such number") from error
    except LookupError:
        logger.exception("it failed")
    assert delivery.drain()

    [event] = events(sentry.server)
    # As Sentry wants it: the exception that was logged is the last.
    assert [each["type"] for each in event["exception"]["values"]] == ["ValueError", "LookupError"]
    assert [each["stacktrace"]["frames"][-1]["context_line"] for each in event["exception"]["values"]] == [
        'int("twelve")',
        'raise LookupError("no such number") from error',
    ]


def test_records_arrive_in_order_and_one_time(
    forward: Callable[[Destination], Delivery], destination: Destination
) -> None:
    delivery = forward(destination)
    for number in range(100):
        logger.error("number %d", number)
    assert delivery.drain(30)

    assert destination.messages() == [f"number {number}" for number in range(100)]
    assert delivery.statistics().dropped == 0


HOSTILE = st.text(
    st.characters() | st.sampled_from("\x00\r\n\x1b\u202e\u2028\ud800\udfff<>&\"'{}%\\\U000e0041"), max_size=60
)


def test_hostile_texts_arrive_in_a_form_that_every_server_takes(
    forward: Callable[[Destination], Delivery], destination: Destination
) -> None:
    delivery = forward(destination)

    @hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(text=HOSTILE, route=HOSTILE)
    def attack(text: str, route: str) -> None:
        destination.server.posts.clear()
        with scope(route=route, method=text) as work:
            work.user_id = text
            logger.warning(text)
            try:
                raise ValueError(text)  # noqa: TRY301  the traceback is the point
            except ValueError:
                logger.exception("failed with %s", text)
        assert delivery.drain()
        [message] = destination.messages()
        assert message.startswith("failed with ")
        # Line feeds and tabs give a text its shape, and nothing else does.
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e\u2028\U000e0041]", message)
        message.encode()

    attack()
    assert delivery.statistics().dropped == 0


def test_a_huge_record_arrives_shortened(forward: Callable[[Destination], Delivery], destination: Destination) -> None:
    delivery = forward(destination)
    try:
        raise ValueError("x" * 3_000_000)  # noqa: TRY301  the same
    except ValueError:
        logger.exception("y" * 3_000_000)
    assert delivery.drain()

    [post] = destination.server.posts
    # A Sentry server takes 1 MB of one event.
    assert len(post.body) < 500_000


def test_a_recursion_arrives_with_a_bounded_number_of_frames(
    forward: Callable[[Destination], Delivery], sentry: Destination
) -> None:
    def deeper() -> None:
        deeper()

    delivery = forward(sentry)
    try:
        deeper()
    except RecursionError:
        logger.exception("too deep")
    assert delivery.drain()

    [event] = events(sentry.server)
    assert len(event["exception"]["values"][0]["stacktrace"]["frames"]) == 200
