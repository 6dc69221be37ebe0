"""The pages of errors: for administrators, found by an id that a visitor quotes, and harmless whatever a text holds."""

from __future__ import annotations

import asyncio
import os
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from traceback import format_exception
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from quart import Quart

from quartblog.operations.tracebacks import parts
from tests.support.browsing import FROM_OURSELVES, Visitor
from tests.support.failures import EVENT, an_event

if TYPE_CHECKING:
    from pathlib import Path

    from quartblog.delivery import Event, Outbox
    from quartblog.models import User
    from quartblog.settings import Settings
    from tests.support.browsing import SignIn
    from tests.support.log_file import LogFile

A, B = "00000000000000aa", "00000000000000bb"
HOSTILE = "<script>alert(1)</script><svg onload=x> {{ 7*7 }} {% raw %} \u202e \"'` \x1b[31m"


def numbers(outbox: Outbox) -> dict[str, int]:
    return {group.fingerprint: group.id for group in outbox.groups(resolved=None)}


async def test_only_administrators_see_the_pages(
    *, grace: User, app: Quart, admin: Visitor, outbox: Outbox, sign_in: SignIn, log: LogFile
) -> None:
    outbox.record([an_event(A)])
    number = numbers(outbox)[A]
    member = await sign_in(grace)
    for path in ("/operations/errors", f"/operations/errors/{number}", f"/operations/errors/{number}.md"):
        assert (await Visitor(app).get(path)).location.startswith("/login")
        assert (await member.get(path)).status == 403
        assert (await admin.get(path)).status == 200
    for path in ("/operations/errors", f"/operations/errors/{number}"):
        sent = {"action": "resolve", "group": str(number)}
        assert (await member.send("POST", path, form=sent, headers=FROM_OURSELVES)).status == 403
    assert log.text.count("Refused the operations pages") == 1
    assert log.text.count("Sent somebody who asked for the operations pages to sign in") == 1
    assert not outbox.groups()[0].resolved


async def test_the_id_that_a_visitor_quotes_leads_to_its_group(admin: Visitor, outbox: Outbox) -> None:
    outbox.record([an_event(A, error_id=f"id{number}") for number in range(30)])
    outbox.record([an_event(B, error_id="other")])

    found = await admin.get("/operations/errors?q=ID3")
    assert found.location == f"/operations/errors/{numbers(outbox)[A]}?error=ID3"
    page = await admin.get(found.location)
    assert "<code>id3</code>" in page.text
    assert "只保留了编号" in page.text
    sample = await admin.get(f"/operations/errors/{numbers(outbox)[A]}?error=id25")
    assert "错误编号 <code>id25</code></h2>" in sample.text
    assert sample.link("next").endswith("error=id24")
    assert sample.link("prev").endswith("error=id26")


async def test_errors_are_filtered_and_paged(admin: Visitor, outbox: Outbox) -> None:
    outbox.record([an_event(f"{number:016}", title=f"Error{number:03}") for number in range(60)])
    await asyncio.to_thread(outbox.resolve, f"{7:016}")

    first = await admin.get("/operations/errors")
    second = await admin.get(first.link("next"))

    assert (first.text.count('class="what"'), second.text.count('class="what"')) == (50, 9)
    assert "Error007" not in first.text + second.text
    assert "Error007" in (await admin.get("/operations/errors?state=resolved")).text
    assert (await admin.get("/operations/errors?q=error012 failed")).text.count('class="what"') == 1
    for silly in ("after=x", "after=nan:1", "after=1:99999999999999999999", "level=x", "order=;", "state=0", "q=%00"):
        assert (await admin.get(f"/operations/errors?{silly}")).status == 200


async def test_groups_are_resolved_muted_reopened_and_noted(admin: Visitor, outbox: Outbox) -> None:
    outbox.record([an_event(A), an_event(B)])
    number = numbers(outbox)[A]
    path = f"/operations/errors/{number}"

    assert (await admin.submit(path, action="note", note="the disk\nis full")).location == path
    assert (await admin.submit(path, action="mute", span="1h", more="10")).location == path
    assert "静音，直到 1小时内再发生 10 次以上" in (await admin.get(path)).text
    await admin.submit(path, action="resolve", note="fixed")
    page = await admin.get(path)

    assert "已解决" in page.text
    assert "the disk\nis full" in page.text
    assert page.text.count(" · ada · ") == 3
    assert [group.fingerprint for group in outbox.groups()] == [B]
    await admin.submit("/operations/errors", action="reopen", group=str(number))
    assert {group.fingerprint for group in outbox.groups()} == {A, B}
    for wrong in ({"action": "delete"}, {}):
        assert (await admin.submit(path, **wrong)).status == 400
    assert (await admin.submit("/operations/errors/4711", action="resolve")).status == 404
    for silly in ("0", "-1", "ten", "1.5"):
        await admin.submit(path, action="mute", span="1h", more=silly)
        assert "请填写 1 以上的整数" in (await admin.get(path)).text
    group = outbox.group(A)
    assert group is not None
    assert (group.muted_until, group.muted_more) == (None, None)
    assert "请先选择错误" in (await admin.get((await admin.submit("/operations/errors", action="mute")).location)).text


async def test_no_text_of_an_error_is_more_than_text(admin: Visitor, outbox: Outbox) -> None:
    outbox.record(
        [
            an_event(
                A, title=HOSTILE, message=HOSTILE, place=HOSTILE, function=HOSTILE, route=HOSTILE, method=HOSTILE,
                user_id=HOSTILE, traceback=f'  File "{HOSTILE}", line 1, in x\n    {HOSTILE}', breadcrumbs=(HOSTILE,),
                error_id="hostile", logger=HOSTILE,
            )
        ]
    )  # fmt: skip
    outbox.note(A, HOSTILE, who=HOSTILE)
    number = numbers(outbox)[A]

    for path in ("/operations/errors", f"/operations/errors/{number}", "/operations/errors?state=all&q=%3Cscript%3E"):
        text = (await admin.get(path)).text
        assert "<script" not in text
        assert "<svg onload" not in text
        assert "{{ 7*7 }}" in text
        assert "\u202e" not in text
        assert "\x1b" not in text
    plain = await admin.get(f"/operations/errors/{number}.md")
    assert plain.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert plain.headers["X-Content-Type-Options"] == "nosniff"


class Tags(HTMLParser):
    """The elements of a page, with the names of their attributes."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {(tag, name) for name, _value in attrs} | {(tag, "")}


@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40, derandomize=True
)
@given(
    text=st.text(st.characters() | st.sampled_from("<>\"'&{}%#\x00\x1b\u202e\ud800"), min_size=1, max_size=200)
    | st.sampled_from(["</pre><img src=x onerror=1>", "{{ config }}", "{% include 'x' %}", "&lt;b&gt;", "x" * 100_000])
)
async def test_whatever_an_error_says_adds_no_element_to_a_page(admin: Visitor, outbox: Outbox, text: str) -> None:
    def event(words: str) -> Event:
        return an_event(
            A, title=words, message=words, place=words, function=words, route=words, method=words, user_id=words,
            error_id=f"id{words}"[:50], logger=words, breadcrumbs=(words,),
            traceback=f'  File "/a/site-packages/b.py", line 1, in x\n  File "/c.py", line 1, in x\n{words}',
        )  # fmt: skip

    async def pages(words: str) -> list[str]:
        # Two, so that the page links an older sample.
        outbox.record([event(words)] * 2)
        outbox.note(A, words, who=words)
        number = numbers(outbox)[A]
        return [(await admin.get(path)).text for path in ("/operations/errors", f"/operations/errors/{number}")]

    harmless, hostile = await pages("harmless"), await pages(text)

    for before, after in zip(harmless, hostile, strict=True):
        assert Tags(after).found == Tags(before).found
        assert not set(after) & set("\x00\x1b\u202e")


@pytest.mark.parametrize("name", ["q", "state", "level", "order", "route", "release"])
async def test_a_long_condition_makes_no_long_page(admin: Visitor, outbox: Outbox, name: str) -> None:
    outbox.record([an_event(f"{number:016x}", route="/x") for number in range(50)])
    # Every group has the word.
    page = await admin.get(f"/operations/errors?{name}={'x+' * 5_000}")

    assert page.status == 200
    assert len(page.text.encode()) < 60_000


async def test_the_pages_of_groups_that_are_only_in_memory_follow_one_another(
    admin: Visitor, outbox: Outbox, settings: Settings
) -> None:
    outbox.close()
    settings.delivery.outbox.mkdir()
    await asyncio.to_thread(outbox.record, [an_event(f"{number:016x}", title=f"T{number:03}") for number in range(60)])

    first = (await admin.get("/operations/errors")).text
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = (await admin.get(following[1].replace("&amp;", "&"))).text

    shown = [set(re.findall(r"T\d{3}", text)) for text in (first, second)]
    assert [len(titles) for titles in shown] == [50, 10]
    assert not shown[0] & shown[1]


async def test_an_empty_store_says_so(admin: Visitor) -> None:
    assert "没有未解决的错误" in (await admin.get("/operations/errors")).text


async def test_without_the_outbox_the_page_says_so_and_shows_what_is_in_memory(
    admin: Visitor, outbox: Outbox, settings: Settings
) -> None:
    path = settings.delivery.outbox
    outbox.record([an_event(A, title="OnDisk")])
    outbox.close()
    path.rename(path.with_suffix(".away"))
    path.mkdir()
    await asyncio.to_thread(outbox.record, [an_event(B, title="InMemory")])

    page = await admin.get("/operations/errors")

    assert page.status == 200
    assert "错误库暂时无法读取" in page.text
    assert "InMemory" in page.text
    assert "OnDisk" not in page.text
    assert "错误库暂时无法读取" in (await admin.get("/operations/delivery")).text
    # Another worker has another group by this number, so it is read here, but not changed.
    [found] = await asyncio.to_thread(outbox.groups)
    shown = await admin.get(f"/operations/errors/{found.id}")
    assert "InMemory" in shown.text
    for text in (page.text, shown.text):
        assert 'name="action"' not in text
    quoted = (await admin.get(f"/operations/errors?q={EVENT.error_id}")).location
    assert quoted == f"/operations/errors/{found.id}?error={EVENT.error_id}"
    assert "InMemory" in (await admin.get(quoted)).text
    # The worker that answers may have another group by this number than the one that found the id.
    assert (await admin.get(f"/operations/errors/{found.id}?error=zzzzzzzzzzzz")).location == "/operations/errors"


@pytest.mark.parametrize("letter", ["x", "错", "&", "\u202e"])
async def test_a_page_of_fifty_groups_is_small(admin: Visitor, outbox: Outbox, letter: str) -> None:
    text = letter * 2_000
    outbox.record([an_event(f"{number:016}", title=text, message=text) for number in range(60)])

    assert len((await admin.get("/operations/errors")).text.encode()) < 60_000


def test_library_frames_are_told_from_own_ones() -> None:
    traceback = """Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/quart/app.py", line 1, in dispatch
    await view()
    ^^^^^^
  File "/venv/lib/python3.11/site-packages/quart/ctx.py", line 2, in call
    run()
  File "/srv/shop/views.py", line 12, in buy
    int(text)
  File "<frozen importlib>", line 1, in load
ValueError: twelve

The above exception was the direct cause of the following exception:

KeyError: 'x'"""

    found = parts(traceback)

    assert [(part.kind, part.frames) for part in found] == [
        ("text", 0), ("library", 2), ("own", 1), ("library", 1), ("text", 0),
    ]  # fmt: skip
    assert "\n".join(part.text for part in found) == traceback
    assert [part.text for part in parts("")] == [""]


def test_own_frames_have_the_lines_around_them(tmp_path: Path) -> None:
    path = tmp_path / "shop.py"
    path.write_text("".join(f"# line {number}\n" for number in range(1, 6)) + "total = int('x') + 1\n# end\n")
    with pytest.raises(ValueError, match="invalid") as raised:
        exec(compile(path.read_text(), str(path), "exec"), {})
    traceback = "".join(format_exception(raised.value))

    [own] = [part for part in parts(traceback) if str(path) in part.text]

    assert [(line.number, line.text, line.here) for line in own.source if line.number] == [
        (3, "# line 3", False), (4, "# line 4", False), (5, "# line 5", False),
        (6, "total = int('x') + 1", True), (7, "# end", False),
    ]  # fmt: skip
    marks = [line.text for line in own.source if line.number is None]
    # Python 3.13 marks the call's arguments alone by ^.
    assert [mark.replace("~", "^") for mark in marks] == ["        ^^^^^^^^"]


def test_a_line_that_has_changed_since_is_not_explained_by_its_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "shop.py"
    path.write_text("a = 1\nb = 2\n")
    frame = f'  File "{path}", line {{line}}, in buy\n    {{source}}'

    [same] = parts(frame.format(line=2, source="b = 2"))
    assert same.source
    for line, source in ((2, "b = 3"), (1, "b = 2"), (3, "b = 2"), (0, "b = 2"), (2, "")):
        [part] = parts(frame.format(line=line, source=source))
        assert part.source == (), (line, source)
    path.unlink()
    [gone] = parts(frame.format(line=2, source="b = 2"))
    assert gone.source == ()


@pytest.mark.parametrize("kind", ["no module", "pipe", "vast", "folder", "gone", "NUL"])
def test_only_a_python_module_is_read_for_a_traceback(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("passwords" if kind == "no module" else "shop\0.py" if kind == "NUL" else "shop.py")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind not in {"gone", "NUL"}:
        path.write_text("root\n" * (300_000 if kind == "vast" else 2))

    [part] = parts(f'  File "{path}", line 1, in buy\n    root')

    assert part.source == ()


async def test_no_text_keeps_a_group_from_its_markdown(admin: Visitor, outbox: Outbox) -> None:
    odd = "a\ud800\0\u202e"
    outbox.record([an_event(A, title=odd, message=odd, route=odd, method=odd, traceback=odd, place=odd, function=odd)])
    [number] = numbers(outbox).values()

    for ending in ("", ".md"):
        page = await admin.get(f"/operations/errors/{number}{ending}")
        assert page.status == 200
        assert "\u202e" not in page.text


@pytest.mark.parametrize("text", ["![x](http://evil.example/x.png) @everyone", "`` ` ``<img src=x>", "`", "x`"])
async def test_no_text_of_an_error_is_markdown_of_its_own(admin: Visitor, outbox: Outbox, text: str) -> None:
    outbox.record(
        [an_event(A, traceback=text, place=text, function=text, route=text, method=text, error_id="0123456789ab")]
    )
    [number] = numbers(outbox).values()

    lines = (await admin.get(f"/operations/errors/{number}.md")).text.split("\n")

    # What is left beside code is ours.
    fences = [place for place, line in enumerate(lines) if re.fullmatch("`{3,}", line)]
    assert len(fences) == 2
    ours = "\n".join(re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "CODE", line) for line in lines[: fences[0]])
    for line in ("# CODE", "- CODE in CODE", "- release CODE", "Error CODE: CODE"):
        assert line in ours.split("\n")
    assert not re.search(r"[`<@!\[]", ours)


def test_the_blog_itself_is_no_library_where_it_is_installed() -> None:
    [part] = parts(
        '  File "/venv/lib/python3.11/site-packages/quartblog/posts/views.py", line 1, in home\n    return 1 / 0'
    )

    assert part.kind == "own"


def test_the_frames_of_an_exception_group_are_told_apart_too() -> None:
    traceback = """  + Exception Group Traceback (most recent call last):
  |   File "/srv/shop/views.py", line 12, in buy
  |     raise ExceptionGroup("no", errors)
  | ExceptionGroup: no (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/venv/lib/python3.11/site-packages/quart/app.py", line 1, in dispatch
    |     await view()
    | ValueError: twelve
    +------------------------------------"""

    found = parts(traceback)

    assert [(part.kind, part.frames) for part in found] == [
        ("text", 0), ("own", 1), ("text", 0), ("library", 1), ("text", 0),
    ]  # fmt: skip
    assert "\n".join(part.text for part in found) == traceback


async def test_what_redaction_has_hidden_is_marked_and_explained(admin: Visitor, outbox: Outbox) -> None:
    outbox.record([an_event(A, message="no <b> [redacted] here", traceback="ValueError: [redacted]")])
    [number] = numbers(outbox).values()

    page = await admin.get(f"/operations/errors/{number}")

    assert "no &lt;b&gt; <i>[redacted]</i> here" in page.text
    assert "ValueError: <i>[redacted]</i>" in page.text
    assert "访客发送的内容，没有保存" in page.text


async def test_acting_on_several_groups_leads_back_to_the_same_search(admin: Visitor, outbox: Outbox) -> None:
    outbox.record([an_event(A, route="/p/<id>"), an_event(B)])
    page = await admin.get("/operations/errors?route=/p/<id>&state=all&x=1")
    assert 'action="/operations/errors?state=all&amp;route=%2Fp%2F%3Cid%3E"' in page.text

    back = await admin.submit(
        "/operations/errors?state=all&route=%2Fp%2F%3Cid%3E&x=1", action="resolve", group=str(numbers(outbox)[A])
    )

    assert back.location == "/operations/errors?state=all&route=%2Fp%2F%3Cid%3E"


async def test_a_search_that_finds_nothing_says_where_else_to_look(admin: Visitor, outbox: Outbox) -> None:
    outbox.record([an_event(A)])
    outbox.resolve(A)

    nothing_open = await admin.get("/operations/errors")
    assert "没有未解决的错误" in nothing_open.text
    assert '<a href="/operations/errors?state=all">已静音和已解决的错误</a>' in nothing_open.text
    words = await admin.get("/operations/errors?q=failed")
    assert "没有符合条件的错误" in words.text
    assert 'href="/operations/errors?q=failed&amp;state=all"' in words.text
    assert "100,000" not in words.text
    assert "更早的请在日志文件中查找" in (await admin.get("/operations/errors?q=0JW5M2X8Q4KT")).text
    everywhere = await admin.get("/operations/errors?q=failed&state=all")
    assert "已解决</span>" in everywhere.text
    assert "在全部状态中查找" not in (await admin.get("/operations/errors?q=zzz&state=all")).text


async def test_a_group_lists_its_latest_ids_and_which_of_them_have_a_text(admin: Visitor, outbox: Outbox) -> None:
    outbox.record([an_event(A, error_id=f"id{number:02}") for number in range(30)])
    [number] = numbers(outbox).values()

    page = await admin.get(f"/operations/errors/{number}?error=id27")

    assert "最近的错误编号：30" in page.text
    assert page.text.count("已保留</li>") == 10
    assert "第 3 个，共保留 10 个" in page.text


@pytest.mark.parametrize(("choice", "more"), [("1h", None), ("10/1h", 10), ("100/1d", 100), ("nonsense", None)])
async def test_a_group_is_muted_by_a_sentence(admin: Visitor, outbox: Outbox, choice: str, more: int | None) -> None:
    outbox.record([an_event(A)])
    [number] = numbers(outbox).values()

    await admin.submit(f"/operations/errors/{number}", action="mute", span=choice)

    group = outbox.group(A)
    assert group is not None
    assert group.muted_more == more
    assert (group.muted_until is None) == (more is not None)


async def test_the_days_of_a_group_are_drawn_with_their_numbers(admin: Visitor, outbox: Outbox) -> None:
    outbox.record([an_event(A) for _ in range(1_200)])
    [number] = numbers(outbox).values()

    page = await admin.get(f"/operations/errors/{number}")

    assert f"<title>{datetime.now(UTC):%Y-%m-%d}: 1,200</title>" in page.text
    assert "最近 30 天 1,200 次" in page.text


async def test_the_line_breaks_of_a_browser_are_those_of_a_note(admin: Visitor, outbox: Outbox) -> None:
    outbox.record([an_event(A)])
    [number] = numbers(outbox).values()

    page = await admin.submit(f"/operations/errors/{number}", action="note", note="the disk\r\nis full")

    assert "the disk\nis full" in (await admin.get(page.location)).text


async def test_the_latest_note_and_an_error_that_comes_back_are_seen_at_once(admin: Visitor, outbox: Outbox) -> None:
    outbox.record([an_event(A)])
    [number] = numbers(outbox).values()
    await admin.submit(f"/operations/errors/{number}", action="resolve", note="fixed in 1.2")
    outbox.record([an_event(A)])

    page = await admin.get(f"/operations/errors/{number}")

    assert page.text.index("fixed in 1.2") < page.text.index("错误编号")
    assert "未解决 · 再次发生" in page.text
    assert "再次发生</span>" in (await admin.get("/operations/errors")).text


async def test_without_the_outbox_nobody_says_that_a_group_does_not_exist(
    admin: Visitor, outbox: Outbox, settings: Settings
) -> None:
    path = settings.delivery.outbox
    outbox.record([an_event(A)])
    [number] = numbers(outbox).values()
    assert (await admin.get("/operations/errors/4711")).status == 404
    outbox.close()
    path.rename(path.with_suffix(".away"))
    path.mkdir()

    for address in (f"/operations/errors/{number}", f"/operations/errors/{number}.md"):
        assert (await admin.get(address)).location == "/operations/errors"
    page = await admin.get("/operations/errors")
    assert "错误库暂时无法读取" in page.text
    assert "没有未解决的错误" not in page.text
    await admin.submit(f"/operations/errors/{number}", action="note", note="the disk is away")
    assert "没有保存" in (await admin.get("/operations/errors")).text
    assert "没有正在运行的工作进程" not in (await admin.get("/operations/delivery")).text
