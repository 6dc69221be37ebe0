"""An operator without a session enters by a key that works once."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from quart import Quart

from quartblog.operations.access import ADMISSION
from quartblog.operations.keys import LASTS, has_ended, make_key, note_end, use_key
from tests.support.browsing import Visitor

if TYPE_CHECKING:
    from pathlib import Path

    from quartblog.settings import Settings
    from tests.support.log_file import LogFile

PATH = "/operations/enter"


def test_a_key_is_good_once_and_for_ten_minutes(tmp_path: Path) -> None:
    keys = [make_key(tmp_path, 1_000.0) for _ in range(4)]
    assert len(set(keys)) == 4
    assert use_key(tmp_path, keys[0], 1_000.0 + LASTS)
    assert not use_key(tmp_path, keys[0], 1_000.0)
    assert not use_key(tmp_path, keys[1], 1_001.0 + LASTS)
    # The clock was turned back.
    assert not use_key(tmp_path, keys[2], 900.0)
    for wrong in ("", "../quartblog", "x" * 10_000, "\ud800", keys[3][:-1]):
        assert not use_key(tmp_path, wrong, 1_000.0)
    assert use_key(tmp_path, keys[3], 1_000.0)
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_not_in_the_folder_and_is_its_owners_alone(tmp_path: Path) -> None:
    key = make_key(tmp_path, 1_000.0)

    [file] = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert key not in file.name + file.read_text()
    make_key(tmp_path, 1_001.0 + LASTS)
    assert not file.exists()


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_key_prevents_none(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "operations-key-odd"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")

    assert use_key(tmp_path, make_key(tmp_path, 1_000.0), 1_000.0)


async def test_a_key_opens_the_pages_for_one_browser(app: Quart, settings: Settings, log: LogFile) -> None:
    key = make_key(settings.delivery.outbox.parent, time.time())
    first, second = Visitor(app), Visitor(app)

    assert "十分钟内有效" in (await first.get(f"{PATH}?key={key}")).text
    assert (await first.submit(f"{PATH}?key={key}")).location == "/operations/errors"
    assert (await second.submit(f"{PATH}?key={key}")).status == 403
    assert (await first.get("/operations/errors")).status == 200
    assert (await first.get("/operations/delivery")).status == 200
    assert (await first.get("/user/edit")).location.startswith("/login")
    assert (await second.get("/operations/errors")).location.startswith("/login")
    second.set_cookie(ADMISSION, "forged")
    assert (await second.get("/operations/errors")).location.startswith("/login")
    assert "entered the operations pages by `quartblog operations link`" in log.text
    assert "Refused a key for the operations pages" in log.text
    assert key not in log.text


async def test_whoever_came_by_a_key_finds_the_pages_and_the_way_out(app: Quart, settings: Settings) -> None:
    visitor = Visitor(app)
    entered = await visitor.submit(f"{PATH}?key={make_key(settings.delivery.outbox.parent, time.time())}")
    # Else a browser would not send it to the sign-out, as this visitor does.
    assert "Path=/operations" not in entered.headers["Set-Cookie"]
    page = await visitor.get("/operations/errors")

    assert "管理" in page.text
    assert "退出" in page.text
    assert "登录" not in page.text
    copied, sent = Visitor(app), visitor.cookie(ADMISSION)
    assert sent
    copied.set_cookie(ADMISSION, sent)
    assert (await copied.get("/operations/errors")).status == 200
    answer = await visitor.submit("/logout")
    assert (await copied.get("/operations/errors")).location.startswith("/login")
    assert any(line.startswith(f"{ADMISSION}=;") for line in answer.headers.getlist("Set-Cookie"))


def test_ends_of_logins_are_forgotten_once_no_proof_lasts(tmp_path: Path) -> None:
    note_end(tmp_path, "a" * 64, lasts=100.0)
    assert has_ended(tmp_path, "a" * 64)
    assert not has_ended(tmp_path, "b" * 64)
    [first] = tmp_path.iterdir()
    long_ago = time.time() - 101
    os.utime(first, (long_ago, long_ago))

    note_end(tmp_path, "b" * 64, lasts=100.0)
    assert not has_ended(tmp_path, "a" * 64)
    assert has_ended(tmp_path, "b" * 64)


@pytest.mark.parametrize("query", ["", "?key=", "?key=%00", "?key=../x", "?key=a&key=b"])
async def test_a_wrong_key_opens_nothing(visitor: Visitor, query: str) -> None:
    assert (await visitor.get(PATH + query)).status == 200
    page = await visitor.submit(PATH + query)
    assert page.status == 403
    assert "quartblog operations link" in page.text
