"""The page of the delivery: what its workers do, which mails wait, and the buttons of an administrator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

from quart import Quart

from quartblog.delivery import Percentiles, Statistics
from tests.support.browsing import FROM_OURSELVES, Visitor
from tests.support.failures import Tried, a_message
from tests.support.processes import eventually

if TYPE_CHECKING:
    from quartblog.delivery import Outbox
    from quartblog.models import User
    from quartblog.settings import Settings
    from tests.support.browsing import Serve, SignIn
    from tests.support.log_file import LogFile

PATH = "/operations/delivery"


async def test_only_administrators_see_and_use_the_page(grace: User, app: Quart, sign_in: SignIn) -> None:
    assert (await Visitor(app).get(PATH)).location.startswith("/login")
    member = await sign_in(grace)
    assert (await member.get(PATH)).status == 403
    assert (await member.send("POST", PATH, form={"action": "purge"}, headers=FROM_OURSELVES)).status == 403


async def test_workers_and_mails_are_shown_with_the_servers_words(admin: Visitor, outbox: Outbox) -> None:
    mail = outbox.post(a_message(), ["ops@example.org"])
    outbox.sending.dead(mail, Tried("550 <script>no such user</script>"))
    await asyncio.to_thread(eventually, outbox.workers)

    page = await admin.get(PATH)

    assert "运行中" in page.text
    assert "550 &lt;script&gt;no such user" in page.text
    assert "ops@example.org" in page.text


async def test_dead_mails_are_retried_and_removed(admin: Visitor, outbox: Outbox) -> None:
    first, second = (outbox.post(a_message(), ["ops@example.org"]) for _ in range(2))
    for mail in (first, second):
        outbox.sending.dead(mail, Tried("550 no"))

    assert (await admin.submit(PATH, retry=str(first))).location == PATH
    assert {mail.id: mail.state for mail in outbox.mails()} == {first: "waiting", second: "dead"}
    await admin.submit(PATH, action="purge")
    assert {mail.id for mail in outbox.mails()} == {first}
    await admin.submit(PATH, purge=str(first))
    assert outbox.mails() == []
    await admin.submit(PATH, purge=str(first))
    for wrong in ({}, {"action": "x"}, {"retry": "x"}, {"retry": "-1"}, {"purge": "x"}, {"action": "action"}):
        assert (await admin.submit(PATH, **wrong)).status == 400


async def test_a_mail_that_waited_a_minute_has_its_delay_in_plain_digits(admin: Visitor, outbox: Outbox) -> None:
    figures = Statistics(to_mail=Percentiles(999.6, 58_400.0)).as_dict()
    outbox.heartbeats.beat("a:1", leader=True, figures=figures)

    assert "中位数 1,000，第 99 百分位 58,400 毫秒" in (await admin.get(PATH)).text


async def test_delays_of_the_last_hour_are_those_of_the_slowest_worker(admin: Visitor, outbox: Outbox) -> None:
    fast, slow = Percentiles(1.0, 2.0), Percentiles(3.0, 765.0)
    outbox.heartbeats.beat("a:1", leader=False, figures=Statistics(to_file_minutes=(None, fast, fast)).as_dict())
    outbox.heartbeats.beat("b:1", leader=False, figures=Statistics(to_file_minutes=(slow, None)).as_dict())
    outbox.heartbeats.beat("c:1", leader=False, figures={"of": "an older version"})

    page = await admin.get(PATH)

    assert "中位数 3，第 99 百分位 765 毫秒" in page.text
    assert page.text.count("最近一小时每分钟的中位数和第 99 百分位") >= 3


async def test_records_that_were_refused_are_summed_by_level(admin: Visitor, outbox: Outbox) -> None:
    for worker in ("a:1", "b:1"):
        outbox.heartbeats.beat(worker, leader=False, figures=Statistics(refused={"INFO": 600, "ERROR": 0}).as_dict())

    assert "INFO 1,200" in (await admin.get(PATH)).text


async def test_settings_are_shown_with_their_origin_and_without_secrets(
    admin: Visitor, app: Quart, settings: Settings
) -> None:
    page = await admin.get(PATH)

    assert "window_seconds" in page.text
    assert f"&#34;{settings.delivery.outbox}&#34;" in page.text
    assert str(app.secret_key) not in page.text


async def test_without_a_mail_server_a_test_mail_is_refused_in_words(admin: Visitor, outbox: Outbox) -> None:
    await admin.submit(PATH, action="try-mail")

    assert "没有设置邮件服务器" in (await admin.get(PATH)).text
    assert outbox.mails() == []


async def test_a_test_error_is_logged_and_names_who_asked(admin: Visitor, log: LogFile) -> None:
    await admin.submit(PATH, action="try-out")

    assert "A test error, which ada asked for" in log.failure()
    page = await admin.get("/operations/errors")
    assert ">A test error, which ada asked for</a>" in page.text
    assert "%s" not in page.text


async def test_the_page_loads_itself_again_on_request(admin: Visitor) -> None:
    assert (await admin.get(f"{PATH}?refresh=5")).headers["Refresh"] == "5"
    assert "Refresh" not in (await admin.get(PATH)).headers
    assert "Refresh" not in (await admin.get(f"{PATH}?refresh=0;url=//evil")).headers


async def test_no_secret_of_any_setting_is_shown(serve: Serve, admin: Visitor, app: Quart) -> None:
    secret = "hunter2-\"'<&"
    written = quote(secret, safe="")
    changed = await serve(
        mail={"server": "127.0.0.1", "admins": ["ops@example.org"], "username": "ops", "password": secret},
        security={"secret_key_fallbacks": [f"{secret}, an old key of the site, long enough"]},
        operations={"metrics_token": "hunter2-metrics-token"},
        forwarding={"sentry_dsn": f"https://{written}@sentry.example.org/1", "otlp_headers": [f"x-key: {secret}"]},
    )
    operator = Visitor(changed)
    for cookie in admin.client.cookie_jar or ():
        operator.set_cookie(cookie.name, cookie.value or "")

    page = await operator.get(PATH)

    assert page.status == 200
    assert "ops@example.org" in page.text
    assert "hunter2" not in page.text
    assert str(changed.secret_key) not in page.text
