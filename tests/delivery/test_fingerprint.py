"""Which failures are one, and which are not."""

from __future__ import annotations

import json
import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartblog.delivery.grouping import fingerprint as module
from quartblog.delivery.grouping.fingerprint import (
    IdentityCache,
    fingerprint,
    identify,
    is_own,
    normalised,
    relative_path,
)
from quartblog.delivery.text.exceptions import snapshot_of
from tests.support import programs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIBRARY = "/venv/lib/python3.11/site-packages/somelib/core.py"
OWN = "/srv/blog/app/views.py"


def function(path: str, *lines: str, above: int = 0, name: str = "work", **names: Any) -> Callable[..., Any]:
    """A function in a file of that path, so many lines from the top."""
    source = "\n" * above + f"def {name}(*arguments):\n" + "\n".join(f"    {line}" for line in lines)
    space: dict[str, Any] = dict(names)
    exec(compile(source, path, "exec"), space)
    made: Callable[..., Any] = space[name]
    return made


def failed(work: Callable[[], object]) -> logging.LogRecord:
    """The record of what it raises, without the frame of this helper."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001  it may raise a group of any
        trace = error.__traceback__
        assert trace is not None
        info = (type(error), error, trace.tb_next)
        return logging.LogRecord("app", logging.ERROR, "/srv/blog/app/log.py", 1, "failed", None, info)
    raise AssertionError("it did not fail")


def digits(work: Callable[[], object]) -> str:
    return fingerprint(failed(work))[0]


def said(message: str, logger: str = "app", **attributes: Any) -> logging.LogRecord:
    record = logging.LogRecord(logger, logging.ERROR, OWN, 1, message, None, None)
    vars(record).update(attributes)
    return record


@given(st.integers(0, 500), st.integers(0, 500))
def test_lines_inside_a_library_do_not_count(one: int, other: int) -> None:
    def through(above: int) -> Callable[[], object]:
        library = function(LIBRARY, "raise ValueError", above=above)
        return function(OWN, "library()", library=library)

    assert digits(through(one)) == digits(through(other))


@given(st.integers(0, 20), st.integers(0, 20))
def test_the_place_in_own_code_counts(one: int, other: int) -> None:
    def failing_at(line: int) -> Callable[[], object]:
        return function(OWN, *["pass"] * line, "raise ValueError")

    assert (digits(failing_at(one)) == digits(failing_at(other))) == (one == other)


def test_one_function_that_fails_in_several_ways_is_several_failures() -> None:
    first = "if arguments[0] == 1: raise KeyError"
    failing = function(OWN, first, "if arguments[0] == 2: raise KeyError", "raise arguments[0]")
    ways = [1, 2, ValueError(), OSError(), ExceptionGroup("", [ValueError()]), ExceptionGroup("", [OSError()])]

    for _ in range(2):
        assert len({digits(partial(failing, way)) for way in ways}) == len(ways)


@given(st.integers(0, 500))
def test_what_is_written_above_an_own_function_does_not_count(above: int) -> None:
    assert digits(function(OWN, "raise ValueError", above=above)) == digits(function(OWN, "raise ValueError"))


def test_type_file_and_function_count() -> None:
    alike = {
        digits(function(OWN, "raise ValueError")),
        digits(function(OWN, "raise KeyError")),
        digits(function("/srv/blog/app/other.py", "raise ValueError")),
        digits(function(OWN, "raise ValueError", name="other")),
    }

    assert len(alike) == 4


def test_what_the_library_was_doing_counts() -> None:
    def through(name: str) -> Callable[[], object]:
        return function(OWN, "library()", library=function(LIBRARY, "raise ValueError", name=name))

    assert digits(through("connect")) != digits(through("read"))


def test_how_the_program_came_to_its_own_code_does_not_count() -> None:
    own = function(OWN, "raise ValueError")

    assert digits(own) == digits(function(LIBRARY, "own()", own=own))


def test_a_failure_in_libraries_alone_is_told_by_their_functions() -> None:
    one = partial(function, LIBRARY, "raise ValueError")

    assert digits(one(above=3)) == digits(one(above=9))
    assert digits(one(name="connect")) != digits(one(name="read"))


def test_the_message_of_an_exception_does_not_count() -> None:
    raising = function(OWN, "raise ValueError(*arguments)")

    assert digits(partial(raising, "one")) == digits(partial(raising, "two"))


def test_how_deep_a_recursion_went_does_not_count() -> None:
    down = function(OWN, "if not arguments[0]: raise ValueError", "work(arguments[0] - 1)")
    endless = function(OWN, "return work(*arguments)")
    limit = sys.getrecursionlimit()
    shallow = digits(endless)
    sys.setrecursionlimit(limit + 7)
    try:
        deep = digits(endless)
    finally:
        sys.setrecursionlimit(limit)

    assert digits(partial(down, 3)) == digits(partial(down, 30))
    assert shallow == deep


def test_which_frame_filled_the_stack_does_not_count() -> None:
    def filled_by(name: str) -> Callable[[], object]:
        last = function("/srv/blog/app/other.py", "raise RecursionError", name=name)
        return partial(function(OWN, "if not arguments[0]: last()", "work(arguments[0] - 1)", last=last), 9)

    assert digits(filled_by("helper")) == digits(filled_by("other"))


def test_a_cause_counts_by_its_type_and_own_place() -> None:
    def caused_by(raising: str, how: str = "from error", *before: str) -> str:
        cause = function(OWN, *before, raising, name="cause")
        return digits(
            function(OWN, "try: cause()", "except Exception as error:", f"    raise ValueError {how}", cause=cause)
        )

    assert caused_by("raise KeyError('a')") == caused_by("raise KeyError('b')") == caused_by("raise KeyError", "")
    assert caused_by("raise KeyError") != caused_by("raise OSError")
    assert caused_by("raise KeyError") != caused_by("raise KeyError", "from error", "pass")
    assert caused_by("raise KeyError", "from None") == caused_by("raise OSError", "from None")


def test_causes_in_a_circle_end() -> None:
    record = failed(function(OWN, "raise ValueError"))
    assert record.exc_info
    error = record.exc_info[1]
    other = KeyError()
    assert error is not None
    error.__cause__, other.__cause__ = other, error

    assert fingerprint(record) == fingerprint(record)
    assert fingerprint(record)[0] != digits(function(OWN, "raise ValueError"))


def test_a_group_counts_by_the_types_of_its_members() -> None:
    def group(*members: BaseException) -> str:
        return digits(partial(function(OWN, "raise BaseExceptionGroup('', arguments)"), *members))

    assert group(KeyError(1), OSError(2)) == group(OSError(), KeyError(), KeyError())
    assert group(KeyError()) != group(OSError())
    assert group(ExceptionGroup("", [KeyError()])) != group(ExceptionGroup("", [OSError()]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("user 12 is away", "user 345 is away"),
        ("took 0.25 s", "took 17 s"),
        ("no such file: /var/a/b.txt", "no such file: /home/ada/x"),
        ("unknown name 'ada'", "unknown name 'grace hopper'"),
        ('unknown name "ada"', 'unknown name "grace"'),
        ("key 3f2504e04f89 expired", "key 99999999 expired"),
        ("at 0x7f3a2c", "at 0xdeadbeef"),
        ("id 3f2504e0-4f89-11d3-9a0c-0305e82c3301", "id 11111111-2222-3333-4444-555555555555"),
        ("mail to ada@example.org failed", "mail to grace.hopper+x@navy.example.com failed"),
    ],
)
def test_messages_that_differ_in_what_varies_are_one_failure(one: str, other: str) -> None:
    assert fingerprint(said(one)) == fingerprint(said(other))
    assert normalised(one) == normalised(other) != one


def test_messages_that_say_other_things_are_not_one_failure() -> None:
    texts = ["can't connect", "can't read", "the cache is away", "connection refused by peer"]

    assert len({fingerprint(said(text))[0] for text in texts}) == len(texts)
    assert fingerprint(said("it failed", "app")) != fingerprint(said("it failed", "web"))


def test_the_end_of_a_very_long_message_does_not_count() -> None:
    one, other = ("a long way to tell " * 1_000 + end for end in ("this", "that"))

    assert fingerprint(said(one)) == fingerprint(said(other))


def test_a_template_tells_more_than_the_finished_message() -> None:
    one = said("ada is away", template="%s is away")
    other = said("grace is away", template="%s is away")

    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one)[1] == "%s is away"


@settings(deadline=None)
@given(st.text(st.characters(codec=None, categories=None)))
def test_any_message_has_a_short_title_on_one_line(text: str) -> None:
    number, title = fingerprint(said(text * 100))

    assert len(number) == 16
    assert int(number, 16) >= 0
    assert len(title) < 260
    assert title.isprintable() or " " in title or not title.isascii()
    assert "\n" not in title
    title.encode()


def test_a_message_made_to_be_slow_is_not() -> None:
    for part in ("'", '"', "a@", "a.", "/", "0x", "1,", "a-", "@", "\\", "aaaaaaaa-"):
        normalised(part * 100_000)  # A search that goes back and forth would not come back.


def test_an_exception_without_frames_is_told_by_who_logged_it() -> None:
    def logged_by(logger: str, name: str) -> str:
        info = (ValueError, ValueError(), None)
        return fingerprint(logging.LogRecord(logger, logging.ERROR, OWN, 3, "failed", None, info, name))[0]

    assert logged_by("app", "show") == logged_by("app", "show")
    assert len({logged_by("app", "show"), logged_by("web", "show"), logged_by("app", "edit")}) == 3


def test_the_place_is_the_innermost_own_line() -> None:
    library = function(LIBRARY, "raise ValueError")
    identity = identify(failed(function(OWN, "pass", "library()", library=library, above=10)))

    assert identity.place == "blog/app/views.py:13"
    assert identity.function == "work"


def test_two_hosts_and_two_processes_agree(tmp_path: Path) -> None:
    source = """
import json, logging, sys
sys.path.insert(0, sys.argv[1])
from blog.views import show
from quartblog.delivery.grouping.fingerprint import identify
try:
    show()
except Exception:
    record = logging.LogRecord("app", 40, __file__ if "__file__" in globals() else "", 1, "x", None, sys.exc_info())
    print(json.dumps(identify(record)))
"""
    for host in ("srv/one", "opt/deep/two"):
        package = tmp_path / host / "blog"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "views.py").write_text("import json\n\n\ndef show():\n    json.loads('{')\n")
    running = [programs.start(source, tmp_path / host) for host in ("srv/one", "opt/deep/two")]

    one, other = (json.loads(programs.output(each)) for each in running)

    assert one == other
    assert one[2:] == ["blog/views.py:5", "show"]


def test_an_installed_copy_of_the_program_is_own_code() -> None:
    installed = "/venv/lib/python3.11/site-packages/quartblog/posts/views.py"

    assert is_own(installed)
    assert relative_path(installed) == "quartblog/posts/views.py"
    assert not is_own(LIBRARY)
    assert not is_own(logging.__file__)
    assert not is_own("<frozen importlib._bootstrap>")
    assert relative_path(logging.__file__) == "logging/__init__.py"
    assert is_own(__file__)
    assert relative_path(__file__) == "tests/delivery/test_fingerprint.py"


def test_a_known_failure_is_not_examined_again(monkeypatch: pytest.MonkeyPatch) -> None:
    raising = function(OWN, "raise ValueError")
    first = identify(failed(raising))
    monkeypatch.delattr(module, "_examine")

    assert identify(failed(raising)) == first


def test_the_failures_that_are_known_are_bounded_by_their_frames() -> None:
    known = IdentityCache(frames=10)
    records = [failed(function(OWN, "raise ValueError", name=f"work{number}")) for number in range(50)]
    for record in records:
        failure = snapshot_of(record)
        assert failure
        known.look_up(record, failure)

    assert 1 <= len(known) <= 10


def test_a_stack_larger_than_all_that_may_be_known_is_examined_each_time() -> None:
    known = IdentityCache(frames=2)
    record = failed(partial(function(OWN, "work(arguments[0] - 1) if arguments[0] else 1 / 0"), 20))
    failure = snapshot_of(record)
    assert failure

    known.look_up(record, failure)

    assert len(known) == 0
