"""Which failures are one, and which are not."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartblog.delivery import Delivery, FileOptions, Outbox, OutboxOptions, QueueOptions
from quartblog.delivery.grouping.fingerprint import VERSION, Identity, identify, identity_of, message_pattern
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


def identified(work: Callable[[], object]) -> Identity:
    return identity_of(failed(work))


def digits(work: Callable[[], object]) -> str:
    return identified(work).fingerprint


def fingerprint(record: logging.LogRecord) -> str:
    return identity_of(record).fingerprint


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
def test_lines_above_an_own_function_do_not_change_its_fingerprint(above: int) -> None:
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


def test_a_failure_in_libraries_alone_is_identified_by_their_functions() -> None:
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
    assert fingerprint(record) != digits(function(OWN, "raise ValueError"))


def group(*members: BaseException) -> Identity:
    """Of a group that one own line raises."""
    return identified(partial(function(OWN, "raise BaseExceptionGroup('several', arguments)"), *members))


def raised(name: str, raising: str = "raise ValueError", **names: Any) -> Exception:
    """An exception as a task has it that runs this function."""
    _, error, trace = failed(function(OWN, raising, name=name, **names)).exc_info or (None, None, None)
    assert isinstance(error, Exception)
    return error.with_traceback(trace)


def test_the_exceptions_in_a_group_count_in_any_order_and_number() -> None:
    assert group(KeyError(1), OSError(2)).fingerprint == group(OSError(), KeyError(), KeyError()).fingerprint
    assert group(KeyError()).fingerprint != group(OSError()).fingerprint
    assert group(KeyError()).fingerprint != group(KeyError(), OSError()).fingerprint


def test_the_places_of_the_exceptions_in_a_group_count() -> None:
    alpha, beta = raised("alpha"), raised("beta")

    assert group(alpha, beta).fingerprint == group(beta, alpha, raised("beta")).fingerprint
    assert len({group(alpha).fingerprint, group(beta).fingerprint, group(alpha, beta).fingerprint}) == 3


@pytest.mark.parametrize("many", [150, 1_000])
def test_the_order_of_the_exceptions_in_a_large_group_does_not_count(many: int) -> None:
    alpha, beta = raised("alpha"), raised("beta")
    alphas = [ValueError().with_traceback(alpha.__traceback__) for _ in range(many)]
    errors = [*alphas, ExceptionGroup("", [*(KeyError() for _ in range(many)), beta])]

    assert group(*errors).title == "ExceptionGroup: KeyError, ValueError, ValueError"
    assert len({group(*some).fingerprint for some in (errors, errors[::-1], [KeyError(), beta, alpha])}) == 1


def test_the_exceptions_in_nested_groups_count() -> None:
    alpha, beta = raised("alpha"), raised("beta")
    nested = [ExceptionGroup("", [ExceptionGroup("", [error])]) for error in (KeyError(), OSError(), alpha, beta)]

    assert len({group(each).fingerprint for each in nested}) == 4
    assert group(nested[2], beta).fingerprint == group(nested[3], alpha).fingerprint


def test_an_exception_group_as_a_cause_counts_by_its_members() -> None:
    def because_of(name: str) -> str:
        return digits(partial(function(OWN, "raise OSError from arguments[0]"), ExceptionGroup("", [raised(name)])))

    assert because_of("alpha") == because_of("alpha") != because_of("beta")


def test_a_group_of_one_failure_is_titled_and_placed_as_that() -> None:
    alone = group(raised("alpha", "pass\n    raise KeyError"))
    twice = group(raised("alpha", "pass\n    raise KeyError"), raised("alpha", "pass\n    raise KeyError"))
    nested = group(ExceptionGroup("", [raised("alpha", "pass\n    raise KeyError")]))

    for found in (alone, twice, nested):
        assert found[1:4] == ("KeyError", "blog/app/views.py:3", "alpha")


def test_a_group_of_several_failures_names_their_types_and_its_own_place() -> None:
    several = group(raised("beta"), ExceptionGroup("", [raised("alpha", "raise KeyError")]))

    assert several.title == "ExceptionGroup: KeyError, ValueError"
    assert (several.place, several.function) == ("blog/app/views.py:2", "work")


def test_a_group_that_no_own_code_raised_is_placed_where_own_code_failed() -> None:
    error = ExceptionGroup("several", [KeyError(), raised("alpha")])
    record = logging.LogRecord(
        "app", logging.ERROR, "/srv/blog/app/log.py", 9, "failed", None, (type(error), error, None)
    )

    assert identity_of(record).place == "blog/app/views.py:2"


def test_a_group_of_any_size_is_identified() -> None:
    deep: Exception = raised("alpha")
    for _ in range(150):
        deep = ExceptionGroup("", [deep])
    many = [raised("alpha") for _ in range(50)] * 200

    assert group(deep).title in {"ValueError", "ExceptionGroup"}
    assert group(*many).title == "ValueError"
    assert len(group(*(type(f"E{number}", (Exception,), {})() for number in range(1_000))).title) < 260


async def alpha() -> None:
    int("x")


async def beta() -> None:
    int("x")


async def together(*works: Callable[[], Any]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for work in works:
            tasks.create_task(work())


async def nested_together(*works: Callable[[], Any]) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(together(*works))


def test_two_bugs_in_a_task_group_are_two_failures() -> None:
    for run in (together, nested_together):
        found = [identified(lambda run=run, work=work: asyncio.run(run(work))) for work in (alpha, beta, alpha)]  # type: ignore[misc]

        assert [each.title for each in found] == ["ValueError"] * 3
        assert [each.function for each in found] == ["alpha", "beta", "alpha"]
        assert found[0] == found[2]
        assert found[0].fingerprint != found[1].fingerprint


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
    assert message_pattern(one) == message_pattern(other) != one


def test_different_messages_are_different_groups() -> None:
    texts = ["can't connect", "can't read", "the cache is away", "connection refused by peer"]

    assert len({fingerprint(said(text)) for text in texts}) == len(texts)
    assert fingerprint(said("it failed", "app")) != fingerprint(said("it failed", "web"))


def test_the_end_of_a_very_long_message_does_not_count() -> None:
    one, other = ("a long way to tell " * 1_000 + end for end in ("this", "that"))

    assert fingerprint(said(one)) == fingerprint(said(other))


def test_a_template_counts_instead_of_the_finished_message() -> None:
    one = said("ada is away", template="%s is away")
    other = said("grace is away", template="%s is away")

    assert fingerprint(one) == fingerprint(other)
    assert identity_of(one).title == "%s is away"


@settings(deadline=None)
@given(st.text(st.characters(codec=None, categories=None)))
def test_any_message_has_a_short_title_on_one_line(text: str) -> None:
    number, title, *_ = identity_of(said(text * 100))

    version, _, rest = number.partition("-")
    assert int(version) == VERSION
    assert len(rest) == 16
    assert int(rest, 16) >= 0
    assert len(title) < 260
    assert title.isprintable() or " " in title or not title.isascii()
    assert "\n" not in title
    title.encode()


def test_a_message_made_to_be_slow_is_not() -> None:
    for part in ("'", '"', "a@", "a.", "/", "0x", "1,", "a-", "@", "\\", "aaaaaaaa-"):
        message_pattern(part * 100_000)  # A search that goes back and forth would not come back.


def test_an_exception_without_frames_is_identified_by_the_logging_call() -> None:
    def logged_by(logger: str, name: str) -> str:
        info = (ValueError, ValueError(), None)
        return fingerprint(logging.LogRecord(logger, logging.ERROR, OWN, 3, "failed", None, info, name))

    assert logged_by("app", "show") == logged_by("app", "show")
    assert len({logged_by("app", "show"), logged_by("web", "show"), logged_by("app", "edit")}) == 3


def test_the_place_is_the_innermost_own_line() -> None:
    library = function(LIBRARY, "raise ValueError")
    identity = identified(function(OWN, "pass", "library()", library=library, above=10))

    assert identity.place == "blog/app/views.py:13"
    assert identity.function == "work"


def test_two_hosts_and_two_processes_agree(tmp_path: Path) -> None:
    source = """
import json, logging, sys
sys.path.insert(0, sys.argv[1])
from blog.views import show
from quartblog.delivery.grouping.fingerprint import identity_of
try:
    show()
except Exception:
    record = logging.LogRecord("app", 40, __file__ if "__file__" in globals() else "", 1, "x", None, sys.exc_info())
    print(json.dumps(identity_of(record)))
"""
    for host in ("srv/one", "opt/deep/two"):
        package = tmp_path / host / "blog"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "views.py").write_text("import json\n\n\ndef show():\n    json.loads('{')\n")
    running = [programs.start(source, tmp_path / host) for host in ("srv/one", "opt/deep/two")]

    one, other = (json.loads(programs.output(each)) for each in running)

    assert one == other
    assert one[2:4] == ["blog/views.py:5", "show"]


def test_what_the_options_name_is_own_code() -> None:
    record = failed(function(LIBRARY, "pass", "raise ValueError"))

    found = identify(record, ("somelib",))

    assert found.fingerprint != fingerprint(record)
    assert found.place == "somelib/core.py:3"


def test_errors_are_placed_in_the_packages_that_the_options_name(tmp_path: Path) -> None:
    queue, file = QueueOptions(own_packages=("somelib",)), FileOptions(path=tmp_path / "site.log")
    found = failed(function(LIBRARY, "other()", other=function(LIBRARY.replace("somelib", "other"), "1 / 0")))
    options = OutboxOptions(tmp_path / "outbox.sqlite3")
    with Delivery(queue=queue, file=file, outbox=options) as delivery:
        logging.getLogger("app").error("failed", exc_info=found.exc_info)
        assert delivery.drain(30)
    outbox = Outbox(options)
    [group] = outbox.groups()
    outbox.close()

    assert group.place == "somelib/core.py:2"


@pytest.mark.parametrize(
    "lines",
    [
        ["return (lambda: 1 / 0, lambda: 1 / 0)[arguments[0]]()"],
        ["return [", "    lambda: 1 / arguments[0] / 0,", "    lambda: 0 / 0,", "][arguments[0]]()"],
        ["return [", "    lambda: {}['one'],", "    lambda: {}['two'],", "][arguments[0]]()"],
        ["return [", "    lambda: fail(1),", "    lambda: fall(1),", "][arguments[0]]()"],
        ["return (lambda: (", "    1 / 0), lambda: 1 / 0)[arguments[0]]()"],
        ["return sum(((1 / 0 for _ in 'a'), (1 / 0 for _ in 'a'))[arguments[0]])"],
        ["é = '微博', lambda: 1 / 0, lambda: 1 / 0", "return é[arguments[0] + 1]()"],
        ["def _():", "    return 1 / 0", "one = _", "def _():", "    return 0 / 0", "return (one, _)[arguments[0]]()"],
    ],
)
def test_two_lambdas_of_one_function_are_two_failures(lines: list[str]) -> None:
    work, moved = function(OWN, *lines), function(OWN, *lines, above=30)

    assert digits(partial(work, 0)) == digits(partial(moved, 0)) != digits(partial(work, 1))


def test_earlier_versions_of_a_fingerprint_stay_known() -> None:
    """Made by version 1. A change here makes every open error of every site a new one."""
    library = function(LIBRARY, "raise ValueError", name="read")
    cause = function(OWN, "raise KeyError", name="cause")
    chained = function(OWN, "try: cause()", "except KeyError as error: raise ValueError from error", cause=cause)
    several = function(OWN, "raise ExceptionGroup('several', arguments)")
    inside = ExceptionGroup("inside", [raised("alpha"), raised("beta")])
    lambdas = function(OWN, "return (lambda: 1 / 0, lambda: 1 / 0)[arguments[0]]()")
    alone = ValueError()
    made_by_hand = logging.LogRecord("app", 40, OWN, 3, "failed", None, (ValueError, alone, None), "show")

    assert {
        name: identity_of(record).earlier
        for name, record in {
            "plain": failed(function(OWN, "pass", "library()", library=library)),
            "chained": failed(chained),
            "group": failed(partial(several, *inside.exceptions)),
            "nested": failed(partial(several, OSError(), inside)),
            "endless": failed(function(OWN, "return work(*arguments)")),
            "lambda": failed(partial(lambdas, 1)),
            "without frames": made_by_hand,
            "message": said("user 12 is away"),
        }.items()
    } == {
        "plain": ("3f87a3ff769650e3",),
        "chained": ("8c3dff2de0cf6d4d",),
        "group": ("b661563a3e67d845",),
        "nested": ("967da48f908de316",),
        "endless": ("09ba46858c834934",),
        "lambda": ("fbbc7e2b6bd30ed9",),
        "without frames": ("22f263752c9fb0f8",),
        "message": ("23f0f013d47de3b9",),
    }


def test_what_did_not_change_has_the_digest_of_the_version_before() -> None:
    for found in (identified(function(OWN, "raise ValueError")), identity_of(said("user 12 is away"))):
        assert (f"{VERSION}-{found.earlier[0]}",) == (found.fingerprint,)
