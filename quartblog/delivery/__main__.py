"""Command line -> an outbox, read or changed while programs use it: `python -m delivery errors list`."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .filesystem import check_owner
from .mail.digest import headline, in_full
from .options import OutboxOptions
from .store.access import open_outbox
from .text import counted
from .text.escaping import block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .store.outbox import Outbox

NAME = f"python -m {__package__}"
EXAMPLES = f"""
examples:
  {NAME} --outbox logs/outbox.sqlite3 errors list
  {NAME} --outbox logs/outbox.sqlite3 errors show k7c2mfq9wx3a
  {NAME} --outbox logs/outbox.sqlite3 errors mute 12 --for 2h
"""
HEADER = b"SQLite format 3\0"
UNITS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}


class Failed(Exception):
    """The reason why the command ends with 1."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Return 0, or 1 if the command failed. A usage error exits with 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        with _opened(options.outbox) as outbox:
            for line in options.run(outbox, options):
                print(block(line))
        print(end="", flush=True)
    except Failed as problem:
        print(f"{NAME}: {block(str(problem))}", file=sys.stderr)
        return 1
    except OSError as error:
        # The interpreter would flush into it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # The other end of a pipe, such as `head`, has seen enough.
        if not isinstance(error, BrokenPipeError):
            print(f"{NAME}: stdout cannot be written: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Outbox]:
    try:
        with path.open("rb") as file:
            # Opening an outbox moves a damaged file aside. That must not happen to a file named by mistake.
            if file.read(len(HEADER)) != HEADER:
                raise Failed(f"{path}: this is not an outbox")
        check_owner(path)
        outbox = open_outbox(path)
    except OSError as error:
        raise Failed(f"{path}: the outbox cannot be used: {error}") from error
    try:
        yield outbox
    finally:
        healthy = outbox.healthy
        outbox.close()
        if not healthy:
            # The answer came from memory, where there is nothing, and so did a complaint about what is missing.
            raise Failed(f"{path}: the outbox cannot be used: see above") from None


def _list(outbox: Outbox, options: argparse.Namespace) -> Iterator[str]:
    groups = outbox.groups(resolved=None if options.all else False, limit=options.limit)
    now = outbox.wall()
    for group in groups:
        state = f"{group.state}, " if group.state in {"resolved", "muted"} else ""
        facts = f"{state}{counted(group.count, 'time')}, last {_span(now - group.last_seen)} ago"
        yield f"{group.id}: {headline(group)} ({facts})"
    if not groups:
        yield "There is no group" if options.all else "No group is open"
    totals = outbox.totals()
    _note_rest(len(groups), totals.open_groups + (totals.resolved_groups if options.all else 0))


def _show(outbox: Outbox, options: argparse.Namespace) -> Iterator[str]:
    if (group := outbox.group(options.key)) is None:
        raise Failed(f"{options.key}: no group has this number, and no error this id; the log file may have it")
    # A requested error comes first, even if it is not the latest.
    samples = sorted(group.samples, key=lambda event: event.error_id not in options.key.lower())
    yield in_full(replace(group, samples=tuple(samples)))
    details = outbox.details(options.key, quoted=options.key)
    asked = None if details is None else details.asked
    if asked is not None and all(event.error_id != asked.error_id for event in samples):
        yield f"\nThe text of error {asked.error_id} is no longer kept; this is the latest error of its group"
    yield f"\nSamples: {' '.join(event.error_id for event in samples)}"


def _resolve(outbox: Outbox, options: argparse.Namespace) -> Iterator[str]:
    return _change(outbox, options.keys, outbox.resolve, "resolved")


def _mute(outbox: Outbox, options: argparse.Namespace) -> Iterator[str]:
    return _change(outbox, options.keys, lambda group: outbox.mute(group, options.span), "muted")


def _reopen(outbox: Outbox, options: argparse.Namespace) -> Iterator[str]:
    return _change(outbox, options.keys, outbox.reopen, "open again")


def _change(outbox: Outbox, keys: Sequence[str], change: Callable[[int], bool], done: str) -> Iterator[str]:
    unknown = []
    for key in keys:
        if (group := outbox.group(key)) is None or not change(group.id):
            unknown.append(key)
        else:
            yield f"{group.id} is {done}: {headline(group)}"
    if unknown:
        raise Failed(f"no group has this number or error id: {', '.join(unknown)}")


def _mails(outbox: Outbox, options: argparse.Namespace) -> Iterator[str]:
    mails = [*outbox.mails("waiting", options.limit), *outbox.mails("dead", options.limit)]
    mails = sorted(mails, key=lambda mail: mail.created)[-options.limit :]
    for mail in mails:
        facts = f"{mail.state}, {mail.kind}, made {_span(mail.age)} ago, {counted(mail.tries, 'try', 'tries')}"
        # The answer to a mail of the program's own may name its recipient, which is private.
        yield f"{mail.id}: {facts}{f': {mail.last_error}' if mail.last_error and mail.kind != 'post' else ''}"
    if not mails:
        yield "No mail is waiting or dead"
    totals = outbox.totals()
    _note_rest(len(mails), totals.waiting + totals.dead)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        NAME,
        description="Show and change the errors in an outbox, and list its mails. It is safe while programs use it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = OutboxOptions().path
    parser.add_argument(
        "--outbox", type=Path, default=default, metavar="PATH", help="the SQLite file (default: %(default)s)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    errors = commands.add_parser("errors", help="list, show, resolve and mute the groups of equal errors")
    verbs = errors.add_subparsers(required=True, metavar="VERB")

    listing = _command(verbs, "list", _list, "list the open groups, the latest first")
    listing.add_argument("--all", action="store_true", help="include resolved groups")
    showing = _command(verbs, "show", _show, "show one group with one of its samples")
    showing.add_argument("key", metavar="ID", help="the group's number, or the error id that a visitor saw")
    resolving = _command(verbs, "resolve", _resolve, "mark groups as resolved; the next error reopens a group")
    muting = _command(verbs, "mute", _mute, "keep groups out of the mail for some time; their errors still count")
    muting.add_argument(
        "--for", dest="span", type=_seconds, required=True, metavar="SPAN", help="such as 30min, 2h, 7d"
    )
    reopening = _command(verbs, "reopen", _reopen, "undo resolve and mute")
    mails = _command(commands, "outbox", _mails, "list waiting and dead mails, with the last error of each")
    for command in (resolving, muting, reopening):
        command.add_argument("keys", metavar="ID", nargs="+", help="a group's number, or an error id")
    for command in (listing, mails):
        command.add_argument(
            "--limit", type=_rows, default=100, metavar="N", help="the latest N (default: %(default)s)"
        )
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[Outbox, argparse.Namespace], Iterator[str]],
    text: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.set_defaults(run=run)
    return command


def _rows(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= sys.maxsize):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _seconds(text: str) -> int:
    written = re.fullmatch(r"0*([1-9][0-9]{0,5})(s|min|h|d)", text)
    if written is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number with s, min, h or d, such as 2h")
    return int(written[1]) * UNITS[written[2]]


def _note_rest(shown: int, total: int) -> None:
    if shown < total:
        print(f"{shown:,} of {total:,} shown; --limit N shows more", file=sys.stderr)


def _span(seconds: float) -> str:
    unit, size = next(((unit, size) for unit, size in UNITS.items() if seconds >= size), ("s", 1))
    return f"{max(0, round(seconds)) // size} {unit}"


if __name__ == "__main__":
    sys.exit(main())
