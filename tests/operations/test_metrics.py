"""What a Prometheus server scrapes, and who may."""

import asyncio
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus_text
from quart import Quart

from quartblog.database import Database
from quartblog.delivery import Delivery, Outbox, OutboxOptions
from quartblog.operations import metrics
from quartblog.operations.health import DELIVERY
from quartblog.release import running_release
from quartblog.settings import Settings
from tests.support.asgi import RawHeaders, ask
from tests.support.browsing import Page, Serve
from tests.support.clocks import FakeClock
from tests.support.failures import an_event
from tests.support.log_file import LogFile
from tests.support.processes import eventually

TOKEN = "a-token-of-16-characters-or-more"
OPEN_METRICS = [(b"accept", b"application/openmetrics-text; version=1.0.0")]
HERE = ("127.0.0.1", 4711)
ELSEWHERE = ("192.0.2.1", 4711)


async def scrape(app: Quart, headers: RawHeaders = OPEN_METRICS, **scope: object) -> Page:
    """Ask as a Prometheus server on this machine."""
    return await ask(app, "/metrics", headers=headers, **{"client": HERE, **scope})  # type: ignore[arg-type]


def samples(page: Page) -> dict[tuple[str, ...], float]:
    """Every sample of an answer in OpenMetrics: name and label values, in the order of the labels' names."""
    assert (page.status, page.text.endswith("# EOF\n")) == (200, True)
    return {
        (sample.name.removeprefix("quartblog_"), *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in open_metrics(page.text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


def beat(settings: Settings, worker: str, *, ago: float = 0.0, **figures: object) -> None:
    """Leave the heartbeat of another process of this host."""
    clock = FakeClock(time.time() - ago)
    with closing(Outbox(OutboxOptions(settings.delivery.outbox), clock=clock)) as outbox:
        outbox.heartbeats.beat(worker, leader=False, figures=figures)


async def own_heartbeat(app: Quart) -> None:
    """Wait until the app's process has given its first heartbeat."""
    delivery: Delivery = app.extensions[DELIVERY]
    name = f"{socket.gethostname()}:{os.getpid()}"
    outbox = delivery.outbox
    assert outbox is not None
    await asyncio.to_thread(eventually, lambda: name in {worker.name for worker in outbox.workers()})


async def test_all_workers_are_summed_and_not_this_one_alone(app: Quart, settings: Settings) -> None:
    for number, name in enumerate(("host:11", "host:12"), 1):
        beat(
            settings,
            name,
            depth=10 * number,
            limit=1000,
            high_water=100 * number,
            accepted=1_000_000 * number,
            refused={"INFO": number, "ERROR": 0},
            written=7,
            file_lost=number,
            grouped=5,
            dropped=number,
            mailed=number,
            retried=number,
            dead=1,
            to_file={"median_ms": 2.5 * number, "p99_ms": 100.0 * number},
        )

    found = samples(await scrape(app))

    # The app itself may have given a heartbeat already, with a few records and an empty queue.
    assert 3_000_000 <= found["records_accepted_total",] < 3_000_100
    assert 14 <= found["records_written_total",] < 100
    assert found["file_lost_total",] == 3
    assert found["records_dropped_total",] == 3
    assert found["errors_grouped_total",] == 10
    assert found["mail_retries_total",] == 3
    assert found["records_refused_total", "INFO"] == 3
    assert found["records_refused_total", "CRITICAL"] == 0
    assert found["mails_total", "sent"] == 3
    assert found["mails_total", "dead"] == 2
    assert 30 <= found["queue_records",] < 100
    assert found["queue_limit_records",] in {2_000, 12_000}
    assert 300 <= found["queue_high_water_records",] < 400
    assert found["queue_fullest_ratio",] == 0.2
    assert found["file_delay_seconds", "0.5"] == 0.005
    assert found["file_delay_seconds", "0.99"] == 0.2
    assert found["workers", "alive"] in {2, 3}
    assert found["workers", "hanging"] == 0
    assert found["mail_leaders",] == 0
    assert found["build_info", running_release()] == 1
    assert found["outbox_usable",] == 1


async def test_its_own_process_counts_through_its_heartbeat(app: Quart) -> None:
    await own_heartbeat(app)

    found = samples(await scrape(app))

    assert found["workers", "alive"] == 1
    assert found["records_accepted_total",] >= 1
    assert found["queue_limit_records",] == 10_000
    assert 0 < found["enqueue_duration_seconds", "0.5"] <= found["enqueue_duration_seconds", "0.99"] < 10


async def test_what_the_outbox_holds_is_shown(app: Quart, settings: Settings) -> None:
    with closing(Outbox(OutboxOptions(settings.delivery.outbox))) as outbox:
        outbox.record([an_event("a" * 16), an_event("a" * 16), an_event("b" * 16)])
        outbox.resolve("b" * 16)

    found = samples(await scrape(app))

    assert {state: found["error_groups", state] for state in ("open", "resolved")} == {"open": 1, "resolved": 1}
    assert (found["open_errors",], found["unmailed_errors",]) == (2, 2)
    assert {state: found["outbox_mails", state] for state in ("waiting", "dead", "sent")} == {
        "waiting": 0,
        "dead": 0,
        "sent": 0,
    }
    assert (found["outbox_lost_errors_total", "age"], found["outbox_lost_errors_total", "room"]) == (0, 0)
    assert found["outbox_lost_mails_total",] == 0


async def test_a_killed_worker_stays_in_the_counts(app: Quart, settings: Settings) -> None:
    beat(settings, "host:11", ago=3600, accepted=1_000_000, depth=500, limit=1000)

    found = samples(await scrape(app))

    assert found["records_accepted_total",] >= 1_000_000
    # What is true now has nothing of it.
    assert found["queue_records",] < 500
    assert found["workers", "alive"] <= 1


async def test_no_count_falls_when_a_worker_ends(app: Quart, settings: Settings) -> None:
    beat(settings, "host:11", ago=2 * 86_400, accepted=1_000_000, refused={"INFO": 7}, depth=500, limit=1000)
    with closing(Outbox(OutboxOptions(settings.delivery.outbox))) as outbox:
        outbox.heartbeats.beat("host:12", leader=False, figures={"accepted": 500_000, "mailed": 3})
        seen = [samples(await scrape(app))]
        outbox.heartbeats.leave("host:12", figures={"accepted": 500_001, "mailed": 3})
        seen.append(samples(await scrape(app)))
        outbox.housekeeping()
        assert {"host:11", "host:12"}.isdisjoint(worker.name for worker in outbox.workers())
    seen.append(samples(await scrape(app)))

    assert 1_500_001 <= seen[-1]["records_accepted_total",] < 1_500_100
    assert (seen[-1]["records_refused_total", "INFO"], seen[-1]["mails_total", "sent"]) == (7, 3)
    for name in [key for key in seen[0] if key[0].endswith("_total")]:
        values = [found[name] for found in seen]
        assert values == sorted(values), name


async def test_a_worker_that_stands_still_is_counted_as_hanging(app: Quart, settings: Settings) -> None:
    # A process that lives and gives no heartbeat: that of the tests' own parent.
    beat(settings, f"{socket.gethostname()}:{os.getppid()}", ago=60)

    found = samples(await scrape(app))

    assert found["workers", "hanging"] == 1
    assert found["workers", "alive"] <= 1


async def test_figures_of_another_version_do_no_harm(app: Quart, settings: Settings) -> None:
    beat(settings, "host:11", accepted="many", refused=5, to_file=[1], limit=None, high_water=3)
    beat(settings, "host:12", accepted=1_000_000, refused={"NOTICE": 2, "INFO": "x"}, to_file={"p99_ms": None})

    found = samples(await scrape(app))

    assert 1_000_000 <= found["records_accepted_total",] < 1_000_100
    assert found["records_refused_total", "NOTICE"] == 2


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain; version=1.0.0", "text/plain; version=1.0.0; charset=utf-8"),
        ("text/html,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8"),
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        # What prometheus-client fails at, or would repeat in its answer.
        ("application/openmetrics-text; version=1.x", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=2.0.0\xe9", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
async def test_the_form_follows_the_accept_header_and_every_line_is_read(
    app: Quart, settings: Settings, accept: str | None, content_type: str
) -> None:
    beat(settings, "host:11", accepted=1_000_000, refused={"INFO": 3}, to_mail={"median_ms": 1.0, "p99_ms": 2.0})

    page = await scrape(app, [] if accept is None else [(b"accept", accept.encode("latin-1"))])

    assert page.status == 200
    assert page.headers["Content-Type"].startswith(content_type)
    parse = open_metrics if content_type.startswith("application") else prometheus_text
    read = [sample for family in parse(page.text) for sample in family.samples]
    assert len(read) == len([line for line in page.text.splitlines() if not line.startswith("#")]) > 20
    assert {sample.name.partition("_")[0] for sample in read} == {"quartblog"}


async def test_two_accept_headers_are_one_list(app: Quart) -> None:
    page = await scrape(app, [(b"accept", b"text/html"), *OPEN_METRICS])

    assert page.headers["Content-Type"].startswith("application/openmetrics-text")


async def test_the_head_is_that_of_the_page(app: Quart) -> None:
    page = await scrape(app, method="HEAD")

    assert page.status == 200
    assert page.headers["Content-Type"].startswith("application/openmetrics-text")
    assert (await scrape(app, method="HEAD", client=ELSEWHERE)).status == 404


async def test_no_cookie_no_cache_and_no_statement(app: Quart, statements: list[str]) -> None:
    page = await scrape(app)

    assert "Set-Cookie" not in page.headers
    assert page.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert statements == []


@pytest.mark.sqlite
async def test_it_answers_without_the_blogs_database(app: Quart, database: Database, tmp_path: Path) -> None:
    await database.close()
    file = tmp_path / "quartblog.sqlite3"
    file.rename(file.with_suffix(".kept"))
    file.mkdir()

    assert samples(await scrape(app))["outbox_usable",] == 1


# Who may read


def header(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode("ascii"), value.encode("latin-1")


@pytest.mark.parametrize("client", [HERE, ("127.8.9.10", 1), ("::1", 1), ("::ffff:127.0.0.1", 1)])
@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000"])
async def test_without_a_token_this_machine_may_read(app: Quart, client: tuple[str, int], host: str) -> None:
    assert (await scrape(app, [header("host", host)], client=client)).status == 200


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        (ELSEWHERE, []),
        (("10.0.0.1", 1), []),
        (("::ffff:10.0.0.1", 1), []),
        (("localhost", 1), []),
        (("", 1), []),
        (None, []),
        # A proxy that no setting declares trusted: anybody may be behind it, and the header proves nothing.
        (HERE, [header("x-forwarded-for", "203.0.113.9")]),
        (HERE, [header("x-forwarded-for", "127.0.0.1")]),
        (HERE, [header("forwarded", "for=127.0.0.1")]),
        (HERE, [header("x-real-ip", "127.0.0.1")]),
        (HERE, [header("via", "1.1 proxy")]),
        (HERE, [header("x-forwarded-proto", "https")]),
        # A name that leads here: from a proxy that passes it on, or from a page in a browser on this machine.
        (HERE, [header("host", "blog.example.org")]),
        (HERE, [header("host", "127.0.0.1.example.org:5000")]),
        (HERE, [header("host", "")]),
        # A token that nobody has set.
        (ELSEWHERE, [header("authorization", "Bearer ")]),
        (ELSEWHERE, [header("authorization", f"Bearer {TOKEN}")]),
    ],
)
async def test_without_a_token_nobody_else_finds_the_page(
    app: Quart, client: tuple[str, int] | None, headers: RawHeaders
) -> None:
    page = await scrape(app, headers, client=client)

    assert page.status == 404
    assert "网页未找到" in page.text
    assert "quartblog_" not in page.text


@pytest.mark.parametrize(
    ("trusted", "forwarded", "status"),
    [
        (1, "127.0.0.1", 200),
        (1, "::1", 200),
        (1, "203.0.113.9", 404),
        (1, "127.0.0.1, 203.0.113.9", 404),
        (1, "203.0.113.9, 127.0.0.1", 200),
        (1, "127.0.0.1:4711", 404),
        (1, "localhost", 404),
        (1, "", 404),
        (2, "127.0.0.1", 404),
        (2, "127.0.0.1, 10.0.0.1", 200),
        (2, "203.0.113.9, 127.0.0.1", 404),
    ],
)
async def test_behind_trusted_proxies_the_address_that_they_pass_on_counts(
    serve: Serve, trusted: int, forwarded: str, status: int
) -> None:
    app = await serve(security={"trusted_proxies": trusted})
    headers = [header("x-forwarded-for", forwarded), header("host", "blog.example.org")]

    assert (await scrape(app, headers)).status == status


async def test_beside_a_trusted_proxy_a_direct_client_of_this_machine_may_read(serve: Serve) -> None:
    app = await serve(security={"trusted_proxies": 1, "allowed_hosts": ["blog.example.org"]})

    assert (await scrape(app, [header("host", "127.0.0.1:5000")])).status == 200
    assert (await scrape(app, [header("host", "127.0.0.1:5000"), header("via", "1.1 proxy")])).status == 404
    assert (await scrape(app, [header("host", "127.0.0.1:5000")], client=ELSEWHERE)).status == 404


@pytest.mark.parametrize(
    "sent", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER {TOKEN}", f"Bearer  {TOKEN}", f"Bearer {TOKEN} "]
)
@pytest.mark.parametrize("client", [HERE, ELSEWHERE])
async def test_with_the_token_every_address_may_read(serve: Serve, sent: str, client: tuple[str, int]) -> None:
    app = await serve(operations={"metrics_token": TOKEN})
    headers = [header("authorization", sent), header("host", "blog.example.org"), header("x-forwarded-for", "10.0.0.1")]

    assert (await scrape(app, headers, client=client)).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \xe9\xff",
        f"Bearer {'x' * 10_000}",
    ],
)
@pytest.mark.parametrize("client", [HERE, ELSEWHERE])
async def test_with_a_token_set_nobody_reads_without_it(
    serve: Serve, sent: str | None, client: tuple[str, int]
) -> None:
    app = await serve(operations={"metrics_token": TOKEN})

    page = await scrape(app, [] if sent is None else [header("authorization", sent)], client=client)

    assert page.status == 401
    assert page.headers["WWW-Authenticate"].startswith("Bearer ")
    assert "quartblog_" not in page.text


async def test_clients_from_elsewhere_are_one_record_a_minute(app: Quart, log: LogFile) -> None:
    for _ in range(20):
        await scrape(app, client=ELSEWHERE)

    [line] = [line for line in log.text.splitlines() if "Refused to show /metrics" in line]
    assert "INFO: Refused to show /metrics to a client that is not on this machine" in line
    assert log.failures == []


async def test_wrong_tokens_are_one_record_a_minute_and_never_in_it(serve: Serve, settings: Settings) -> None:
    app = await serve(operations={"metrics_token": TOKEN})
    log = LogFile(app, settings.logging.directory / settings.logging.filename)
    for _ in range(20):
        await scrape(app, [header("authorization", "Bearer a-wrong-token-of-somebody")])

    [line] = [line for line in log.text.splitlines() if "Refused to show /metrics" in line]
    assert "to a client with a wrong token: see [operations] metrics_token" in line
    assert "a-wrong-token" not in log.text
    assert TOKEN not in log.text
    assert log.failures == []


# Without the outbox


async def test_an_outbox_that_cannot_be_used_is_said_and_nothing_is_summed(
    app: Quart, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    beat(settings, "host:11", accepted=1_000_000)
    assert samples(await scrape(app))["outbox_usable",] == 1
    path = settings.delivery.outbox
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    path.mkdir()

    found = samples(await scrape(app))

    # A sum of this worker alone would be lower than before, as after a restart.
    assert found == {("build_info", running_release()): 1, ("outbox_usable",): 0}
    path.rmdir()
    assert "cannot be used" in capfd.readouterr().err


async def test_without_its_delivery_it_answers_and_says_so(app: Quart) -> None:
    await asyncio.to_thread(app.extensions[DELIVERY].stop)

    assert samples(await scrape(app))["outbox_usable",] == 0


async def test_a_disk_that_hangs_delays_no_page_and_holds_one_thread(
    app: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "PATIENCE", 0.05)
    hangs = threading.Event()
    totals = Outbox.totals

    def slow(outbox: Outbox) -> object:
        hangs.wait()
        return totals(outbox)

    monkeypatch.setattr(Outbox, "totals", slow)
    try:
        pages: Iterable[Page] = await asyncio.gather(*(scrape(app) for _ in range(5)))

        assert {samples(page)["outbox_usable",] for page in pages} == {0}
        assert samples(await scrape(app))["outbox_usable",] == 0
        assert [thread.name for thread in threading.enumerate()].count("metrics") == 1
    finally:
        hangs.set()
    await asyncio.to_thread(eventually, lambda: not [t for t in threading.enumerate() if t.name == "metrics"])
    assert samples(await scrape(app))["outbox_usable",] == 1


async def test_a_failure_to_read_is_an_error_like_any_other(
    app: Quart, monkeypatch: pytest.MonkeyPatch, log: LogFile
) -> None:
    def broken(_: Outbox) -> object:
        raise sqlite3.IntegrityError("a mistake in the program")

    monkeypatch.setattr(Outbox, "totals", broken)

    page = await scrape(app)

    assert page.status == 500
    assert f"[id {page.headers['X-Error-Id']}]" in log.failure()
