"""A server that is away, refuses, hangs or redirects delays nothing, and what it does not take is counted."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from quartblog.forwarding import forwarding_sinks, sink
from quartblog.operations.health import DELIVERY
from tests.forwarding.conftest import KEY, TOKEN, Destination
from tests.support.browsing import Visitor
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from quartblog.delivery import Delivery
    from tests.support.browsing import Configuration, Serve

logger = logging.getLogger("tests.forwarding.app")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a collector that is away be asked again for less than the usual five seconds."""
    if find_spec("opentelemetry") is not None:
        monkeypatch.setattr("quartblog.forwarding.otlp.TIMEOUT", 0.5)


def losses(text: str, destination: Destination) -> int:
    """How often stderr reports that this destination has lost a record."""
    name = {"sentry": "Sentry", "otlp": "OpenTelemetry"}[destination.kind]
    return text.count(f"the sink {name} at 127.0.0.1 failed, the other sinks go on: NotTaken: ")


@pytest.mark.parametrize("status", [400, 403, 413, 429, 500, 503])
def test_a_refused_record_is_counted_and_reported_once(
    forward: Callable[[Destination], Delivery],
    destination: Destination,
    log_file: Path,
    capsys: pytest.CaptureFixture[str],
    status: int,
) -> None:
    destination.server.status = status
    delivery = forward(destination)
    for number in range(3):
        logger.error("number %d", number)
    assert delivery.drain(20)

    assert delivery.statistics().dropped == 3
    report = capsys.readouterr().err
    assert losses(report, destination) == 1
    assert f"answered {status}" in report
    assert KEY not in report
    # What the libraries would log of each loss.
    lines = log_file.read_text().splitlines()
    assert [line for line in lines if "WARNING" in line] == []
    assert [line.count("number") for line in lines if "ERROR" in line] == [1, 1, 1]


def test_a_server_that_is_away_is_counted_and_reported_once(
    forward: Callable[[Destination], Delivery],
    destination: Destination,
    log_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    logging.getLogger("urllib3.connectionpool").setLevel(logging.DEBUG)
    delivery = forward(destination)
    destination.server.stop()
    for number in range(2):
        logger.error("number %d", number)
    assert delivery.drain(20)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.NOTSET)

    assert delivery.statistics().dropped == 2
    assert delivery.statistics().written >= 2
    assert delivery.outbox is not None
    assert [group.count for group in delivery.outbox.groups()] == [2]
    report = capsys.readouterr().err
    assert losses(report, destination) == 1
    assert "NotTaken: no answer" in report
    assert KEY not in report
    assert "urllib3" not in log_file.read_text()


def test_a_server_that_is_back_gets_the_next_record_and_another_report_follows(
    forward: Callable[[Destination], Delivery], destination: Destination, capsys: pytest.CaptureFixture[str]
) -> None:
    delivery = forward(destination)
    for status in (500, 200, 500):
        destination.server.status = status
        logger.error("while it is %d", status)
        assert delivery.drain()

    assert delivery.statistics().dropped == 2
    assert losses(capsys.readouterr().err, destination) == 2


def test_a_server_that_hangs_delays_no_other_sink_and_no_stop(
    forward: Callable[[Destination], Delivery],
    destination: Destination,
    log_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if destination.kind == "otlp":
        monkeypatch.setattr("quartblog.forwarding.otlp.TIMEOUT", 5)
    destination.server.hanging = True
    delivery = forward(destination)
    logger.error("number 0")
    assert destination.server.entered.wait(5)
    for number in range(1, 50):
        logger.error("number %d", number)
    assert eventually(lambda: log_file.exists() and log_file.read_text().count("ERROR: number") == 50)

    began = time.monotonic()
    assert not delivery.stop()
    assert time.monotonic() - began < 2.5
    assert len(destination.server.posts) == 1
    name = {"sentry": "Sentry", "otlp": "OpenTelemetry"}[destination.kind]
    told = f"the sink {name} at 127.0.0.1 did not return in time and was left behind, with 49 records that wait for it"
    assert told in capsys.readouterr().err


async def test_a_server_that_hangs_delays_no_page(
    configuration: Configuration, serve: Serve, destination: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination.server.hanging = True
    configuration["forwarding"] = destination.section
    app = await serve()
    visitor = Visitor(app)
    began = time.monotonic()
    for _ in range(20):
        assert (await visitor.get("/errors/rehearsal")).status == 500
    took = time.monotonic() - began

    assert destination.server.entered.wait(5)
    assert took < 3
    assert app.extensions[DELIVERY].outbox.totals().errors <= 20


def test_a_flood_is_bounded_and_what_does_not_fit_is_counted(
    forward: Callable[[Destination], Delivery], destination: Destination
) -> None:
    destination.server.hanging = True
    delivery = forward(destination)
    logger.error("number 0")
    assert destination.server.entered.wait(5)
    for number in range(1, 1_201):
        logger.error("number %d", number)

    assert eventually(lambda: delivery.statistics().written >= 1_201)
    # A thousand wait for the server that hangs; one or two have been given up.
    assert delivery.statistics().dropped >= 190


def test_a_redirect_is_a_loss(
    forward: Callable[[Destination], Delivery], otlp: Destination, capsys: pytest.CaptureFixture[str]
) -> None:
    otlp.server.status = 301
    otlp.server.headers["Location"] = "https://elsewhere.example/"
    delivery = forward(otlp)
    logger.error("it failed")
    assert delivery.drain(20)

    assert delivery.statistics().dropped == 1
    assert "the collector answered 301" in capsys.readouterr().err


def test_what_a_collector_rejects_is_a_loss(
    forward: Callable[[Destination], Delivery], otlp: Destination, capsys: pytest.CaptureFixture[str]
) -> None:
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2  # noqa: PLC0415  it may be missing

    partly = logs_service_pb2.ExportLogsPartialSuccess(rejected_log_records=1, error_message="no")
    otlp.server.answer = logs_service_pb2.ExportLogsServiceResponse(partial_success=partly).SerializeToString()
    delivery = forward(otlp)
    logger.error("it failed")
    assert delivery.drain(20)

    assert delivery.statistics().dropped == 1
    assert "the collector has rejected it" in capsys.readouterr().err


def test_a_pause_that_sentry_asks_for_is_kept_and_counted(
    forward: Callable[[Destination], Delivery], sentry: Destination, capsys: pytest.CaptureFixture[str]
) -> None:
    sentry.server.headers["X-Sentry-Rate-Limits"] = "60:error:organization"
    delivery = forward(sentry)
    logger.error("taken")
    logger.error("in the pause")
    assert delivery.drain(20)

    assert sentry.messages() == ["taken"]
    assert delivery.statistics().dropped == 1
    assert "the server has asked for a pause" in capsys.readouterr().err


def test_the_program_may_log_through_the_same_libraries(
    forward: Callable[[Destination], Delivery], destination: Destination, log_file: Path
) -> None:
    delivery = forward(destination)
    for name in sink.LIBRARIES:
        # The exporter's logger suppresses a message that repeats.
        logging.getLogger(name).warning(f"{name} beside {destination.kind}")  # noqa: G004
    assert delivery.drain()

    # The library of Sentry itself shows nothing outside of its debug mode.
    shown = [name for name in sink.LIBRARIES if f"{name} beside {destination.kind}" in log_file.read_text()]
    assert set(sink.LIBRARIES) - set(shown) <= {"sentry_sdk.errors"}


def test_a_sink_says_where_it_sends_without_a_key(sentry: Destination, otlp: Destination) -> None:
    for destination in (sentry, otlp):
        [made] = forwarding_sinks(destination.options)
        shown = f"{made!r} {destination.options!r}"
        assert "127.0.0.1" in repr(made)
        assert KEY not in shown
        assert TOKEN not in shown


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_connection_of_its_own(destination: Destination, tmp_path: Path) -> None:
    program = (
        "import os, sys, logging\n"
        "from quartblog.delivery import Delivery, FileOptions\n"
        "from quartblog.forwarding import ForwardingOptions, forwarding_sinks\n"
        f"options = ForwardingOptions(sentry_dsn={destination.options.sentry_dsn!r},"
        f" otlp_endpoint={destination.options.otlp_endpoint!r}, release='7.1')\n"
        "delivery = Delivery(file=FileOptions(path=sys.argv[1]), extra_sinks=forwarding_sinks(options))\n"
        "delivery.start()\n"
        "logging.error('before')\n"
        "assert delivery.drain()\n"
        "if (child := os.fork()) == 0:\n"
        "    logging.error('by the child')\n"
        "    assert delivery.drain()\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "logging.error('after')\n"
        "assert delivery.drain()\n"
    )
    run(program, tmp_path)

    assert destination.messages() == ["before", "by the child", "after"]


def test_the_libraries_change_nothing_in_the_program_and_do_not_delay_its_end(
    destination: Destination, tmp_path: Path
) -> None:
    destination.server.hanging = True
    program = (
        "import logging, sys, threading\n"
        "from quartblog.delivery import Delivery, FileOptions\n"
        "from quartblog.forwarding import ForwardingOptions, forwarding_sinks\n"
        "before = (sys.excepthook, threading.excepthook, logging.Logger.callHandlers, threading.Thread.start)\n"
        f"options = ForwardingOptions(sentry_dsn={destination.options.sentry_dsn!r},"
        f" otlp_endpoint={destination.options.otlp_endpoint!r}, release='7.1')\n"
        "[sink] = forwarding_sinks(options)\n"
        "sink.connect()\n"
        "after = (sys.excepthook, threading.excepthook, logging.Logger.callHandlers, threading.Thread.start)\n"
        "assert before == after\n"
        "assert threading.enumerate() == [threading.main_thread()]\n"
        "assert logging.root.handlers == []\n"
        "delivery = Delivery(file=FileOptions(path=sys.argv[1]), extra_sinks=[sink])\n"
        "delivery.start()\n"
        "logging.error('it failed')\n"
        "assert not delivery.drain(0.5)\n"
        "names = {thread.name for thread in threading.enumerate()}\n"
        "assert not [name for name in names if 'entry-sdk' in name or 'Otel' in name], names\n"
    )
    took = run(program, tmp_path)

    assert took < 8
    assert len(destination.server.posts) == 1


def run(program: str, folder: Path) -> float:
    """Run the program with the path of a log file, and return how many seconds it took."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", program, str(folder / "site.log")],
        check=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return time.monotonic() - began
