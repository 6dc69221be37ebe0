"""Headers read back as the text they were made of, whatever it is, and no text becomes a header of its own."""

from __future__ import annotations

import base64
import copy
import email
import email.header
import email.policy
import quopri
import re
from dataclasses import replace
from email.headerregistry import Address, Group
from email.message import EmailMessage

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quartblog.delivery.mail.digest import Digest, headline
from quartblog.delivery.mail.message import SUBJECT_LIMIT, new_message, wire_form
from quartblog.delivery.options import MailOptions
from quartblog.delivery.store.outbox import Outbox
from quartblog.delivery.text.escaping import one_line, shortened
from tests.support.failures import a_group, an_event

OPTIONS = MailOptions(server="localhost", sender="微博 <blog@example.org>", admins=("ada@example.org",), command="blog")
ALL = ["Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress"]
DIGEST = [*ALL, "List-Id", "References", "MIME-Version", "Content-Type"]
PLAIN = [*ALL, "Content-Type", "Content-Transfer-Encoding", "MIME-Version"]
INJECTIONS = ("=?utf-8?q?=0A=0AAll_is_well?=", "=?utf-8?q?a=0ABcc:_x?=", "=?utf-8?b?CgpBbGwgaXMgd2VsbA==?=")
PIECES = (
    *INJECTIONS, "=?", "?=", "=?utf-8?q?", "=?x?=", "=0A", "_", "=", "?", '"', "\\", "<a@b>", "(c)", ",", ";", ":",
    " ", "  ", " " * 80, "\t", "\n", "\r\n", "\r\nBcc: x\r\n\r\n", "\v", "\x85", "\u2028", "\0", "\x1b", "\u200b",
    "错", "微博 发生意外错误", "ü", "e\u0301", "😀", "👩\u200d💻", "𠀀", "\ud83d", "\udc80", "\xa0", "\u3000", "\ufeff",
    "x", "ValueError: twelve", "x" * 90, "错" * 90,
)  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=8).map("".join)
WORD = re.compile(r"=\?utf-8\?([bq])\?([^? ]*)\?=")


def by_rfc_2047(raw: str) -> str:
    """The value decoded as RFC 2047 says it, without any help of `email`; each encoded word must stand on its own."""
    assert re.fullmatch(r"(?:[^\r\n]*)(?:\r\n [^\r\n]*)*", raw)
    for line in raw.split("\r\n"):
        assert "=?" not in line or len(line) <= 76
    decoded, before, encoded = "", "", False
    for number, token in enumerate(re.split("( +)", raw.replace("\r\n", ""))):
        if number % 2:
            before = token
        elif (word := WORD.fullmatch(token)) is None:
            assert "=?" not in token
            decoded, encoded = decoded + before + token, False
        else:
            assert len(token) <= 75
            assert word[2]
            data = word[2].encode("ascii")
            decoded += "" if encoded else before
            decoded += (base64.b64decode(data) if word[1] == "b" else quopri.decodestring(data, header=True)).decode()
            encoded = True
    return decoded


def raw_headers(data: bytes) -> dict[str, str]:
    """Name and value of each header as they are on the wire; the order is kept, and no name comes twice."""
    head, _, _ = data.partition(b"\r\n\r\n")
    lines = re.split(r"\r\n(?! )", head.decode())
    headers = {name: value.removeprefix(" ") for name, _, value in (line.partition(":") for line in lines)}
    assert len(headers) == len(lines)
    return headers


def read(data: bytes) -> EmailMessage:
    parsed = email.message_from_bytes(data, policy=email.policy.default)
    assert not [*parsed.defects, *(defect for part in parsed.walk() for defect in part.defects)]
    return parsed


def assert_reads_as(data: bytes, text: str) -> None:
    """The subject, to every reader."""
    raw = raw_headers(data)["Subject"]
    assert raw.split("\r\n")[0] or not text
    assert by_rfc_2047(raw) == text
    assert read(data)["Subject"] == text
    chunks = email.header.decode_header(raw.replace("\r\n", ""))
    assert str(email.header.make_header(chunks)) == text


@settings(deadline=None, max_examples=500)
@given(TEXT)
@example("")
@example(" ")
@example("one word")
@example(" ends blank ")
@example("two  blanks")
@example(f"{'x' * 300} 错")
def test_any_subject_reads_back_as_its_escaped_text(subject: str) -> None:
    message = new_message(OPTIONS, subject, "the report")
    data = wire_form(message)

    assert message["Subject"] == shortened(one_line(subject), SUBJECT_LIMIT)
    assert_reads_as(data, message["Subject"])
    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) <= 998


@settings(deadline=None, max_examples=200)
@given(TEXT, TEXT, TEXT, TEXT)
@example(*INJECTIONS, INJECTIONS[0])
def test_any_failure_of_any_site_is_one_mail_with_the_same_headers(
    kind: str, message: str, site: str, host: str
) -> None:
    group = a_group(event=an_event(title=kind, message=message, traceback=f"{kind}: {message}"))
    data = wire_form(Digest([group], host).message(replace(OPTIONS, site=site, title=kind)))
    mail = read(data)
    body = mail.get_body(["plain"])

    assert list(raw_headers(data)) == list(mail.keys()) == DIGEST
    line = f"{headline(group)} ({f'{kind} {site} on {host}'.lstrip()}, 1 error)"
    assert_reads_as(data, shortened(one_line(line), SUBJECT_LIMIT))
    assert body is not None
    lines = body.get_content().replace("\r\n", "\n").split("\n")
    assert "blog errors show 3" in lines
    assert one_line(message) in lines
    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("subject", ["microblog: 1 error, ValueError: twelve = ?", "a" * 150, "Re: =x= ?y?"])
def test_a_subject_in_ascii_stays_readable_in_the_raw_mail(subject: str) -> None:
    raw = raw_headers(wire_form(new_message(OPTIONS, subject, "text")))["Subject"]

    assert raw.replace("\r\n", "") == subject


def test_beside_chinese_the_ascii_text_stays_readable_too() -> None:
    raw = raw_headers(wire_form(new_message(OPTIONS, "app1 [微博] 博客异常 ValueError: twelve", "text")))["Subject"]

    assert raw.startswith("app1 =?utf-8?")
    assert raw.endswith("?= ValueError: twelve")


NAME = st.text(st.characters(exclude_characters='<>"') | st.sampled_from("=?_ ,.;:@()\\错😀"), max_size=60)


@settings(deadline=None, max_examples=300)
@given(NAME.filter(str.isprintable), st.sampled_from(["blog@example.org", "=?utf-8?q?a=0AX=3A_y?=@example.org"]))
@example("=?utf-8?q?a=0ABcc:_x?=", "blog@example.org")
@example("Lovelace, Ada", "ada@example.org")
@example("two  blanks", "ada@example.org")
@example("un\ufe0fseen", "ada@example.org")
def test_a_display_name_reads_back_and_adds_nothing(name: str, bare: str) -> None:
    options = replace(OPTIONS, sender=f"{name} <{bare}>")
    data = wire_form(new_message(options, "subject", "text", to=[f"{name} <{bare}>", "eve@example.org"]))
    mail = read(data)

    assert list(raw_headers(data)) == PLAIN
    shown, _, written = by_rfc_2047(raw_headers(data)["From"]).rpartition(" ")
    assert shown == one_line(name.rstrip(" "))
    assert written.strip("<>").replace("\\", "").replace('"', "") == bare
    [sender] = mail["From"].addresses
    first, second = mail["To"].addresses
    for read_back in (sender, first):
        # `email` puts a blank between the encoded words of a name, and reads several blanks as one.
        assert read_back.display_name.replace(" ", "") == one_line(name.replace(" ", ""))
        assert (read_back.username, read_back.domain) == tuple(bare.split("@"))
    assert second.addr_spec == "eve@example.org"


@pytest.mark.parametrize("domain", ["=?utf-8?q?=0A=0Ax?=", "☃.example", "x" * 300])
def test_a_domain_that_is_no_plain_one_is_not_in_the_message_id(domain: str) -> None:
    data = wire_form(new_message(replace(OPTIONS, sender=f"blog@{domain}"), "subject", "text"))

    assert raw_headers(data)["Message-ID"].endswith("@localhost>")


@pytest.mark.parametrize(
    ("domain", "written"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("博客。example", "xn--9krq6q.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
    ],
)
def test_a_domain_is_written_as_dns_has_it(domain: str, written: str) -> None:
    bare = f"blog@{domain}"
    ours = new_message(replace(OPTIONS, sender=bare), "subject", "text", to=[f"Ada <ada@{domain}>"])
    others = EmailMessage()
    others["From"] = bare
    others["To"] = [Group("all", [Address("Ada", "ada", domain)]), Address("", "eve", "example.org")]

    headers, made = raw_headers(wire_form(ours)), raw_headers(wire_form(others))
    assert headers["From"] == made["From"] == f"blog@{written}"
    assert headers["To"] == f"Ada <ada@{written}>"
    assert made["To"] == f"all: Ada <ada@{written}>;, eve@example.org"
    assert headers["Message-ID"].endswith(f"@{written}>")


def test_a_mail_that_needs_smtputf8_has_the_same_headers_and_subject() -> None:
    data = wire_form(new_message(OPTIONS, f"微博 {INJECTIONS[0]}", "text", to=["Grün <grün@example.org>"], html="<p>x"))

    assert list(raw_headers(data)) == [*ALL, "MIME-Version", "Content-Type"]
    assert "grün@example.org" in raw_headers(data)["To"]
    assert_reads_as(data, f"微博 {INJECTIONS[0]}")


@pytest.mark.parametrize(
    ("to", "listed"),
    [
        (["Grün <grün@example.org>", "Ada <ada@example.org>"], "Ada <ada@example.org>"),
        (["ada@example.org", "微博@example.org", "eve@bücher.example"], "ada@example.org, eve@xn--bcher-kva.example"),
        (["微博@example.org", "grün@example.org"], "微博@example.org, grün@example.org"),
    ],
)
def test_an_address_that_few_servers_take_is_listed_only_beside_others_like_it(to: list[str], listed: str) -> None:
    data = wire_form(new_message(OPTIONS, "subject", "text", to=to))

    assert raw_headers(data)["To"] == listed
    assert data.isascii() is listed.isascii()


def test_a_copy_of_a_message_is_written_alike() -> None:
    message = new_message(OPTIONS, INJECTIONS[0], "text")

    assert wire_form(copy.deepcopy(message)) == wire_form(message)


@pytest.mark.parametrize("injection", INJECTIONS)
def test_a_message_that_others_made_gets_no_header_either(injection: str) -> None:
    message = EmailMessage()
    message["Subject"] = f"微博 {injection}"
    message["From"] = Address(injection, "blog", "example.org")
    message["To"] = Group(injection, [Address(injection, injection, "example.org")])
    message["X-Reason"] = injection
    message.set_content("the link")
    message.add_attachment(b"x", maintype="image", subtype="png", filename=injection)
    outbox = Outbox(None)

    outbox.post(message, ["ada@example.org"])

    [mail] = outbox.mails()
    outbox.close()
    assert list(raw_headers(mail.data)) == [
        *("Subject", "From", "To", "X-Reason", "MIME-Version", "Content-Type", "Date", "Message-ID"),
    ]
    text, picture = read(mail.data).iter_parts()
    assert text.get_content().rstrip() == "the link"
    assert sorted(picture.keys()) == [
        *("Content-Disposition", "Content-Transfer-Encoding", "Content-Type", "MIME-Version"),
    ]
    assert picture.get_content() == b"x"


@settings(deadline=None, max_examples=300)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=80))
def test_the_subject_of_a_message_that_others_made_reads_back(subject: str) -> None:
    message = EmailMessage()
    message["Subject"] = subject
    message.set_content("text")

    assert_reads_as(wire_form(message), str(message["Subject"]))
