"""One session with a real server: what it said, or why not, in one sentence."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import pytest

from quartblog.delivery import MailFailed, MailOptions, new_message, send
from quartblog.delivery.mail.message import wire_form

from .conftest import ADMINS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Peer


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


async def test_what_the_server_said_is_returned(accepting_server: Peer, mail_to: Callable[..., MailOptions]) -> None:
    options = mail_to(accepting_server)
    receipt = await send(new_message(options, "主题", "内容"), options)

    assert receipt.answer == "kept as number one"
    assert receipt.refused == {}
    [mail] = accepting_server.mails
    assert mail["Subject"] == "主题"
    assert mail.get_content().rstrip("\r\n") == "内容"
    assert accepting_server.recipients == [list(ADMINS)]


async def test_a_display_name_does_not_reach_the_envelope(
    accepting_server: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(accepting_server, admins=("Ada <ada@example.org>",), sender="博 <a@b.org>")
    await send(new_message(options, "subject", "text"), options)

    assert accepting_server.recipients == [["ada@example.org"]]


async def test_one_refused_recipient_does_not_cost_the_others_their_mail(
    server_without_grace: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(server_without_grace)
    receipt = await send(new_message(options, "subject", "text"), options)

    assert receipt.refused == {"grace@example.org": "550 nobody of this name"}
    assert server_without_grace.recipients == [["ada@example.org", "linus@example.org"]]


async def test_nobody_accepted_is_a_failure(server_without_grace: Peer, mail_to: Callable[..., MailOptions]) -> None:
    error = await failed(mail_to(server_without_grace, admins=("grace@example.org",)))

    assert "refused every recipient: grace@example.org: 550 nobody of this name" in str(error)
    assert error.permanent


async def test_a_temporary_refusal_may_be_tried_again(
    server_that_says_later: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(server_that_says_later))

    assert "refused the mail: 451 come back later" in str(error)
    assert not error.permanent


async def test_a_permanent_refusal_may_not(server_that_says_never: Peer, mail_to: Callable[..., MailOptions]) -> None:
    error = await failed(mail_to(server_that_says_never))

    assert "refused the mail: 554 we do not want this" in str(error)
    assert error.permanent


async def test_a_server_that_hangs_up_is_a_failure(
    server_that_hangs_up: Peer, mail_to: Callable[..., MailOptions]
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


async def test_nobody_listening_is_a_failure(
    closed_port: int, mail_to: Callable[..., MailOptions], accepting_server: Peer
) -> None:
    error = await failed(mail_to(accepting_server, port=closed_port))

    assert f"127.0.0.1:{closed_port} refused the connection" in str(error)


async def test_an_unknown_name_is_a_failure(
    mail_to: Callable[..., MailOptions], accepting_server: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    error = await failed(mail_to(accepting_server, server="mail.example.invalid"))

    assert "its name is unknown (DNS): Name or service not known" in str(error)


async def test_starttls_encrypts_and_signs_in(
    starttls_server: Peer, trusted_authority: None, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(starttls_server, tls="starttls", username="ada", password="lovelace")
    await send(new_message(options, "subject", "text"), options)

    assert starttls_server.was_encrypted == [True]
    assert starttls_server.logins == [(b"ada", b"lovelace")]


async def test_implicit_tls_encrypts_from_the_first_byte(
    implicit_tls_server: Peer, trusted_authority: None, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(implicit_tls_server, tls="implicit", server="localhost")
    await send(new_message(options, "subject", "text"), options)

    assert len(implicit_tls_server.mails) == 1


@pytest.mark.parametrize(("which", "tls"), [("starttls_server", "starttls"), ("implicit_tls_server", "implicit")])
async def test_a_certificate_nobody_vouches_for_is_refused(
    which: str, tls: str, request: pytest.FixtureRequest, mail_to: Callable[..., MailOptions]
) -> None:
    peer: Peer = request.getfixturevalue(which)
    error = await failed(mail_to(peer, tls=tls, username="ada", password="lovelace"))

    assert "certificate" in str(error)
    assert "(TLS)" in str(error)
    assert peer.logins == []


async def test_starttls_that_is_not_offered_is_a_failure_and_nothing_is_sent(
    server_with_password: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(server_with_password, tls="starttls", username="ada", password="lovelace")
    error = await failed(options)

    assert "STARTTLS" in str(error)
    assert server_with_password.logins == []


async def test_plain_text_where_tls_is_expected_is_a_failure(
    accepting_server: Peer, trusted_authority: None, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(accepting_server, tls="implicit"))

    assert "does not speak TLS here" in str(error)


async def test_tls_is_never_opportunistic(starttls_server: Peer, mail_to: Callable[..., MailOptions]) -> None:
    error = await failed(mail_to(starttls_server, tls="none"))

    assert "STARTTLS" in str(error)  # The server's own words: it was not upgraded behind our back.
    assert starttls_server.mails == []


async def test_signing_in_on_this_machine_needs_no_tls(
    server_with_password: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(server_with_password, username="ada", password="lovelace")
    await send(new_message(options, "subject", "text"), options)

    assert server_with_password.logins == [(b"ada", b"lovelace")]


async def test_a_wrong_password_is_a_failure_that_does_not_repeat_it(
    server_with_password: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(server_with_password, username="ada", password="byron"))

    assert "did not accept the user name and password: 535" in str(error)
    assert "byron" not in str(error)
    assert error.permanent


async def test_a_password_never_travels_in_the_clear_to_another_host(
    accepting_server: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(accepting_server, server="mail.example.org", username="a", password="b")
    error = await failed(options)

    assert "in the clear" in str(error)
    assert not accepting_server.connected.is_set()


async def test_a_server_that_echoes_the_password_is_not_quoted(
    accepting_server: Peer, mail_to: Callable[..., MailOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    import aiosmtplib  # noqa: PLC0415  only to make the server rude

    async def echo(client: Any, *_: object, **__: object) -> None:
        raise aiosmtplib.SMTPResponseException(500, "what is bG92ZWxhY2U= or\r\nlovelace?")

    monkeypatch.setattr(aiosmtplib.SMTP, "login", echo)
    error = await failed(mail_to(accepting_server, username="ada", password="lovelace"))

    assert str(error).endswith("500 what is *** or\\r\\n***?")


async def test_an_address_the_wire_cannot_carry_is_a_failure(
    accepting_server: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(accepting_server, admins=("微博@example.org",)))

    assert "SMTPUTF8" in str(error)
    assert error.permanent


async def test_cancelling_closes_the_session(slow_server: Peer, mail_to: Callable[..., MailOptions]) -> None:
    options = mail_to(slow_server)
    sending = asyncio.create_task(send(new_message(options, "subject", "text"), options))
    assert await asyncio.to_thread(slow_server.connected.wait, 5)

    # As the mailer does: on Python 3.11, asyncio.wait_for can lose a cancellation.
    while not sending.done():
        sending.cancel()
        await asyncio.wait([sending], timeout=0.05)

    assert sending.cancelled()


@pytest.mark.parametrize(
    ("host", "hello"),
    [
        ("blog.example.org", "blog.example.org"),
        ("laptop", "[127.0.0.1]"),
        ("my laptop.local", "[127.0.0.1]"),
        ("微博.example.org", "[127.0.0.1]"),
    ],
)
async def test_the_server_is_greeted_with_a_name_it_can_take(
    host: str,
    hello: str,
    accepting_server: Peer,
    mail_to: Callable[..., MailOptions],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: object) -> str:
        raise AssertionError("getfqdn looks names up, outside of every timeout")

    monkeypatch.setattr(socket, "gethostname", lambda: host)
    monkeypatch.setattr(socket, "getfqdn", forbidden)
    options = mail_to(accepting_server)
    await send(new_message(options, "subject", "text"), options)

    assert accepting_server.greetings == [hello]


async def test_a_finished_mail_goes_to_whom_it_is_told_as_it_is(
    accepting_server: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(accepting_server)
    message = new_message(
        options, "主题", "内容\n.\n..\n" + "x" * 2_000, html="<p>内容</p>", to=("Eve <eve@example.org>",)
    )
    data = wire_form(message)

    await send(data, options, ["eve@example.org"])

    assert data.isascii()
    assert accepting_server.recipients == [["eve@example.org"]]
    [mail] = accepting_server.mails
    assert mail["Message-ID"] == message["Message-ID"]
    assert mail["To"] == "Eve <eve@example.org>"
    parts = [mail.get_body([kind]) for kind in ("plain", "html")]
    assert [part and part.get_content().replace("\r\n", "\n").rstrip() for part in parts] == [
        "内容\n.\n..\n" + "x" * 2_000,
        "<p>内容</p>",
    ]


async def test_a_message_that_needs_eight_bits_is_sent_in_seven(
    accepting_server: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    message = EmailMessage()
    message["To"] = "ada@example.org"
    message.set_content("grün\n", charset="utf-8", cte="8bit")

    await send(message, mail_to(accepting_server))

    assert wire_form(message).isascii()
    assert accepting_server.mails[0].get_content() == "grün\n"


@pytest.mark.parametrize("which", ["silent_server", "server_that_hangs_up", "server_that_is_closing"])
async def test_a_server_that_takes_no_mail_at_all_is_unavailable(
    which: str, request: pytest.FixtureRequest, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(request.getfixturevalue(which), timeout=0.2))

    assert error.unavailable


@pytest.mark.parametrize("which", ["server_that_says_later", "server_that_says_never"])
async def test_a_refused_mail_says_nothing_about_others(
    which: str, request: pytest.FixtureRequest, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(request.getfixturevalue(which)))

    assert not error.unavailable


async def test_a_wrong_password_is_not_the_mails_fault(
    server_with_password: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    assert (await failed(mail_to(server_with_password, username="ada", password="byron"))).unavailable


async def test_who_was_refused_is_told_one_by_one(
    server_without_grace: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    error = await failed(mail_to(server_without_grace, admins=("grace@example.org",)))

    assert error.refused == {"grace@example.org": "550 nobody of this name"}


async def test_who_leaves_during_the_farewell_still_learns_that_the_mail_is_delivered(
    server_without_farewell: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(server_without_farewell)
    told: list[str] = []

    async def deliver() -> None:
        told.append((await send(new_message(options, "subject", "text"), options)).answer)
        await asyncio.sleep(60)

    task = asyncio.create_task(deliver())
    assert await asyncio.to_thread(server_without_farewell.quitting.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert told == ["kept as number one"]


async def test_a_password_goes_in_the_clear_only_where_that_is_told(
    server_with_password: Peer, mail_to: Callable[..., MailOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quartblog.delivery.options.is_loopback", lambda _: False)
    options = mail_to(server_with_password, username="ada", password="lovelace", allow_plain_login=True)
    await send(new_message(options, "subject", "text"), options)

    assert server_with_password.logins == [(b"ada", b"lovelace")]


def test_a_server_that_stops_reading_keeps_no_connection(
    server_that_stops_reading: Peer, mail_to: Callable[..., MailOptions]
) -> None:
    options = mail_to(server_that_stops_reading, timeout=0.5)
    message = new_message(options, "more than any buffer on the way takes", "long " * 4_000_000)

    with pytest.raises(MailFailed, match="did not finish"):
        asyncio.run(send(message, options))

    gc.collect()  # A connection that is still open is told of as a warning, and so as an error.
