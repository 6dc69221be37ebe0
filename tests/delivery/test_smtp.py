"""One session with a real server: what it said, or why not, in one sentence."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import MailOptions
from quartblog.delivery.mail.connect import PATIENCE
from quartblog.delivery.mail.message import wire_form
from quartblog.delivery.mail.smtp import MailFailed, send
from quartblog.delivery.tools import new_message
from tests.support import programs
from tests.support.smtp import MailServer, OldFashioned, Particular, scripted

from .conftest import ADMINS, CERTIFICATES

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path


ENDS_WHILE_DNS_HANGS = """
import logging, socket, threading
from quartblog.delivery import Delivery, MailOptions
asked = threading.Event()
def hang(*_, **__):
    asked.set()
    threading.Event().wait()
socket.getaddrinfo = hang
mail = MailOptions(server="mail.example.org", sender="a@example.org", admins=("b@example.org",), timeout=60)
delivery = Delivery(mail=mail)
delivery.start()
logging.getLogger("app").error("failed")
assert asked.wait(30)
print("asked", flush=True)
"""


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port that answers no further connection, as a firewall that swallows packets."""
    with socket.socket() as listening, ExitStack() as callers:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        for _ in range(4):
            caller = callers.enter_context(socket.socket())
            caller.settimeout(0)
            caller.connect_ex(("127.0.0.1", port))
        yield port


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def failed(options: MailOptions) -> MailFailed:
    with pytest.raises(MailFailed) as caught:
        await send(new_message(options, "subject", "text"), options)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_what_the_server_said_is_returned(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(accepting_server)
    receipt = await send(new_message(options, "主题", "内容"), options)

    assert receipt.answer == "taken"
    assert receipt.refused == {}
    [mail] = accepting_server.messages
    assert mail["Subject"] == "主题"
    assert mail.get_content().rstrip("\r\n") == "内容"
    assert accepting_server.recipients == [list(ADMINS)]


async def test_a_display_name_does_not_reach_the_envelope(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(accepting_server, admins=("Ada <ada@example.org>",), sender="博 <a@b.org>")
    await send(new_message(options, "subject", "text"), options)

    assert accepting_server.recipients == [["ada@example.org"]]


async def test_one_refused_recipient_does_not_cost_the_others_their_mail(
    server_without_grace: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(server_without_grace)
    receipt = await send(new_message(options, "subject", "text"), options)

    assert receipt.refused == {"grace@example.org": "550 nobody of this name"}
    assert server_without_grace.recipients == [["ada@example.org", "linus@example.org"]]


async def test_nobody_accepted_is_a_failure(
    server_without_grace: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(server_without_grace, admins=("grace@example.org",)))

    assert "refused every recipient: grace@example.org: 550 nobody of this name" in str(error)
    assert error.permanent


async def test_a_temporary_refusal_may_be_tried_again(
    server_that_says_later: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(server_that_says_later))

    assert "refused the mail: 451 come back later" in str(error)
    assert not error.permanent


async def test_a_permanent_refusal_may_not(
    server_that_says_never: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(server_that_says_never))

    assert "refused the mail: 554 we do not want this" in str(error)
    assert error.permanent


LATER, NEVER, TOO_BIG = "later", "never", "too big"
MEANINGS = [
    ("451 come back later", LATER),
    ("450 4.7.1 greylisted", LATER),
    ("554 we do not want this", NEVER),
    ("550 5.1.1 nobody of this name, try again later", NEVER),
    ("550 5.4.5 Daily user sending limit exceeded", LATER),
    ("550-5.4.5 Daily user sending limit exceeded. For more information go to\r\n550 5.4.5 a page", LATER),
    ("550 4.7.1 policy", LATER),
    ("550 5.2.2 mailbox full", LATER),
    ("552 5.2.2 over quota", LATER),
    ("554 5.3.2 not accepting messages", LATER),
    ("550 5.7.1 Daily SMTP relay sending limit exceeded", LATER),
    ("550 5.7.1 relaying denied", NEVER),
    ("550 5.7.0 too many messages from you", LATER),
    ("550 #5.7.28 a flood", LATER),
    ("550 5.7.705 tenant has exceeded threshold", LATER),
    ("550 5.7.26 unauthenticated mail", NEVER),
    ("550 you exceeded your hourly quota", LATER),
    ("550 10.5.4.5 is on a list", NEVER),
    ("550 5.5.4.5 is on a list", NEVER),
    ("550 5.7.1. The relay is full at a rate of 9 a minute", LATER),
    ("550 5.1.1. The rate does not matter", NEVER),
    ("550 Postfix 5.2.2 does not want this", NEVER),
    ("550 Postfix 5.1.1 is busy, come back later", LATER),
    ("550 over quota (Postfix 5.1.1)", LATER),
    ("553 sorry, no mailbox here by that name, a limit or not (#5.1.1)", NEVER),
    ("554 sorry, mailbox is over its space (#5.2.2)", LATER),
    ("550 Connection frequency limited", LATER),
    ("550 the frequency of your connections", LATER),
    ("550 20 mails per hour were accepted", LATER),
    ("550 excessive number of mails", LATER),
    ("550 the server is busy", LATER),
    ("550 the server is overloaded", LATER),
    ("550 greylisted", LATER),
    ("550 unlimited nonsense, see our frequently asked questions", NEVER),
]
CHINESE = [
    ("550 您的发送频率过高", LATER),
    ("550 超过限制", LATER),
    ("554 当天邮件数量已达上限", LATER),
    ("550 请稍后再试", LATER),
    ("550 5.7.1 请稍候", LATER),
    ("550 该IP被临时禁止连接", LATER),
    ("550 系统繁忙", LATER),
    ("550 发送过于频繁", LATER),
    ("552 邮箱空间已满", LATER),
    ("550 用户邮箱已满", LATER),
    ("550 5.1.1 用户不存在, 请稍后再试", NEVER),
    ("550 用户不存在", NEVER),
    ("554 邮件内容被拒绝", NEVER),
]
CHINESE_SIZES = [("552 邮件大小超过限制", TOO_BIG), ("550 邮件过大, 超过限制", TOO_BIG)]


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        *MEANINGS,
        ("552 exceeds the maximum message size", TOO_BIG),
        ("552 5.3.4 message size", TOO_BIG),
        ("550 5.2.3 too long for this mailbox", TOO_BIG),
        ("550 message size exceeds the limit", TOO_BIG),
        ("552 5.7.0 blocked for its content", NEVER),
    ],
)
async def test_what_a_refusal_of_the_mail_means(answer: str, meaning: str, mail_to: Callable[..., MailOptions]) -> None:
    with MailServer(answer) as server:
        error = await failed(mail_to(server))

    assert (error.permanent, error.too_big) == (meaning != LATER, meaning == TOO_BIG)
    assert not error.unavailable


@pytest.mark.parametrize(
    ("answer", "meaning"), [*MEANINGS, ("552 too many recipients", LATER), ("550 5.5.3 too many recipients", LATER)]
)
async def test_what_a_refusal_of_a_recipient_means(
    answer: str, meaning: str, mail_to: Callable[..., MailOptions]
) -> None:
    with MailServer(refusing=dict.fromkeys(ADMINS, answer)) as server:
        error = await failed(mail_to(server))

    assert error.permanent is (meaning == NEVER)
    assert set(error.final) == (set(ADMINS) if meaning == NEVER else set())


@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
@pytest.mark.parametrize(("answer", "meaning"), [*CHINESE, *CHINESE_SIZES])
async def test_what_a_refusal_of_the_mail_in_chinese_means(
    charset: str, answer: str, meaning: str, mail_to: Callable[..., MailOptions]
) -> None:
    with MailServer(scripted({".": [answer.encode(charset)]})) as server:
        error = await failed(mail_to(server))

    assert answer in str(error)
    assert (error.permanent, error.too_big) == (meaning != LATER, meaning == TOO_BIG)


@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
@pytest.mark.parametrize(("answer", "meaning"), CHINESE)
async def test_what_a_refusal_of_a_recipient_in_chinese_means(
    charset: str, answer: str, meaning: str, mail_to: Callable[..., MailOptions]
) -> None:
    with MailServer(scripted({"RCPT": ["250 OK", answer.encode(charset)]})) as server:
        options = mail_to(server)
        receipt = await send(new_message(options, "subject", "text"), options)

    assert receipt.refused == dict.fromkeys(ADMINS[1:], answer)
    assert set(receipt.final) == (set(ADMINS[1:]) if meaning == NEVER else set())


@pytest.mark.parametrize(
    "script",
    [
        {"RCPT": ["251 user not local; will forward"]},
        {"RCPT": ["252 cannot verify, but will try"]},
        {"MAIL": ["251 fine"], "RCPT": ["200 fine"]},
        {".": ["251 will forward"]},
        {".": ["200 fine"]},
    ],
)
async def test_every_reply_of_success_is_one(script: dict[str, list[str]], mail_to: Callable[..., MailOptions]) -> None:
    with MailServer(scripted(script)) as server:
        options = mail_to(server)
        receipt = await send(new_message(options, "subject", "text"), options)

    assert receipt.refused == {}
    assert receipt.answer == script.get(".", ["250 OK"])[0][4:]


async def test_a_server_that_does_not_ask_for_the_mail_has_not_accepted_it(
    mail_to: Callable[..., MailOptions],
) -> None:
    with MailServer(scripted({"DATA": ["250 nothing asked for"]})) as server:
        error = await failed(mail_to(server))

    assert "250 nothing asked for" in str(error)
    assert not error.permanent


@pytest.mark.parametrize(
    "script",
    [
        {"banner": ["421 away"]},
        {"EHLO": ["421 away"]},
        {"MAIL": ["421 away"]},
        {"RCPT": ["421 away"]},
        {"RCPT": ["250 OK", "421 away"]},
        {"RCPT": ["250 OK", "250 OK", "421 away"]},
        {"RCPT": ["550 5.1.1 unknown", "550 5.1.1 unknown", "421 away"]},
        {"RCPT": ["250 OK", "550 5.1.1 unknown", "421 away"]},
        {"DATA": ["421 away"]},
        {"RCPT": ["550 5.1.1 unknown", "250 OK"], "DATA": ["421 away"]},
        {"RCPT": ["550 5.1.1 unknown", "250 OK"], ".": ["421 away"]},
    ],
)
async def test_a_server_that_goes_away_in_a_session_has_refused_nobody(
    script: dict[str, list[str]], mail_to: Callable[..., MailOptions]
) -> None:
    with MailServer(scripted(script)) as server:
        error = await failed(mail_to(server))

    assert "421 away" in str(error)
    assert (error.unavailable, error.permanent, error.too_big) == (True, False, False)
    assert error.refused == {}


async def test_a_server_that_refuses_the_sender_is_tried_again_because_it_would_refuse_every_mail(
    mail_to: Callable[..., MailOptions],
) -> None:
    with MailServer(scripted({"MAIL": ["550 5.7.1 not your address"]})) as server:
        error = await failed(mail_to(server))

    assert "550 5.7.1 not your address" in str(error)
    assert error.unavailable


async def test_a_server_that_finds_the_mail_too_long_before_it_has_it_is_not_away(
    mail_to: Callable[..., MailOptions],
) -> None:
    with MailServer(scripted({"MAIL": ["552 5.3.4 too big"]})) as server:
        error = await failed(mail_to(server))

    assert (error.unavailable, error.too_big) == (False, True)


@pytest.mark.parametrize("where", ["MAIL", "RCPT", "DATA"])
async def test_a_server_that_wants_a_password_first_has_refused_nobody(
    where: str, mail_to: Callable[..., MailOptions]
) -> None:
    with MailServer(scripted({where: ["530 5.7.0 Authentication required"]})) as server:
        error = await failed(mail_to(server))

    assert "530 5.7.0 Authentication required" in str(error)
    assert error.unavailable
    assert error.refused == {}


@pytest.mark.parametrize(
    "size",
    ["", " ", "SIZE", "-1", "0", "1.5", "1e2", "1_0", "\u0663", "300 bytes", "9" * 21, "9" * 5_000, "0" * 4_999 + "1"],
    ids=lambda size: size[:8],
)
async def test_a_size_that_is_no_number_is_no_bound(size: str, mail_to: Callable[..., MailOptions]) -> None:
    with MailServer(scripted({"EHLO": [f"250-mail.example.org\r\n250 SIZE {size}"]})) as server:
        options = mail_to(server)
        receipt = await send(new_message(options, "subject", "text"), options)

    assert receipt.refused == {}


async def test_a_mail_above_the_size_a_server_announces_is_not_even_sent(mail_to: Callable[..., MailOptions]) -> None:
    with MailServer(data_size_limit=300) as server:
        error = await failed(mail_to(server))

    assert "takes 300 bytes at most" in str(error)
    assert (error.permanent, error.too_big, error.unavailable) == (True, True, False)


async def test_a_server_that_hangs_up_is_a_failure(
    server_that_hangs_up: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(server_that_hangs_up))

    assert "hung up" in str(error)
    assert not error.permanent


@pytest.mark.parametrize("which", ["silent_server", "slow_server"])
async def test_one_timeout_bounds_the_whole_session(
    which: str, request: pytest.FixtureRequest, mail_to: Callable[..., MailOptions]
) -> None:
    started = time.monotonic()
    error = await failed(mail_to(request.getfixturevalue(which), timeout=0.2))

    assert "did not finish within 0.2 s" in str(error)
    assert time.monotonic() - started < 5


async def test_the_timeout_holds_where_the_program_is_busy_while_it_passes(
    server_that_stops_reading: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(server_that_stops_reading, timeout=0.2)
    loop = asyncio.get_running_loop()

    def keep_busy() -> None:
        # Answer and timeout then come at once, and on Python 3.11 `asyncio.wait_for` would lose the timeout.
        loop.call_soon(time.sleep, 0.4)

    with pytest.raises(MailFailed, match="did not finish"):
        await asyncio.wait_for(send(new_message(options, "subject", "text"), options, check=keep_busy), 10)


async def test_nobody_listening_is_a_failure(
    closed_port: int, mail_to: Callable[..., MailOptions], accepting_server: MailServer
) -> None:
    error = await failed(mail_to(accepting_server, port=closed_port))

    assert f"127.0.0.1:{closed_port} refused the connection" in str(error)


async def test_an_unknown_name_is_a_failure(
    mail_to: Callable[..., MailOptions], accepting_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = await failed(mail_to(accepting_server, server="mail.example.invalid"))

    assert "its name is unknown (DNS): Name or service not known" in str(error)


async def test_starttls_encrypts_and_signs_in(
    starttls_server: MailServer, trusted_authority: None, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(starttls_server, tls="starttls", username="ada", password="lovelace")
    await send(new_message(options, "subject", "text"), options)

    assert [mail.encrypted for mail in starttls_server.mails] == [True]
    assert starttls_server.logins == [(b"ada", b"lovelace")]


async def test_implicit_tls_encrypts_from_the_first_byte(
    implicit_tls_server: MailServer, trusted_authority: None, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(implicit_tls_server, tls="implicit", server="localhost")
    await send(new_message(options, "subject", "text"), options)

    assert len(implicit_tls_server.messages) == 1


@pytest.mark.parametrize(("which", "tls"), [("starttls_server", "starttls"), ("implicit_tls_server", "implicit")])
async def test_a_certificate_nobody_vouches_for_is_refused(
    which: str, tls: str, request: pytest.FixtureRequest, mail_to: Callable[..., MailOptions]
) -> None:
    server: MailServer = request.getfixturevalue(which)
    error = await failed(mail_to(server, tls=tls, username="ada", password="lovelace"))

    assert "certificate" in str(error)
    assert "(TLS)" in str(error)
    assert server.logins == []


async def test_starttls_that_is_not_offered_is_a_failure_and_nothing_is_sent(
    server_with_password: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(server_with_password, tls="starttls", username="ada", password="lovelace")
    error = await failed(options)

    assert "STARTTLS" in str(error)
    assert server_with_password.logins == []


async def test_plain_text_where_tls_is_expected_is_a_failure(
    accepting_server: MailServer, trusted_authority: None, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(accepting_server, tls="implicit"))

    assert "does not speak TLS here" in str(error)
    assert 'set tls to "starttls" or "none"' in str(error)


async def test_a_server_that_waits_for_plain_text_is_hinted_at(
    silent_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(silent_server, tls="implicit", timeout=0.3))

    assert 'set tls to "starttls" or "none"' in str(error)


@pytest.mark.parametrize("tls", ["none", "starttls"])
@pytest.mark.parametrize("banner", ["554 5.7.1 not for you", "421 too busy", "220 mail.example.org"])
async def test_a_server_that_has_sent_its_banner_does_not_wait_for_tls(
    banner: str, tls: str, mail_to: Callable[..., MailOptions]
) -> None:
    with MailServer(scripted({"banner": [banner], "EHLO": ["421 too busy"]})) as server:
        error = await failed(mail_to(server, tls=tls))

    assert "implicit" not in str(error)


async def test_a_certificate_that_is_refused_shows_that_the_server_speaks_tls(
    implicit_tls_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(implicit_tls_server, tls="implicit"))

    assert "set tls to" not in str(error)


@pytest.mark.parametrize(("which", "tls"), [("starttls_server", "starttls"), ("implicit_tls_server", "implicit")])
async def test_a_private_authority_is_trusted_where_its_certificate_is_given(
    which: str, tls: str, request: pytest.FixtureRequest, mail_to: Callable[..., MailOptions]
) -> None:
    server: MailServer = request.getfixturevalue(which)
    credentials = {"username": "ada", "password": "lovelace"} if which == "starttls_server" else {}
    options = mail_to(server, tls=tls, ca_file=CERTIFICATES / "authority.pem", **credentials)
    await send(new_message(options, "subject", "text"), options)

    assert len(server.messages) == 1


async def test_a_file_of_certificates_that_cannot_be_read_is_named(
    starttls_server: MailServer, mail_to: Callable[..., MailOptions], tmp_path: Path
) -> None:
    error = await failed(mail_to(starttls_server, tls="starttls", ca_file=tmp_path / "gone.pem"))

    assert "gone.pem, cannot be used" in str(error)
    assert error.unavailable


@pytest.mark.parametrize("tls", ["none", "starttls"])
async def test_a_server_that_waits_for_tls_is_hinted_at(
    tls: str, implicit_tls_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(implicit_tls_server, tls=tls, timeout=0.5))

    assert 'set tls to "implicit"' in str(error)


async def test_a_server_that_breaks_tls_off_is_hinted_at(
    server_certificate: ssl.SSLContext, mail_to: Callable[..., MailOptions]
) -> None:
    with MailServer(tls=server_certificate, tls_seconds=0.2) as server:
        error = await failed(mail_to(server))

    assert 'set tls to "implicit"' in str(error)


async def test_tls_is_never_opportunistic(starttls_server: MailServer, mail_to: Callable[..., MailOptions]) -> None:
    error = await failed(mail_to(starttls_server, tls="none"))

    assert "STARTTLS" in str(error)  # The server's own words: it was not upgraded behind our back.
    assert starttls_server.messages == []


async def test_signing_in_on_this_machine_needs_no_tls(
    server_with_password: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(server_with_password, username="ada", password="lovelace")
    await send(new_message(options, "subject", "text"), options)

    assert server_with_password.logins == [(b"ada", b"lovelace")]


async def test_a_wrong_password_is_a_failure_that_does_not_repeat_it(
    server_with_password: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(server_with_password, username="ada", password="byron"))

    assert "did not accept the user name and password: 535" in str(error)
    assert "byron" not in str(error)
    assert error.permanent


async def test_a_password_never_travels_in_the_clear_to_another_host(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(accepting_server, server="mail.example.org", username="a", password="b")
    error = await failed(options)

    assert "in the clear" in str(error)
    assert not accepting_server.connected.is_set()


async def test_a_server_that_echoes_the_password_is_not_quoted(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    import aiosmtplib  # noqa: PLC0415  only to make the server rude

    async def echo(client: Any, *_: object, **__: object) -> None:
        raise aiosmtplib.SMTPResponseException(500, "what is bG92ZWxhY2U= or\r\nlovelace?")

    monkeypatch.setattr(aiosmtplib.SMTP, "login", echo)
    error = await failed(mail_to(accepting_server, username="ada", password="lovelace"))

    assert str(error).endswith("500 what is *** or\\r\\n***?")


async def test_an_address_the_wire_cannot_carry_is_a_failure(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(accepting_server, admins=("微博@example.org",)))

    assert "SMTPUTF8" in str(error)
    assert error.permanent


async def test_an_address_the_wire_cannot_carry_costs_no_other_its_mail(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(
        accepting_server, admins=("Ada <ada@example.org>", "微博 <微博@example.org>", "linus@example.org")
    )
    receipt = await send(new_message(options, "subject", "text"), options)

    assert set(receipt.refused) == set(receipt.final) == {"微博@example.org"}
    assert "does not support SMTPUTF8" in receipt.refused["微博@example.org"]
    assert accepting_server.recipients == [["ada@example.org", "linus@example.org"]]
    assert accepting_server.messages[0]["To"] == "Ada <ada@example.org>, linus@example.org"


async def test_a_server_with_smtputf8_serves_every_address(mail_to: Callable[..., MailOptions]) -> None:
    with MailServer(enable_SMTPUTF8=True) as server:
        options = mail_to(server, admins=("ada@example.org", "微博@example.org"), sender="博客@example.org")
        receipt = await send(new_message(options, "subject", "text"), options)

    assert receipt.refused == {}
    assert server.recipients == [["ada@example.org", "微博@example.org"]]
    assert server.mails[0].sender == "博客@example.org"


async def test_addresses_that_the_wire_cannot_carry_are_refused_one_by_one(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(accepting_server, admins=("微博@example.org", "博客@example.org")))

    assert set(error.final) == {"微博@example.org", "博客@example.org"}
    assert (error.permanent, error.unavailable) == (True, False)


async def test_a_sender_the_wire_cannot_carry_is_a_fault_of_the_settings(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(accepting_server, sender="博客@example.org"))

    assert "SMTPUTF8, which the sender's address 博客@example.org needs" in str(error)
    assert (error.permanent, error.unavailable) == (True, True)


async def test_a_recipient_that_is_no_address_costs_no_other_its_mail(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(accepting_server)
    message = new_message(options, "subject", "text")
    unusable = ["a<b>@example.org", "a(b)c@example.org", "a@b@example.org", "a b", "\ud83d@example.org", "a\r\nb@c.org"]
    receipt = await send(message, options, ["ada@example.org", *unusable])

    assert set(receipt.final) == set(unusable)
    assert accepting_server.recipients == [["ada@example.org"]]


async def test_a_mail_with_bare_line_feeds_and_dots_arrives_as_it_is(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    await send(b"Subject: subject\n\n.\n..\r.\r\nend", mail_to(accepting_server))

    assert accepting_server.mails[0].text == ".\n..\n.\nend\n"


async def test_cancelling_closes_the_session(slow_server: MailServer, mail_to: Callable[..., MailOptions]) -> None:
    options = mail_to(slow_server)
    sending = asyncio.create_task(send(new_message(options, "subject", "text"), options))
    assert await asyncio.to_thread(slow_server.connected.wait, 5)

    sending.cancel()
    await asyncio.wait([sending], timeout=5)

    assert sending.cancelled()


@pytest.mark.parametrize(
    ("host", "hello"),
    [
        ("blog.example.org", "blog.example.org"),
        ("laptop", "example.org"),
        ("my laptop.local", "example.org"),
        ("my_laptop.local", "example.org"),
        ("微博.example.org", "xn--9krt00a.example.org"),
    ],
)
async def test_the_server_is_greeted_with_a_name_it_can_take(
    host: str,
    hello: str,
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: object) -> str:
        raise AssertionError("getfqdn looks names up, outside of every timeout")

    monkeypatch.setattr(socket, "gethostname", lambda: host)
    monkeypatch.setattr(socket, "getfqdn", forbidden)
    options = mail_to(accepting_server)
    await send(new_message(options, "subject", "text"), options)

    assert [mail.greeting for mail in accepting_server.mails] == [hello]


@pytest.mark.parametrize(
    ("wanted", "hello"),
    [
        ("blog.example.org", "blog.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("blog", "blog"),
        ("203.0.113.5", "[203.0.113.5]"),
        ("2001:db8::1", "[IPv6:2001:db8::1]"),
    ],
)
async def test_the_name_of_the_options_goes_before_that_of_the_host(
    wanted: str, hello: str, accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(accepting_server, local_hostname=wanted)
    await send(new_message(options, "subject", "text"), options)

    assert [mail.greeting for mail in accepting_server.mails] == [hello]


async def test_a_server_that_knows_no_ehlo_is_greeted_with_helo(mail_to: Callable[..., MailOptions]) -> None:
    with MailServer(OldFashioned) as server:
        options = mail_to(server, local_hostname="blog.example.org")
        await send(new_message(options, "subject", "text"), options)

    assert [mail.greeting for mail in server.mails] == ["blog.example.org"]


async def test_a_server_that_refuses_the_name_in_ehlo_refuses_no_mail(mail_to: Callable[..., MailOptions]) -> None:
    with MailServer(Particular) as server:
        error = await failed(mail_to(server))

    assert "550 5.7.1 Invalid HELO name" in str(error)
    assert error.unavailable


async def test_a_domain_that_is_not_ascii_needs_no_smtputf8(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(accepting_server, sender="微博 <blog@博客.example>", admins=("Ops <ops@bücher.example>",))
    await send(new_message(options, "subject", "text"), options)

    assert accepting_server.recipients == [["ops@xn--bcher-kva.example"]]
    assert accepting_server.messages[0]["To"] == "Ops <ops@xn--bcher-kva.example>"


@pytest.mark.parametrize("silent_first", [True, False])
async def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    silent_first: bool,  # noqa: FBT001
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with full_backlog() as port:
        silent = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        taking = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", accepting_server.port))
        found = [silent, taking] if silent_first else [taking, silent]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        options = mail_to(accepting_server, server="mail.example.org", timeout=20.0)
        started = time.monotonic()
        await send(new_message(options, "subject", "text"), options)

    assert len(accepting_server.messages) == 1
    assert time.monotonic() - started < 10


async def test_an_answer_says_more_than_an_address_that_does_not_answer(
    closed_port: int, accepting_server: MailServer, mail_to: Callable[..., MailOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    with full_backlog() as port:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", one)) for one in (port, closed_port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        error = await failed(mail_to(accepting_server, server="mail.example.org"))

    assert "refused the connection" in str(error)


@pytest.mark.parametrize("slow_first", [True, False])
async def test_an_address_that_is_slow_is_used_where_the_other_is_silent(
    accepting_server: MailServer,
    mail_to: Callable[..., MailOptions],
    monkeypatch: pytest.MonkeyPatch,
    *,
    slow_first: bool,
) -> None:
    loop = asyncio.get_running_loop()
    original = loop.sock_connect

    async def slowly(opened: socket.socket, address: Any) -> None:
        await asyncio.sleep(2 * PATIENCE)
        await original(opened, address)

    monkeypatch.setattr(loop, "sock_connect", slowly)
    with full_backlog() as port:
        ports = (accepting_server.port, port) if slow_first else (port, accepting_server.port)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", one)) for one in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        options = mail_to(accepting_server, server="mail.example.org")
        await send(new_message(options, "subject", "text"), options)

    assert len(accepting_server.messages) == 1


async def test_an_address_that_refuses_leads_to_the_next_at_once(
    accepting_server: MailServer, closed_port: int, mail_to: Callable[..., MailOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        for port in (closed_port, accepting_server.port)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    options = mail_to(accepting_server, server="mail.example.org")
    await send(new_message(options, "subject", "text"), options)

    assert len(accepting_server.messages) == 1


async def test_a_resolver_that_does_not_answer_costs_the_timeout_and_one_thread(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    asked: list[object] = []

    def hang(*_: object, **__: object) -> Any:
        asked.append(1)
        release.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    for _ in range(3):
        error = await failed(mail_to(accepting_server, server="mail.example.org", timeout=0.1))
        assert "did not finish within 0.1 s" in str(error)
        assert error.unavailable
    release.set()

    assert len(asked) == 1


def test_a_resolver_that_does_not_answer_delays_the_end_of_no_program(tmp_path: Path) -> None:
    program = programs.start(ENDS_WHILE_DNS_HANGS, folder=tmp_path)
    started = time.monotonic()

    code, printed, complained = programs.ended(program)

    assert (code, printed) == (0, "asked\n"), complained
    assert time.monotonic() - started < 30


async def test_a_composed_mail_goes_unchanged_to_the_given_recipients(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(accepting_server)
    message = new_message(
        options, "主题", "内容\n.\n..\n" + "x" * 2_000, html="<p>内容</p>", to=("Eve <eve@example.org>",)
    )
    data = wire_form(message)

    await send(data, options, ["eve@example.org"])

    assert data.isascii()
    assert accepting_server.recipients == [["eve@example.org"]]
    [mail] = accepting_server.messages
    assert mail["Message-ID"] == message["Message-ID"]
    assert mail["To"] == "Eve <eve@example.org>"
    parts = [mail.get_body([kind]) for kind in ("plain", "html")]
    assert [part and part.get_content().replace("\r\n", "\n").rstrip() for part in parts] == [
        "内容\n.\n..\n" + "x" * 2_000,
        "<p>内容</p>",
    ]


async def test_a_message_that_needs_eight_bits_is_sent_in_seven(
    accepting_server: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    message = EmailMessage()
    message["To"] = "ada@example.org"
    message.set_content("grün\n", charset="utf-8", cte="8bit")

    await send(message, mail_to(accepting_server))

    assert wire_form(message).isascii()
    assert accepting_server.messages[0].get_content() == "grün\n"


@pytest.mark.parametrize("which", ["silent_server", "server_that_hangs_up", "server_that_is_closing"])
async def test_a_server_that_takes_no_mail_at_all_is_unavailable(
    which: str, request: pytest.FixtureRequest, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(request.getfixturevalue(which), timeout=0.2))

    assert error.unavailable


@pytest.mark.parametrize("which", ["server_that_says_later", "server_that_says_never"])
async def test_a_refused_mail_leaves_the_server_available(
    which: str, request: pytest.FixtureRequest, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(request.getfixturevalue(which)))

    assert not error.unavailable


async def test_a_wrong_password_is_not_the_mails_fault(
    server_with_password: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    assert (await failed(mail_to(server_with_password, username="ada", password="byron"))).unavailable


async def test_each_refused_recipient_is_reported(
    server_without_grace: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(server_without_grace, admins=("grace@example.org",)))

    assert error.refused == {"grace@example.org": "550 nobody of this name"}


async def test_a_sender_cancelled_during_quit_still_learns_of_the_delivery(
    server_without_farewell: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(server_without_farewell)
    answers: list[str] = []

    async def deliver() -> None:
        answers.append((await send(new_message(options, "subject", "text"), options)).answer)
        await asyncio.sleep(60)

    task = asyncio.create_task(deliver())
    assert await asyncio.to_thread(server_without_farewell.quitting.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert answers == ["taken"]


async def test_a_password_goes_in_the_clear_only_where_an_option_allows_it(
    server_with_password: MailServer, mail_to: Callable[..., MailOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server_with_password.port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [here])
    login = {"server": "mail.example.org", "username": "ada", "password": "lovelace"}
    assert mail_to(server_with_password, **login).problem is not None
    options = mail_to(server_with_password, **login, allow_plain_login=True)
    await send(new_message(options, "subject", "text"), options)

    assert server_with_password.logins == [(b"ada", b"lovelace")]


def test_a_server_that_stops_reading_keeps_no_connection(
    server_that_stops_reading: MailServer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(server_that_stops_reading, timeout=0.5)
    message = new_message(options, "more than any buffer on the way takes", "long " * 4_000_000)

    with pytest.raises(MailFailed, match="did not finish"):
        asyncio.run(send(message, options))

    gc.collect()  # A connection that is still open causes a warning, which is an error here.
