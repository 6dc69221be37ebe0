"""The key that signs cookies is made once, and only the site's own user can read it."""

import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from quartblog.errors.exceptions import SettingsError
from quartblog.settings import Settings, secret_key

OWN = "a key of the operator's own choice"


def test_the_operators_own_key_is_used_and_no_file_made(tmp_path: Path) -> None:
    settings = Settings.model_validate({"security": {"secret_key": OWN}})

    assert secret_key(settings, tmp_path / "instance") == OWN
    assert not (tmp_path / "instance").exists()


def test_the_first_call_makes_a_key_and_the_next_ones_keep_it(tmp_path: Path) -> None:
    first = secret_key(Settings(), tmp_path / "instance")

    assert secret_key(Settings(), tmp_path / "instance") == first
    assert len(first) == 64
    assert secret_key(Settings(), tmp_path / "another") != first


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    secret_key(Settings(), tmp_path)

    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_workers_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    start = Barrier(8)

    def worker(_: int) -> str:
        start.wait()
        return secret_key(Settings(), tmp_path)

    with ThreadPoolExecutor(8) as workers:
        assert len(set(workers.map(worker, range(8)))) == 1


def test_who_comes_second_takes_the_key_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def beaten(draft: str, path: Path) -> None:
        path.write_text(OWN)
        path.chmod(0o600)
        link(draft, path)

    monkeypatch.setattr(os, "link", beaten)

    assert secret_key(Settings(), tmp_path) == OWN
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


@pytest.mark.parametrize(
    "content", [b"", b"too short", b"\xff" * 64, b"\0" * 64, b"two lines, and more than\n32 characters"]
)
def test_a_file_without_a_usable_key_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret_key").write_bytes(content)

    with pytest.raises(SettingsError, match=r"holds no valid key .* restore it, or delete it"):
        secret_key(Settings(), tmp_path)


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "instance").write_text("a file is in the way")

    with pytest.raises(SettingsError, match=r"Not a directory; .* or set QUARTBLOG_SECURITY__SECRET_KEY"):
        secret_key(Settings(), tmp_path / "instance" / "deeper")


def test_a_key_that_others_can_read_is_warned_about_but_never_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret_key").write_text(OWN)
    (tmp_path / "secret_key").chmod(0o644)

    assert secret_key(Settings(), tmp_path) == OWN

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "chmod 600" in record.getMessage()
    assert OWN not in caplog.text


def test_a_key_that_only_the_owner_can_read_is_not_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret_key(Settings(), tmp_path)

    assert not caplog.records
