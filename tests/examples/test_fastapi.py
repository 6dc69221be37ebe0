"""The FastAPI program beside a copy of the folder: one id from the page to the mail, under its own name alone."""

from __future__ import annotations

import re
import signal
import textwrap
from typing import TYPE_CHECKING

import quartblog.delivery
from tests.support.client import Client
from tests.support.processes import eventually

from .conftest import HERE

if TYPE_CHECKING:
    import subprocess

    from .conftest import Project

PROGRAM = (HERE / "shop.py").read_text("utf-8")
THREADS = """
import threading
api.get("/threads")(lambda: [thread.name for thread in threading.enumerate()])
"""


def served(project: Project) -> tuple[subprocess.Popen[str], Client]:
    """Serve the program, with a page that lists its threads, on a port that is free."""
    assert "port=8000" in PROGRAM
    source = PROGRAM.replace("port=8000", "port=0")
    project.add("shop.py", source.replace("\nif __name__", f"{THREADS}\nif __name__"))
    process = project.start("shop.py")

    def address() -> str:
        assert process.poll() is None, process.communicate()
        found = re.search(r"Uvicorn running on (http://127\.0\.0\.1:\d+)", project.log("shop.log"))
        return found[1] if found else ""

    return process, Client(eventually(address))


def test_the_folders_docstring_shows_this_program() -> None:
    source = PROGRAM[PROGRAM.index("from contextlib") :]

    assert textwrap.indent(source, "    ") in (quartblog.delivery.__doc__ or "")


def test_page_header_log_and_mail_have_the_same_id(project: Project) -> None:
    process, visitor = served(project)

    answer = visitor.get("/orders/4711?coupon=spring-sale", Cookie="basket=three-pears")

    [mail] = project.mail_server.wait_for(1)
    threads = visitor.get("/threads").text
    process.send_signal(signal.SIGTERM)
    output = "".join(process.communicate(timeout=60))
    error_id = answer.headers["X-Error-Id"]
    log = project.log("shop.log")
    assert (answer.status, answer.text) == (500, f"<p>Sorry. The error id is {error_id}.</p>")
    assert f"[id {error_id}]" in log
    assert log.count("Traceback") == 1
    assert error_id in mail.text
    assert "GET /orders/{number}" in mail.text
    assert "LookupError: There is no order [redacted]" in mail.text
    assert "Shop" in mail.subject
    assert "delivery-mailer" in threads
    assert not [text for text in (log, mail.text) for sent in ("4711", "spring-sale", "three-pears") if sent in text]
    assert output == ""
    project.assert_neutral(threads, output)


def test_all_records_of_a_request_have_its_id(project: Project) -> None:
    process, visitor = served(project)

    first, second = (visitor.get(f"/orders/{number}").headers["X-Error-Id"] for number in (4711, 4712))

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    # The failure, and the line of the access log.
    assert [project.log("shop.log").count(error_id) for error_id in (first, second)] == [2, 2]
