"""config.toml is edited while the site runs."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quartblog.app import create_app
from quartblog.delivery import Delivery, Outbox, OutboxOptions
from quartblog.operations import health, reload
from quartblog.operations.reload import Watcher
from quartblog.settings import load_settings
from quartblog.settings.options import delivery_options
from tests.support.browsing import Visitor
from tests.support.smtp import MailServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from quartblog.settings import Loaded

logger = logging.getLogger("tests.operations.reload")

CONFIG = Path("config.toml")


class Site:
    """A delivery, its config.toml, and what watches that."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.config = CONFIG
        settings = load_settings(None, environ)
        self.delivery = Delivery(**delivery_options(settings, mail=True))
        self.watcher = Watcher(self.config, settings, self._apply, environ)

    def _apply(self, loaded: Loaded) -> None:
        self.delivery.reconfigure(**delivery_options(loaded.settings, mail=True))

    async def write(self, config: str) -> None:
        """Edit the file, and let two looks go by."""
        self.config.write_text(config, "utf-8")
        await self.watcher.look()
        await self.watcher.look()

    def has(self, name: str) -> bool:
        return Path(name).exists()

    def log(self, name: str = "logs/microblog.log") -> str:
        assert self.delivery.drain()
        return Path(name).read_text("utf-8")


@pytest.fixture
def environ() -> dict[str, str]:
    """The variables the site was started with."""
    return {}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    CONFIG.write_text("", "utf-8")
    site = Site(environ)
    with site.delivery:
        yield site


async def test_a_changed_format_takes_effect_and_no_record_is_lost(site: Site) -> None:
    logger.error("before")
    await site.write('[logging]\nformat = "json"\n')
    logger.error("after")

    assert "ERROR: before" in site.log()
    assert '"message": "after"' in site.log()
    assert "config.toml has changed: [logging] is in effect now" in site.log()


async def test_a_changed_level_takes_effect(site: Site) -> None:
    logger.debug("too much")
    await site.write('[logging]\nlevel = "DEBUG"\n')
    logger.debug("welcome")

    assert "welcome" in site.log()
    assert "too much" not in site.log()


async def test_a_mail_server_that_is_set_later_gets_what_was_not_mailed(site: Site) -> None:
    logger.error("nobody knew of this")
    with MailServer() as server:
        await site.write(f'[mail]\nserver = "127.0.0.1"\nport = {server.port}\nadmins = ["ops@example.org"]\n')
        assert await asyncio.to_thread(site.delivery.drain, mail=True)

        assert "nobody knew of this" in server.mails[0].text


async def test_a_changed_time_of_the_weekly_mail_takes_effect_and_the_token_of_metrics_waits(site: Site) -> None:
    await site.write('[operations]\nsummary = "monday 08:00"\n')
    assert "config.toml has changed: [operations] is in effect now" in site.log()

    await site.write('[operations]\nsummary = "mondy 8"\n')
    assert '[operations] summary = "mondy 8": must be a weekday and a time in UTC such as "monday 08:00"' in site.log()

    await site.write('[operations]\nsummary = "monday 08:00"\nmetrics_token = "0123456789abcdef"\n')
    assert "config.toml has changed: [operations] metrics_token takes effect at the next start" in site.log()


async def test_the_weekly_mail_leaves_at_a_time_that_is_set_later(site: Site) -> None:
    with MailServer() as server:
        mail = f'[mail]\nserver = "127.0.0.1"\nport = {server.port}\nadmins = ["ops@example.org"]\n'
        await site.write(mail)
        await site.write(f'{mail}[operations]\nsummary = "monday 08:00"\n')
        assert await asyncio.to_thread(site.delivery.drain, mail=True)
        assert server.mails == []

        # What the file has a week later.
        with closing(sqlite3.connect("instance/outbox.sqlite3")) as file, file:
            file.execute("UPDATE summary SET summed = summed - 7 * 86400, next = next - 7 * 86400")
        [weekly] = await asyncio.to_thread(server.wait_for, 1)

    assert weekly.subject.startswith("Weekly summary: no errors (博客异常 微博 on ")
    assert weekly.recipients == ("ops@example.org",)


async def test_the_queue_is_resized_while_it_runs(site: Site) -> None:
    await site.write("[delivery]\nqueue_size = 20\n")

    assert site.delivery.statistics().limit == 20


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ('[delivery]\noutbox = "second.sqlite3"\n', "[delivery] outbox"),
        ('[logging]\nfilename = "second.log"\n', "[logging] filename"),
        ('[logging]\ndirectory = "elsewhere"\n', "[logging] directory"),
    ],
)
async def test_another_path_waits_for_the_next_start(site: Site, path: str, key: str) -> None:
    logger.error("before")
    await site.write(path)
    logger.error("after")
    assert site.delivery.drain()

    assert f"WARNING: config.toml has changed: {key} takes effect at the next start" in site.log()
    assert "is in effect now" not in site.log()

    assert site.log().count(" ERROR: ") == 2
    assert site.delivery.statistics().grouped == 2
    assert not site.has("second.sqlite3")
    assert not site.has("logs/second.log")
    assert not site.has("elsewhere")


async def test_another_path_does_not_hold_up_the_other_keys_of_its_section(site: Site) -> None:
    await site.write('[logging]\nfilename = "second.log"\nformat = "json"\n')
    logger.error("after")

    assert '"message": "after"' in site.log()
    assert "config.toml has changed: [logging] is in effect now" in site.log()
    assert "config.toml has changed: [logging] filename takes effect at the next start" in site.log()


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("[delivery]\nqueue_size = 1\n", "[delivery] queue_size"),
        ("[delivery]\nqeue_size = 100\n", "queue_size"),
        ("[logging\n", "is not TOML"),
    ],
)
async def test_a_bad_change_is_refused_with_a_record_and_the_old_one_stays(site: Site, config: str, named: str) -> None:
    await site.write("[delivery]\nqueue_size = 50\n")
    await site.write(config)
    logger.error("still there")

    [refusal] = [line for line in site.log().splitlines() if "but is invalid" in line]
    assert " ERROR: config.toml has changed but is invalid, the settings stay unchanged: " in refusal
    assert named in refusal
    assert "still there" in site.log()
    assert site.delivery.statistics().limit == 50


async def test_refusals_for_different_reasons_are_different_groups(site: Site) -> None:
    await site.write("[delivery]\nqueue_size = 1\n")
    await site.write("[delivery]\nqueue_size = 2\n")
    await site.write("[delivery]\nmails_per_hour = 0\n")
    assert site.delivery.drain()

    with closing(Outbox(OutboxOptions(Path("instance/outbox.sqlite3")))) as outbox:
        groups = {group.title: group.count for group in outbox.groups()}
    assert sorted(groups.values()) == [1, 2]
    assert any("[delivery] queue_size" in title for title in groups)
    assert any("[delivery] mails_per_hour" in title for title in groups)


async def test_a_bad_change_is_told_once_and_a_good_one_after_it_is_taken(site: Site) -> None:
    await site.write("[delivery]\nqueue_size = 1\n")
    for _ in range(3):
        await site.watcher.look()
    await site.write("[delivery]\nqueue_size = 30\n")

    assert site.log().count("but is invalid") == 1
    assert site.delivery.statistics().limit == 30


async def test_a_file_that_is_still_being_written_is_left_alone(site: Site) -> None:
    site.config.write_text("[deliv")
    await site.watcher.look()
    await site.write("[delivery]\nqueue_size = 30\n")

    assert "is invalid" not in site.log()
    assert site.delivery.statistics().limit == 30


async def test_a_file_that_is_gone_changes_nothing_and_is_missed_once(site: Site) -> None:
    await site.write("[delivery]\nqueue_size = 30\n")
    site.config.unlink()
    for _ in range(3):
        await site.watcher.look()

    assert site.delivery.statistics().limit == 30
    assert site.log().count("config.toml is missing or unreadable: the settings stay unchanged") == 1


async def test_a_file_that_comes_back_is_read_again(site: Site) -> None:
    await site.write("[delivery]\nqueue_size = 30\n")
    site.config.unlink()
    for _ in range(2):
        await site.watcher.look()

    await site.write("[delivery]\nqueue_size = 40\n")

    assert site.delivery.statistics().limit == 40


@pytest.mark.parametrize("config", ["[delivery]\nqueue_size = 1\n", None], ids=["refused", "gone"])
async def test_when_the_file_is_as_before_the_all_clear_is_given_once(site: Site, config: str | None) -> None:
    good = "[delivery]\nqueue_size = 30\n"
    await site.write(good)
    if config is None:
        site.config.unlink()
        for _ in range(2):
            await site.watcher.look()
    else:
        await site.write(config)

    for space in (" ", "  "):
        await site.write(good + space)

    assert site.log().count("config.toml is valid again; the settings are unchanged") == 1
    assert site.delivery.statistics().limit == 30


async def test_where_there_is_no_file_none_is_missed(site: Site) -> None:
    for _ in range(3):
        await site.watcher.look()

    assert "is gone" not in site.log()


@pytest.mark.parametrize("environ", [{"QUARTBLOG_DELIVERY__QUEUE_SIZE": "40"}])
async def test_what_the_environment_says_stays(site: Site) -> None:
    await site.write("[delivery]\nqueue_size = 30\nreserve = 0.5\n")

    assert site.delivery.statistics().limit == 40


async def test_other_sections_wait_for_the_next_start_and_it_is_said(site: Site) -> None:
    await site.write('[site]\nname = "other"\n[delivery]\nqueue_size = 30\n')

    assert "config.toml has changed: [delivery] is in effect now" in site.log()
    assert "WARNING: config.toml has changed: [site] takes effect at the next start" in site.log()


async def test_a_change_right_after_the_start_had_read_the_file_is_not_missed(site: Site) -> None:
    site.config.write_text("[delivery]\nqueue_size = 30\n", "utf-8")
    watcher = Watcher(site.config, load_settings(None, {"QUARTBLOG_CONFIG": "/dev/null"}), site._apply, {})
    for _ in range(2):
        await watcher.look()

    assert site.delivery.statistics().limit == 30


async def test_a_file_that_was_touched_only_is_no_change(site: Site) -> None:
    await site.write("# a comment\n")

    assert "has changed" not in site.log()


class Heard(logging.Handler):
    """Lets a test wait for a record."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self.messages = asyncio.Queue[str]()

    def emit(self, record: logging.LogRecord) -> None:
        self.loop.call_soon_threadsafe(self.messages.put_nowait, record.getMessage())

    async def until(self, words: str) -> None:
        async with asyncio.timeout(10):
            while words not in await self.messages.get():
                pass


@pytest.fixture
async def heard() -> AsyncIterator[Heard]:
    heard = Heard()
    reload.logger.addHandler(heard)
    yield heard
    reload.logger.removeHandler(heard)


async def test_an_app_that_reads_its_settings_watches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str, heard: Heard
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUARTBLOG_DATABASE__URL", database_url)
    monkeypatch.setenv("QUARTBLOG_ERRORS__REHEARSAL_ROUTE", "true")
    app = create_app()
    async with app.test_app():
        before = await Visitor(app).get("/errors/rehearsal")
        changed = '[mail]\nserver = "127.0.0.1"\nport = 1\nadmins = ["a@b.example"]\n[delivery]\nqueue_size = 30\n'
        await asyncio.to_thread(CONFIG.write_text, changed, "utf-8")
        await heard.until("[mail], [delivery] is in effect now")
        after = await Visitor(app).get("/errors/rehearsal")
        size = app.extensions[health.DELIVERY].statistics().limit

    assert size == 30
    # The page promises a notification only while mail is set.
    assert "已记录，给您带来的不便" in before.text
    assert "已通知管理员，给您带来的不便" in after.text
