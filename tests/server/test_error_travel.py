"""One failure on its way: the page, the header, the file and the mail, from two real workers."""

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime

import pytest

from tests.support.processes import Servers, eventually
from tests.support.smtp import MailServer, dead_server, silent_server

pytestmark = pytest.mark.server

APOLOGY = "已通知管理员，给您带来的不便，请多多原谅"
REHEARSAL: dict[str, object] = {"rehearsal_route": True}


def test_one_failure_has_one_id_in_page_header_file_and_mail(servers: Servers, mail_server: MailServer) -> None:
    folder = servers.site(mail=mail_server.settings, errors=REHEARSAL)
    server = servers.quartblog(folder)
    visitor = server.client()
    visitor.register("ada")
    visitor.sign_in("ada")

    page = visitor.send("PATCH", "/errors/rehearsal/somewhere")

    error_id = page.headers["X-Error-Id"]
    assert page.status == 500
    assert APOLOGY in page.text
    assert f"<code>{error_id}</code>" in page.text
    [mail] = mail_server.wait_for(1)
    assert server.stop() == 0
    assert mail_server.mails == [mail], "one failure is one mail"
    assert mail.recipients == ("ada@example.org", "grace@example.org")
    assert "博客异常" in mail.subject
    assert parsedate_to_datetime(mail.message["Date"]).tzinfo is not None
    assert re.fullmatch(r"<\S+@example\.org>", mail.message["Message-ID"])
    assert error_id in mail.text
    assert "PATCH /errors/rehearsal/<path:below>, user 1\n" in mail.text
    assert "Traceback (most recent call last):" in mail.text
    assert "quartblog.errors.rehearsal.Rehearsal: " in mail.text
    [line] = [line for line in server.log.splitlines() if error_id in line]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ERROR: .* \[in .*:\d+\] \[id " + error_id + r"\]", line)


def test_a_mail_server_that_takes_its_time_delays_no_answer(servers: Servers) -> None:
    with MailServer(holding=True) as mail_server:
        server = servers.quartblog(servers.site(mail=mail_server.settings, errors=REHEARSAL), workers=1)
        visitor = server.client()

        failed = visitor.get("/errors/rehearsal")
        mail_server.wait_until_held()
        others = [visitor.get("/").status for _ in range(20)]
        failed_again = visitor.get("/errors/rehearsal")

        assert mail_server.mails == [], "every answer came before the mail server had finished its first mail"
        assert (failed.status, failed_again.status) == (500, 500)
        assert others == [200] * 20
        mail_server.release()
        first, second = mail_server.wait_for(2)
        assert failed.headers["X-Error-Id"] in first.text
        assert failed_again.headers["X-Error-Id"] in second.text


@pytest.mark.parametrize(
    ("unusable_server", "reason"),
    [(dead_server, "refused the connection"), (silent_server, "did not finish within")],
    ids=["dead", "silent"],
)
def test_an_unusable_mail_server_is_a_line_in_the_file_and_nothing_else(
    servers: Servers, unusable_server: Callable[[], AbstractContextManager[int]], reason: str
) -> None:
    with unusable_server() as port:
        mail: dict[str, object] = {"server": "127.0.0.1", "port": port, "admins": ["ada@example.org"], "timeout": 1.0}
        server = servers.quartblog(servers.site(mail=mail, errors=REHEARSAL), workers=1)

        failed = server.client().get("/errors/rehearsal")
        home = server.client().get("/")

        assert (failed.status, home.status) == (500, 200)
        eventually(lambda: reason in server.log)
        assert server.stop() == 0
    assert server.log.count(" ERROR: ") == 1, "a mail that fails is no error of its own"
    assert failed.headers["X-Error-Id"] in server.log


def test_two_workers_share_one_log_that_rotates_under_load(servers: Servers) -> None:
    kept: dict[str, object] = {"max_bytes": 20_000, "backup_count": 1000}
    server = servers.quartblog(servers.site(logging=kept, errors=REHEARSAL))

    with ThreadPoolExecutor(8) as visitors:
        pages = list(visitors.map(lambda _: server.client().get("/errors/rehearsal"), range(300)))

    assert server.stop() == 0
    answered = Counter(page.headers["X-Error-Id"] for page in pages)
    assert len(answered) == 300
    files = list((server.folder / "logs").glob("microblog.log*"))
    assert len(files) > 5
    records = re.split(r"^(?=\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} )", server.log, flags=re.MULTILINE)
    errors = [record for record in records if " ERROR: " in record]
    assert Counter(re.search(r"\[id (\w+)\]$", error, re.MULTILINE)[1] for error in errors) == answered  # type: ignore[index]
    assert len({re.sub(r"\A.*\n", "", error) for error in errors}) == 1, "every traceback is whole"


def test_debug_mode_shows_the_traceback_and_sends_no_mail(servers: Servers, mail_server: MailServer) -> None:
    folder = servers.site(mail=mail_server.settings, errors=REHEARSAL)
    server = servers.quartblog(folder, "--debug", workers=1)

    page = server.client().get("/errors/rehearsal")

    assert page.status == 500
    assert "traceback" in page.text
    assert "Rehearsal" in page.text
    assert APOLOGY not in page.text
    # What the developer sees is recorded as usual; nothing would be mailed, whatever fails.
    eventually(lambda: page.headers["X-Error-Id"] in server.log)
    assert "no mail is sent" in server.log
    assert "Debug is on" in server.log
    assert server.stop() == 0
    assert mail_server.mails == []
