"""The log file: several processes, a full disk, a folder that may not be written."""

from __future__ import annotations

import errno
import gzip
import inspect
import itertools
import json
import logging
import logging.handlers
import os
import re
import resource
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from concurrent_log_handler import ConcurrentRotatingFileHandler

from quartblog.delivery.capture.log_file import RotatingFile
from quartblog.delivery.options import FileOptions
from tests.support import programs

if TYPE_CHECKING:
    from collections.abc import Iterator


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("app", logging.ERROR, "a.py", 1, text, None, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "deeper" / "site.log"


@pytest.fixture
def sink(path: Path) -> Iterator[RotatingFile]:
    made = RotatingFile(FileOptions(path=path))
    yield made
    made.close()


def test_the_folder_is_made(sink: RotatingFile, path: Path) -> None:
    sink.handle(record("微博已启动"))

    assert "ERROR: 微博已启动 [in a.py:1]" in path.read_text(encoding="utf-8")
    assert sink.writable


def test_json_is_written_where_it_is_asked_for(path: Path) -> None:
    sink = RotatingFile(FileOptions(path=path, format="json"))
    sink.handle(record("one"))
    sink.close()

    assert json.loads(path.read_text())["message"] == "one"


def test_the_file_is_rotated_by_bytes_and_old_ones_leave(path: Path) -> None:
    sink = RotatingFile(FileOptions(path=path, max_bytes=3_000, backup_count=2))
    for _ in range(40):
        sink.handle(record("博" * 100))  # 100 characters, 300 bytes.
    sink.close()

    logs = sorted(one.name for one in path.parent.iterdir() if one.name.startswith("site"))
    assert logs == ["site.log", "site.log.1", "site.log.2"]
    # The record that passes the mark is kept whole.
    assert 3_000 <= (path.parent / "site.log.1").stat().st_size < 3_400


def test_rotated_files_are_compressed_where_it_is_asked_for(path: Path) -> None:
    sink = RotatingFile(FileOptions(path=path, max_bytes=100, backup_count=2, compress=True))
    for number in range(4):
        sink.handle(record(f"{number}" * 100))
    sink.close()

    assert b"ERROR: 2" in gzip.decompress((path.parent / "site.log.1.gz").read_bytes())


def folder_with(folder: Path, numbers: set[int]) -> Path:
    """A log file that is full, and rotated ones; each holds its own name."""
    folder.mkdir(parents=True)
    for name in ("site.log", *(f"site.log.{number}" for number in numbers)):
        (folder / name).write_text(f"{name}\n")
    return folder / "site.log"


def keep_in_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody rename the file, as if it were a mount of its own, or held open on Windows."""
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if source == path:
            raise PermissionError(1, "Operation not permitted")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)


def contents(folder: Path) -> dict[str, str]:
    return {
        one.name: gzip.decompress(one.read_bytes()).decode() if one.suffix == ".gz" else one.read_text()
        for one in folder.iterdir()
        if one.name.startswith("site")
    }


@pytest.mark.parametrize("backup_count", [1, 2, 3])
@pytest.mark.parametrize("numbers", [set(), {1}, {1, 2}, {1, 2, 3}, {1, 3}, {1, 2, 3, 4, 5}])
def test_a_rotation_leaves_what_the_standard_handler_leaves(
    tmp_path: Path, numbers: set[int], backup_count: int
) -> None:
    full = folder_with(tmp_path / "ours", numbers)
    sink = RotatingFile(FileOptions(path=full, max_bytes=full.stat().st_size, backup_count=backup_count))
    assert sink.write(["next"]) == 1
    sink.close()
    standard = logging.handlers.RotatingFileHandler(
        folder_with(tmp_path / "standard", numbers), backupCount=backup_count
    )
    standard.doRollover()
    standard.close()

    assert contents(tmp_path / "ours") == contents(tmp_path / "standard") | {"site.log": "next\n"}


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("backup_count", [0, 1, 3, 30])
@pytest.mark.parametrize("numbers", [set(), {1}, {1, 2, 3}, {2, 4}, {1, 2, 5}, {1, 2, 3, 4, 5, 6}])
def test_many_records_at_once_leave_the_files_that_one_after_the_other_leave(
    tmp_path: Path, numbers: set[int], backup_count: int, *, compress: bool
) -> None:
    # Shorter and longer than a file, and in several lengths: "博" has three bytes.
    texts = [f"{number:02d}{'博' * (number * 7 % 40)}" for number in range(30)]
    at_once, one_by_one = (
        RotatingFile(
            FileOptions(
                path=folder_with(tmp_path / name, numbers), max_bytes=90, backup_count=backup_count, compress=compress
            )
        )
        for name in ("at once", "one by one")
    )

    assert at_once.write(texts) == 30
    assert sum(one_by_one.write([text]) for text in texts) == 30

    for sink in (at_once, one_by_one):
        sink.close()
    left = contents(tmp_path / "at once")
    assert left == contents(tmp_path / "one by one")
    assert left["site.log"].endswith(f"{texts[-1]}\n")
    if backup_count == 30:
        assert sum(len(text.splitlines()) for text in left.values()) == 30 + 1 + len(numbers)


def test_a_batch_that_cannot_be_rotated_pushes_the_older_files_out_no_more_than_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = set(range(1, 11))
    sink = RotatingFile(FileOptions(path=folder_with(path.parent, numbers), max_bytes=20, backup_count=10))
    keep_in_place(path, monkeypatch)
    for batch in range(5):
        assert sink.write([f"{batch} {'x' * 20}"] * 3) == 3
    sink.close()

    left = contents(path.parent)
    assert len(left.pop("site.log").splitlines()) == 1 + 15
    assert len(left) == len(numbers) - 1


@pytest.mark.parametrize("failing", [1, 2, 5])
def test_of_a_batch_that_fills_many_files_it_is_known_how_much_a_full_disk_took(
    path: Path, capsys: pytest.CaptureFixture[str], failing: int
) -> None:
    sink = RotatingFile(FileOptions(path=path, max_bytes=100, backup_count=30))
    real, calls = sink.do_write, itertools.count(1)

    def fill_up(msg: str) -> None:
        if next(calls) < failing:
            real(msg)
            return
        real(msg[:70])
        raise OSError(errno.ENOSPC, "No space left on device")

    sink.do_write = fill_up  # type: ignore[method-assign]  # a disk as it is
    texts = [f"{number:03d}{'x' * 46}" for number in range(20)]
    written = sink.write(texts)
    sink.do_write = real  # type: ignore[method-assign]  # there is space again
    sink.write(["afterwards"])
    sink.close()

    lines = "\n".join(contents(path.parent).values()).splitlines()
    assert sorted(line for line in lines if line in texts) == texts[:written]
    assert 0 < written < 20
    assert f"is written again; {20 - written} records were lost" in capsys.readouterr().err


def test_where_the_first_number_is_free_no_file_is_moved_out(path: Path) -> None:
    sink = RotatingFile(FileOptions(path=folder_with(path.parent, {2, 3}), max_bytes=1, backup_count=3))
    sink.handle(record("new"))
    sink.close()

    left = contents(path.parent)
    assert "new" in left.pop("site.log")
    assert left == {"site.log.1": "site.log\n", "site.log.2": "site.log.2\n", "site.log.3": "site.log.3\n"}


def test_without_backups_the_file_begins_anew(path: Path) -> None:
    sink = RotatingFile(FileOptions(path=folder_with(path.parent, set()), max_bytes=1, backup_count=0))
    sink.handle(record("new"))
    sink.close()

    assert list(contents(path.parent)) == ["site.log"]
    assert path.read_text().startswith("20")


def test_a_file_that_cannot_be_renamed_grows_and_does_not_push_the_older_ones_out(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = RotatingFile(FileOptions(path=folder_with(path.parent, {1, 2, 3}), max_bytes=1, backup_count=3))
    keep_in_place(path, monkeypatch)
    for number in range(5):
        sink.handle(record(f"kept {number}"))
    monkeypatch.undo()

    assert capsys.readouterr().err == ""
    assert path.read_text().count("kept") == 5
    sink.handle(record("back"))
    sink.close()
    left = contents(path.parent)
    assert left["site.log.1"].count("kept") == 5
    assert (left["site.log.2"], left["site.log.3"]) == ("site.log.1\n", "site.log.2\n")


def test_in_a_folder_that_was_made_again_rotation_begins_anew(path: Path) -> None:
    sink = RotatingFile(FileOptions(path=path, max_bytes=1, backup_count=5))
    for number in range(3):
        sink.handle(record(f"removed {number}"))
    shutil.rmtree(path.parent)
    for number in range(3):
        sink.handle(record(f"kept {number}"))
    sink.close()

    assert [text.split()[3] + text.split()[4] for _, text in sorted(contents(path.parent).items())] == [
        "kept2",
        "kept1",
        "kept0",
    ]


WRITER = """
import logging, sys
from pathlib import Path
from quartblog.delivery import Delivery, FileOptions

with Delivery(file=FileOptions(path=Path(sys.argv[1]), max_bytes=50_000, backup_count=50)):
    logger = logging.getLogger("writer")
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(500):
        try:
            int("twelve")
        except ValueError:
            logger.exception("%s-%03d-%s", sys.argv[2], number, "x" * 200)
"""


def test_several_processes_write_one_file_and_rotate_it_together(path: Path) -> None:
    writers = [programs.start(WRITER, path, name) for name in "abcd"]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        programs.output(writer)

    files = [one for one in path.parent.iterdir() if one.name.startswith("site")]
    text = "".join(one.read_text() for one in files)
    found = re.findall(r"^\S+ \S+ ERROR: ([abcd]-\d{3})-x{200} \[in .*\] \[id \w{12}\]$", text, re.MULTILINE)
    assert len(files) > 5
    assert sorted(found) == [f"{name}-{number:03d}" for name in "abcd" for number in range(500)]
    assert text.count("Traceback (most recent call last):\n") == 2_000
    assert text.count("\nValueError: invalid literal") == 2_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_is_reported_once_and_ends_by_itself(
    sink: RotatingFile, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/full")
    for number in range(5):
        sink.handle(record(f"lost {number}"))
    stderr = capsys.readouterr().err

    assert stderr.count("\n") == 1
    assert "cannot be written" in stderr
    assert "No space left" in stderr
    assert not sink.writable

    path.unlink()
    sink.handle(record("back"))
    sink.handle(record("again"))

    assert [line.split()[3] for line in path.read_text().splitlines()] == ["back", "again"]
    assert "is written again; 5 records were lost" in capsys.readouterr().err
    assert sink.writable


def test_half_a_record_stays_alone_on_its_line(sink: RotatingFile, path: Path) -> None:
    sink.handle(record("first"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        sink.handle(record("lost " + "x" * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    sink.handle(record("back"))

    first, half, back = path.read_text().splitlines()
    assert "first" in first
    assert len(half) == 10
    assert "back" in back


def test_a_folder_that_cannot_be_made_is_reported_once_and_ends_by_itself(
    sink: RotatingFile, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A file where the folder should be: also the superuser cannot write there.
    blocker = path.parent.parent
    blocker.write_text("in the way")
    sink.handle(record("lost"))
    sink.handle(record("lost as well"))

    assert capsys.readouterr().err.count("cannot be written") == 1
    blocker.unlink()
    sink.handle(record("back"))
    assert "back" in path.read_text()
    assert "2 records were lost" in capsys.readouterr().err


def test_a_folder_that_somebody_removes_is_made_again_and_nothing_is_lost(
    sink: RotatingFile, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink.handle(record("removed with its folder"))
    shutil.rmtree(path.parent)
    sink.handle(record("kept"))

    assert "kept" in path.read_text()
    assert capsys.readouterr().err == ""


def test_a_record_that_cannot_be_formatted_becomes_a_line_with_the_reason(sink: RotatingFile, path: Path) -> None:
    broken = record("x")
    broken.args = ("one too many",)
    sink.handle(broken)
    sink.handle(record("next"))

    first, second = path.read_text().splitlines()
    assert ": (this record could not be written: TypeError: not all arguments converted" in first
    assert "next" in second


def test_a_level_that_logging_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        FileOptions(level="LOUD")


def test_a_batch_is_rotated_as_if_each_record_came_alone(tmp_path: Path) -> None:
    files = []
    for name in ("alone", "together"):
        path = tmp_path / name / "site.log"
        sink = RotatingFile(FileOptions(path=path, max_bytes=2_000, backup_count=50))
        sink.line = lambda record: record.getMessage()  # type: ignore[method-assign]  # no times, which differ
        lines = [f"{number} {'ä' * (number * 37 % 400)}" for number in range(300)]
        if name == "alone":
            for line in lines:
                sink.handle(record(line))
        else:
            assert sink.write(lines[:170]) == 170
            assert sink.write(lines[170:]) == 130
        sink.close()
        files.append({file.name: file.read_bytes() for file in path.parent.glob("site.log*")})

    assert files[0] == files[1]
    assert len(files[0]) > 20


def test_a_disk_that_fills_up_in_a_batch_keeps_the_lines_already_written(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = RotatingFile(FileOptions(path=path))
    real = sink.do_write

    def full_after_two(msg: str) -> None:
        real("\n".join(msg.split("\n")[:2]) + "\nhalf")
        raise OSError("no space left")

    sink.do_write = full_after_two  # type: ignore[method-assign]  # a disk as it is
    written = sink.write(["one", "two", "three", "four"])
    sink.do_write = real  # type: ignore[method-assign]  # there is space again
    assert not sink.writable
    assert sink.write(["five"]) == 1

    assert written == 2
    assert path.read_text().splitlines()[-1] == "five"
    assert "2 records were lost" in capsys.readouterr().err
    sink.close()


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("_check_stream", ["self"]),
        ("_close", ["self"]),
        ("_do_lock", ["self"]),
        ("_do_unlock", ["self"]),
        ("_lock_stream_lock", ["self", "stream_lock"]),
        ("_open_lockfile", ["self"]),
    ],
)
def test_the_library_still_has_the_private_methods_that_the_log_file_uses(method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(ConcurrentRotatingFileHandler, method)).parameters) == parameters


def test_the_library_still_locks_through_the_methods_that_the_log_file_replaces() -> None:
    called = ConcurrentRotatingFileHandler._do_lock.__code__.co_names

    assert {"_lock_stream_lock", "_open_lockfile"} <= set(called)
