"""A Prometheus server scrapes one address, behind which several workers take turns."""

import os
import signal
from collections.abc import Callable
from contextlib import closing

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from quartblog.delivery import open_outbox
from tests.support.processes import Server, Servers, eventually

pytestmark = pytest.mark.server

REHEARSAL: dict[str, object] = {"rehearsal_route": True}
ERRORS = 40

Samples = dict[tuple[str, ...], float]


def scrape(server: Server, **headers: str) -> Samples:
    """Every sample: name and label values. Each request has a connection of its own, and any worker answers it."""
    page = server.client(Accept="application/openmetrics-text; version=1.0.0", **headers).get("/metrics")
    assert page.status == 200, page.text
    return {
        (sample.name.removeprefix("quartblog_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


def until(server: Server, true: Callable[[Samples], bool]) -> list[Samples]:
    """Scrape until the answer is so, and return all answers."""
    seen: list[Samples] = []

    def ask() -> bool:
        seen.append(scrape(server))
        return true(seen[-1])

    eventually(ask)
    return seen


def fail(server: Server, times: int) -> None:
    """Make errors, in whichever workers answer."""
    for _ in range(times):
        assert server.client().get("/errors/rehearsal").status == 500


def test_two_workers_are_summed_whichever_answers_and_no_count_goes_back(servers: Servers) -> None:
    server = servers.quartblog(servers.site(errors=REHEARSAL))
    seen = until(server, lambda found: found["workers", "alive"] == 2)

    fail(server, ERRORS)
    seen += until(server, lambda found: found["errors_grouped_total",] == ERRORS)
    seen += [scrape(server) for _ in range(20)]

    with closing(open_outbox(server.folder / "instance" / "outbox.sqlite3")) as outbox:
        figures = [worker.figures for worker in outbox.workers()]
    assert len(figures) == 2
    assert min(each["grouped"] for each in figures) > 0, "one worker answered all requests: the sum shows nothing"
    last = seen[-1]
    assert last["errors_grouped_total",] == sum(each["grouped"] for each in figures) == ERRORS
    assert last["records_accepted_total",] == sum(each["accepted"] for each in figures)
    assert last["queue_limit_records",] == 20_000
    assert (last["error_groups", "open"], last["open_errors",]) == (1, ERRORS)
    for name in [key for key in last if key[0].endswith("_total")]:
        values = [found[name] for found in seen]
        assert values == sorted(values), name
    head = server.client().send("HEAD", "/metrics")
    assert (head.status, head.text) == (200, "")
    assert server.stop() == 0


@pytest.mark.parametrize("end", ["restart", "crash"])
def test_no_count_falls_over_a_restart_or_a_crash(servers: Servers, end: str) -> None:
    folder = servers.site(errors=REHEARSAL)
    server = servers.quartblog(folder)
    fail(server, ERRORS)
    seen = until(server, lambda found: found["errors_grouped_total",] == ERRORS)

    if end == "restart":
        before = set(server.workers)
        server.send(signal.SIGHUP)
        eventually(lambda: len(set(server.workers) - before) == 2)
        server.wait_until("/readyz")
    else:
        os.kill(server.workers[0], signal.SIGKILL)
        assert server.ended() == 1
        server = servers.quartblog(folder)
    fail(server, 1)
    # The death of a worker may be an error, too.
    seen += until(server, lambda found: found["workers", "alive"] == 2 and found["errors_grouped_total",] > ERRORS)

    for name in [key for key in seen[0] if key[0].endswith("_total")]:
        values = [found[name] for found in seen]
        assert values == sorted(values), name
    assert seen[-1]["open_errors",] >= ERRORS + 1
    assert server.stop() == 0


def test_a_request_through_a_proxy_needs_the_token(servers: Servers) -> None:
    token = "a-token-of-16-characters-or-more"
    open_to_us = servers.quartblog(servers.site("loopback"), workers=1)
    closed = servers.quartblog(servers.site("token", operations={"metrics_token": token}), workers=1)

    assert open_to_us.client().get("/metrics").status == 200
    assert open_to_us.client(X_Forwarded_For="127.0.0.1").get("/metrics").status == 404
    assert open_to_us.client(Host="blog.example.org").get("/metrics").status == 404
    assert closed.client().get("/metrics").status == 401
    assert scrape(closed, Authorization=f"Bearer {token}", X_Forwarded_For="203.0.113.9")["outbox_usable",] == 1
    assert token not in closed.log + closed.stderr
