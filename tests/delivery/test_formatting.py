"""One record, one line: as text and as JSON, whatever a stranger typed."""

from __future__ import annotations

import json
import logging
import re
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quartblog.delivery.text.escaping import block, json_safe, one_line, shortened
from quartblog.delivery.text.formatting import JsonFormatter, TextFormatter

HOSTILE = st.sampled_from(
    "\r\n\t\v\f\0\x1b\x1c\x7f\x85\x9b\xad\u061c\u200b\u200d\u200f\u2028\u2029\u202e\u3164\ud800\udfff\ufe0f\U000e0041"
)
ANYTHING = st.text(st.characters() | HOSTILE, max_size=60)
# Unicode's property Default_Ignorable_Code_Point, as DerivedCoreProperties.txt lists it.
IGNORABLE = (
    "\xad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Braille, a note head and hieroglyphs; beside these the format characters that Python 3.11 does not know yet.
BLANK = "\u2800\U0001d159\U00013430-\U00013442"
UNSEEN = re.compile(f"[{IGNORABLE}{BLANK}\x00-\x1f\x7f-\x9f\u2028\u2029\ufff9-\ufffb\ud800-\udfff]")


def record(text: str = "it failed", **attributes: Any) -> logging.LogRecord:
    made = logging.LogRecord("app", logging.ERROR, "/srv/blog/app.py", 12, text, None, None)
    made.__dict__.update(attributes)
    return made


def of(error: BaseException) -> Any:
    return type(error), error, error.__traceback__


class Unformattable(Exception):
    def __bool__(self) -> bool:
        raise RuntimeError("not even that")


def test_the_line_is_the_contract_and_then_the_id() -> None:
    line = TextFormatter().format(record(error_id="0123456789ab"))

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ERROR: it failed"
        r" \[in /srv/blog/app\.py:12\] \[id 0123456789ab\]",
        line,
    )


@pytest.mark.parametrize("attributes", [{}, {"error_id": None}])
def test_a_record_without_an_id_ends_with_its_place(attributes: dict[str, Any]) -> None:
    assert TextFormatter().format(record(**attributes)).endswith("it failed [in /srv/blog/app.py:12]")


def test_the_line_is_the_standard_one_for_the_contract_format() -> None:
    contract = "%(asctime)s %(levelname)s: %(message)s [in %(pathname)s:%(lineno)d]"

    made = record()

    assert TextFormatter().format(made) == logging.Formatter(contract).format(made)


def test_the_traceback_follows_as_the_standard_writes_it(failure: BaseException) -> None:
    text = TextFormatter().format(record(exc_info=of(failure)))
    line, _, trace = text.partition("\n")

    assert line.endswith("[in /srv/blog/app.py:12]")
    assert trace == logging.Formatter().formatException(of(failure))
    assert trace == TextFormatter().formatException(of(failure))


def test_each_record_shows_its_own_traceback_beside_one_that_is_repeated() -> None:
    formatter = TextFormatter()
    errors = [ValueError("one"), ValueError("one"), KeyError("two"), ValueError("one")]

    shown = [formatter.format(record(exc_info=of(error))).rpartition("\n")[2] for error in errors]

    assert shown == ["ValueError: one", "ValueError: one", "KeyError: 'two'", "ValueError: one"]


def test_formatting_leaves_nothing_on_the_record(failure: BaseException) -> None:
    made = record(exc_info=of(failure))
    TextFormatter().format(made)

    assert made.exc_text is None


def test_a_text_another_process_has_formatted_is_kept() -> None:
    assert TextFormatter().format(record(exc_text="from elsewhere")).endswith("\nfrom elsewhere")


def test_the_stack_of_the_call_follows_where_it_was_asked_for() -> None:
    assert TextFormatter().format(record(stack_info="Stack:\n  here")).endswith("\nStack:\n  here")


@pytest.mark.parametrize("exc_info", [True, (1, 2, 3), (ValueError,)])
def test_a_record_made_by_hand_with_odd_exc_info_is_a_line(exc_info: Any) -> None:
    assert "it failed" in TextFormatter().format(record(exc_info=exc_info))
    assert json.loads(JsonFormatter().format(record(exc_info=exc_info)))["exception"] is None


def test_an_exception_that_stands_in_exc_info_by_itself_is_shown() -> None:
    made = record(exc_info=ValueError("bare"))

    assert json.loads(JsonFormatter().format(made))["exception"]["traceback"] == "ValueError: bare"


@pytest.mark.parametrize("shape", [lambda whole: whole[:2], lambda whole: whole[1:2], lambda whole: (whole[1], None)])
def test_an_exception_in_a_tuple_without_a_traceback_is_shown_with_its_own(failure: BaseException, shape: Any) -> None:
    shown = json.loads(JsonFormatter().format(record(exc_info=shape(of(failure)))))["exception"]

    assert (shown["type"], shown["message"]) == ("ValueError", str(failure))
    assert shown["traceback"] == logging.Formatter().formatException(of(failure))


def test_a_traceback_that_cannot_be_formatted_becomes_a_line_with_the_reason() -> None:
    error = Unformattable()
    error.__cause__ = ValueError()
    text = TextFormatter().format(record(exc_info=of(error)))

    assert "it failed" in text
    assert "Unformattable could not be formatted: RuntimeError" in text


@settings(deadline=None)
@given(ANYTHING, ANYTHING)
def test_whatever_the_message_and_the_path_it_is_one_line(message: str, path: str) -> None:
    line = TextFormatter().format(record(message, pathname=path, error_id="0" * 12))

    assert len(line.splitlines()) == 1
    assert line.encode()
    assert not UNSEEN.search(line)


@settings(deadline=None)
@given(ANYTHING)
def test_the_file_can_hold_any_message_of_an_exception(message: str) -> None:
    text = TextFormatter().format(record(exc_info=(ValueError, ValueError(message), None)))

    assert text.encode()
    assert not UNSEEN.search(text.replace("\n", "").replace("\t", ""))


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("a\r\nb", r"a\r\nb"),
        ("a\tb", r"a\tb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x7f\x85\x9b", r"\x7f\x85\x9b"),
        ("\u2028\u2029\u202e\u2066", r"\u2028\u2029\u202e\u2066"),
        ("\ud800", r"\ud800"),
        ("ad\u200emin\u200f\u061c", r"ad\u200emin\u200f\u061c"),
        ("ad\xadmin\u200b\ufeff", r"ad\xadmin\u200b\ufeff"),
        ("\u2800\u3164\uffa0", r"\u2800\u3164\uffa0"),
        ("x\U000e0041\U000e0100\U0001d173", r"x\U000e0041\U000e0100\U0001d173"),
        ("👩\u200d💻 ❤\ufe0f", r"👩\u200d💻 ❤\ufe0f"),
        ("微博 ü \\ 100%", "微博 ü \\ 100%"),
        ("שלום مرحبا e\u0301 \xa0\u3000 𠀀 😀 \ue000", "שלום مرحبا e\u0301 \xa0\u3000 𠀀 😀 \ue000"),
    ],
)
def test_control_characters_are_escaped_and_others_are_not(raw: str, escaped: str) -> None:
    assert one_line(raw) == escaped
    assert block(f"{raw}\n\t.") == f"{escaped}\n\t.".replace(r"\n", "\n").replace(r"\t", "\t")


def test_of_all_characters_those_are_escaped_that_nobody_sees() -> None:
    unseen: list[str] = []
    seen: list[str] = []
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        hidden = UNSEEN.match(character) or unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        (unseen if hidden else seen).append(character)

    assert one_line("".join(seen)) == block("".join(seen)) == json_safe("".join(seen)) == "".join(seen)
    for escaped in (one_line("".join(unseen)), json_safe("".join(unseen))):
        assert escaped.isascii()
        assert escaped.isprintable()
        assert escaped.count("\\") >= len(unseen)
    assert set(block("".join(unseen))) - {"\n", "\t"} <= set(one_line("".join(unseen)))
    assert json.loads(json_safe(json.dumps(" ".join(unseen), ensure_ascii=False))) == " ".join(unseen)


def test_an_exception_cannot_forge_a_line_of_the_log() -> None:
    error = ValueError("bad name\n2026-01-01 10:00:00,000 INFO: all is well [in a.py:1]")
    text = TextFormatter().format(record(exc_info=(ValueError, error, None)))

    assert sum(bool(re.match(r"\d{4}-\d\d-\d\d ", line)) for line in text.splitlines()) == 1
    assert "\n  2026-01-01 10:00:00,000 INFO" in text


def test_json_has_the_documented_fields_in_their_order(failure: BaseException) -> None:
    stamped: dict[str, Any] = {"error_id": "0" * 12, "method": "POST", "route": "/user/edit", "user_id": 7}
    fields = json.loads(JsonFormatter().format(record(exc_info=of(failure), **stamped)))

    assert list(fields) == [
        *("time", "level", "logger", "message", "path", "line", "function", "process", "thread"),
        *("error_id", "method", "route", "user_id", "exception", "stack_info", "taskName", "extra"),
    ]
    documented = re.findall(r"`(\w+)`", JsonFormatter.__doc__ or "")
    assert [name for name in documented if name not in {"type", "traceback"}] == [
        *list(fields)[:-3],
        "message",
        *list(fields)[-3:],
    ]
    assert {name: fields[name] for name in stamped} == stamped
    assert fields["exception"] == {
        "type": "ValueError",
        "message": str(failure),
        "traceback": logging.Formatter().formatException(of(failure)),
    }
    assert JsonFormatter().formatException(of(failure)) == fields["exception"]["traceback"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", fields["time"])


def test_json_has_null_for_missing_values() -> None:
    fields = json.loads(JsonFormatter().format(record()))

    missing = ("error_id", "method", "route", "user_id", "exception", "stack_info", "extra")
    assert [fields[name] for name in missing] == [None] * len(missing)


def test_json_keeps_what_the_caller_added() -> None:
    made = record(stack_info="Stack:\n  here", taskName="Task-7", order=12, tags=["a", "b"])
    fields = json.loads(JsonFormatter().format(made))

    assert (fields["stack_info"], fields["taskName"]) == ("Stack:\n  here", "Task-7")
    assert fields["extra"] == {"order": 12, "tags": ["a", "b"]}


def test_json_keeps_chinese_readable() -> None:
    assert "微博已启动" in JsonFormatter().format(record("微博已启动"))


@settings(deadline=None)
@given(ANYTHING)
def test_whatever_the_message_json_is_one_line_that_reads_back(message: str) -> None:
    line = JsonFormatter().format(record(message))

    assert len(line.splitlines()) == 1
    assert line.encode()
    assert not UNSEEN.search(line)
    assert json.loads(line)["message"] == message


def test_json_of_an_exception_without_text_has_its_type() -> None:
    class Local(Exception):
        pass

    fields = json.loads(JsonFormatter().format(record(exc_info=of(Local()))))

    assert fields["exception"]["type"].endswith("Local")
    assert fields["exception"]["message"] == ""


@settings(deadline=None)
@given(ANYTHING)
def test_json_safe_text_survives(text: str) -> None:
    assert json.loads(json_safe(json.dumps(text, ensure_ascii=False))) == text


def test_a_shortened_text_counts_the_missing_characters() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefgh", 4) == "ab … (4 characters left out) … gh"
    assert shortened("abcdefgh", 0) == shortened("abcdefgh", 1) == " … (8 characters left out) … "
