"""Groups -> the digest that an operator reads, with nothing that a visitor can forge."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartblog.delivery.mail.digest import Digest, held_note
from quartblog.delivery.mail.message import wire_form
from quartblog.delivery.options import MailOptions
from quartblog.delivery.store.digests import DETAILED, LISTED
from tests.support.clocks import START
from tests.support.failures import TRACEBACK, a_group, an_event

if TYPE_CHECKING:
    from email.message import EmailMessage

OPTIONS = MailOptions(
    server="localhost",
    sender="微博 <blog@example.org>",
    admins=("ada@example.org", "Grace <grace@example.org>"),
    site="微博",
    title="博客异常",
    command="blog",
)
OWN_HEADERS = {
    *("Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress"),
    *("List-Id", "References"),
    *("MIME-Version", "Content-Type"),
}
ANYTHING = st.text(st.characters(), max_size=80)
HOSTILE = ANYTHING | st.sampled_from((
    "\r\nBcc: eve@example.org\r\n\r\n", "\u2028Bcc: eve@example.org", "\ud800", "%s %(x)s {0}", "</pre><script>",
    "&amp;", "--===============1==--", "ad\u200emin", "\u202e\u061c", "\ufeffx\u200by\xad", "\u3164\U000e0041",
))  # fmt: skip


def read(*groups: Any, options: MailOptions = OPTIONS, **changes: Any) -> EmailMessage:
    """The digest as a mail program reads it."""
    message = Digest(groups, "app1", **changes).message(options)
    parsed = email.message_from_bytes(wire_form(message), policy=email.policy.default)
    assert not [*parsed.defects, *(defect for part in parsed.walk() for defect in part.defects)]
    return parsed


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(["plain"])
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


class Page(HTMLParser):
    """The tags and the text of the HTML part."""

    def __init__(self, mail: EmailMessage) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        body = mail.get_body(["html"])
        assert body is not None
        self.feed(body.get_content())

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_subject_begins_with_the_error_and_ends_with_site_host_and_count() -> None:
    group = a_group(count=12, reported=2, last_reported=START)

    assert read(group)["Subject"] == "ValueError: twelve (博客异常 微博 on app1, 10 errors)"


def test_without_a_title_the_subject_names_the_site_alone() -> None:
    assert (
        read(a_group(), options=replace(OPTIONS, title=""))["Subject"] == "ValueError: twelve (微博 on app1, 1 error)"
    )


def test_all_digests_about_a_group_are_one_conversation() -> None:
    first = read(a_group())
    later = read(a_group(id=9, count=12, reported=2, last_reported=START))
    other = read(a_group(event=an_event(fingerprint="00000000000000bb")))
    elsewhere = read(a_group(), options=replace(OPTIONS, site="another"))

    assert first["References"] == later["References"]
    assert len({mail["References"] for mail in (first, other, elsewhere)}) == 3
    assert re.fullmatch(r"<\S+@example\.org>", first["References"])
    assert first["Message-ID"] != later["Message-ID"]


def test_a_digest_about_several_groups_belongs_to_the_conversation_of_each() -> None:
    ones = [a_group(event=an_event(fingerprint=f"00000000000000b{number}")) for number in range(3)]
    together = read(*ones)["References"].split()

    assert sorted(together) == sorted(read(one)["References"] for one in ones)


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({}, "<errors.example.org>"),
        ({"local_hostname": "blog.example.org"}, "<errors.blog.example.org>"),
        ({"local_hostname": "localhost"}, "<errors.example.org>"),
        ({"sender": "blog@bücher.example"}, "<errors.xn--bcher-kva.example>"),
    ],
)
def test_a_mail_program_can_filter_digests_by_list_id(changes: dict[str, Any], number: str) -> None:
    assert read(a_group(), options=replace(OPTIONS, **changes))["List-Id"] == f"微博 {number}"


def test_nobody_answers_a_digest_with_an_out_of_office_note() -> None:
    mail = read(a_group())

    assert (mail["Auto-Submitted"], mail["X-Auto-Response-Suppress"]) == ("auto-generated", "All")


def test_a_record_without_an_exception_is_titled_by_its_level_and_message() -> None:
    event = an_event(title="the disk has <n> bytes left", message="the disk has 12 bytes left", traceback="")

    assert read(a_group(event=event))["Subject"].startswith("ERROR: the disk has 12 bytes left (博客异常 微博")


def test_the_body_holds_what_an_operator_needs_to_know_and_do() -> None:
    events = tuple(
        an_event(created=START - 10 * number, error_id=f"id{number}", breadcrumbs=("12:00:00 INFO blog: signed in",))
        for number in range(4)
    )
    text = text_of(read(a_group(count=13, reported=10, samples=events, first_seen=START - 86_400, last_reported=START)))

    assert text.startswith("微博 on app1: 3 errors of one kind\n")
    for line in (
        "3 new, 13 altogether",
        "ERROR of blog.profile at app.py:12 in edit",
        "POST /user/edit, user 7",
        "ids id0 id1 id2",
        "blog errors show 3",
        "blog errors resolve 3",
        "the edit failed",
        "  12:00:00 INFO blog: signed in",
    ):
        assert line in text.splitlines()
    assert re.search(r"^first 2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d\S+, last 2", text, re.MULTILINE)
    assert f"\n{TRACEBACK}\n" in text


def test_the_html_part_has_the_same_content() -> None:
    mail = read(a_group(event=an_event(message="<b>&", breadcrumbs=("<i>",))))
    page = Page(mail)

    for line in text_of(mail).splitlines():
        assert line.strip("= ") in page.text
    assert mail.get_content_type() == "multipart/alternative"


def test_a_reopened_group_shows_when_it_came_back() -> None:
    events = (an_event(created=START + 20), an_event(created=START + 10), an_event(created=START - 10))
    text = text_of(read(a_group(count=9, reported=7, reopened=True, resolved_at=START, samples=events)))

    assert re.search(r"2 new, 9 altogether, again since \S+ \d\d:\d\d:\d\d", text)
    [since] = re.findall(r"again since (\S+ \S+)", text)
    [last] = re.findall(r"last (\S+ \S+)", text_of(read(a_group(last_seen=START + 10))))
    assert since == last


def test_a_digest_after_the_cap_reports_how_long_mails_were_held_back() -> None:
    text = text_of(read(a_group(), notes=[held_note(START, 30)]))

    assert re.search(r"^The cap held this back since 2.*: 30 digests had left within the hour", text, re.MULTILINE)
    assert "The cap" not in text_of(read(a_group()))


def test_one_thing_is_not_many() -> None:
    groups = [a_group(id=number + 1) for number in range(DETAILED + LISTED + 1)]

    assert ": 1 digest had left within the hour" in text_of(read(a_group(), notes=[held_note(START, 1)]))
    assert text_of(read(*groups)).rstrip().endswith("\nand 1 more kind")


def test_without_a_command_the_digest_names_none() -> None:
    options = MailOptions(server="localhost", sender="a@b.org", admins=("c@d.org",))

    assert "errors show" not in text_of(read(a_group(), options=options))


def test_a_group_that_is_only_in_memory_is_named_by_what_stays() -> None:
    assert "blog errors show 00000000000000aa" in text_of(read(a_group(id=-1)))


def test_the_page_of_a_group_is_linked_where_there_is_one() -> None:
    linking = replace(OPTIONS, page='https://blog.example/o?"/errors/')

    message = read(a_group(id=3), options=linking)
    assert '\nhttps://blog.example/o?"/errors/3\n' in text_of(message)
    assert '<a href="https://blog.example/o?&quot;/errors/3">' in str(message.get_body(("html",)).get_content())  # type: ignore[union-attr]
    assert "https://blog.example" not in text_of(read(a_group(id=-1), options=linking))
    assert "errors/3" not in text_of(read(a_group(id=3)))


def test_a_group_without_samples_is_still_in_the_digest() -> None:
    mail = read(a_group(samples=(), count=3))

    assert mail["Subject"] == "ValueError (博客异常 微博 on app1, 3 errors)"
    assert "3 new, 3 altogether" in text_of(mail)


def test_many_groups_with_huge_tracebacks_make_a_mail_of_bearable_size() -> None:
    event = an_event(traceback="x" * 50_000, message="y" * 10_000)
    groups = [a_group(id=number + 1, event=event) for number in range(DETAILED + LISTED + 7)]
    mail = read(*groups)
    text = text_of(mail)

    assert len(mail.as_bytes()) < 2_000_000
    assert text.count("blog errors show") == DETAILED
    assert text.count("1 new, 1 altogether: ") == LISTED
    assert "and 7 more kinds" in text
    assert text.startswith(f"微博 on app1: {len(groups)} errors of {len(groups)} kinds")


def test_others_get_their_own_to_and_only_their_groups() -> None:
    mail = Digest([a_group()], "app1").message(OPTIONS, ("Eve <eve@example.org>",))

    assert mail["To"] == "Eve <eve@example.org>"


@settings(deadline=None)
@given(st.lists(HOSTILE, min_size=9, max_size=9), st.booleans())
def test_nothing_a_stranger_types_adds_a_header_a_line_or_markup(texts: list[str], traced: bool) -> None:  # noqa: FBT001
    title, message, place, function, method, route, trace, crumb, logger = texts
    event = an_event(
        title=title, message=message, place=place, function=function, method=method, route=route,
        traceback=f"{trace}\n{title}: {message}" if traced else "", breadcrumbs=(crumb,), logger=logger,
    )  # fmt: skip
    mail = read(a_group(event=event), a_group(event=event, samples=()))

    assert set(mail.keys()) == OWN_HEADERS
    assert len(mail.keys()) == len(OWN_HEADERS)
    assert mail["To"] == "ada@example.org, Grace <grace@example.org>"
    assert "博客异常" in mail["Subject"]
    assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert not set(Page(mail).tags) - {"html", "head", "meta", "body", "p", "h2", "br", "code", "pre"}
    assert len(re.findall(r"^(?:1 new, 1 altogether|first 2.*)$", text_of(mail), re.MULTILINE)) == 4


@pytest.mark.parametrize("unseen", ["\u200e", "\u061c", "\u200b", "\u2066", "\ufeff", "\xad", "\u3164", "\U000e0041"])
def test_what_nobody_sees_is_spelled_out_in_every_part(unseen: str) -> None:
    text = f"ad{unseen}min"
    event = an_event(
        title=text, message=text, place=text, function=text, method=text, route=text, logger=text,
        traceback=f"{text}\n{text}: {text}", breadcrumbs=(text,), error_id=text,
    )  # fmt: skip
    detailed = a_group(event=event)
    listed = [a_group(id=number + 10, event=event) for number in range(DETAILED)]
    mail = Digest([detailed, *listed], host=text).message(replace(OPTIONS, site=text, title=text))
    page = mail.get_body(["html"])

    assert page is not None
    for part in (mail["Subject"], text_of(mail), page.get_content(), Page(mail).text):
        assert unseen not in part
        assert text.encode("unicode_escape").decode() in part


def test_a_huge_headline_leaves_a_short_subject() -> None:
    event = an_event(title="Failure" * 1_000, message="x" * 10_000, traceback="")

    assert len(read(a_group(event=event))["Subject"]) <= 200


@pytest.mark.parametrize("field", ["title", "message", "place", "function", "method", "route", "logger", "user_id"])
def test_what_a_stranger_types_stays_on_its_line(field: str) -> None:
    changes: dict[str, Any] = {field: "x\nforged"}
    event = an_event(traceback="", breadcrumbs=("crumb\nforged",), **changes)
    group = a_group(event=event)
    mail = read(group, a_group(samples=(), title=group.title))

    assert "forged" in text_of(mail)
    assert "forged" not in text_of(mail).splitlines()
