"""Command line -> an outbox, read or changed while the programs that use it run: `python -m delivery errors list`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from .filesystem import check_owner
from .mail.digest import headline, in_full
from .options import OutboxOptions
from .store.outbox import Outbox
from .store.workers import LEASE, SILENT
from .text import counted
from .text.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .store.groups import Group
    from .store.mails import StoredMail

NAME = f"python -m {__package__}"
EXAMPLES = f"""
examples:
  {NAME} --outbox logs/outbox.sqlite3 errors list
  {NAME} --outbox logs/outbox.sqlite3 errors show k7c2mfq9wx3a
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
    if sys.stdout is None:
        _print(f"{NAME}: stdout is closed", sys.stderr)
        return 1
    try:
        with _opened(options.outbox) as outbox:
            options.run(outbox, options)
        sys.stdout.flush()
    except OSError as error:
        # The interpreter would flush into it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # The other end of a pipe, such as `head`, has seen enough.
        if not isinstance(error, BrokenPipeError):
            _print(f"{NAME}: stdout cannot be written: {error}", sys.stderr)
        return 1
    except Failed as problem:
        _print(f"{NAME}: {problem}", sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Outbox]:
    try:
        if not path.is_file():
            raise Failed(f"{path}: there is no outbox; a program creates it with OutboxOptions(path=...)")
        with path.open("rb") as file:
            # Opening an outbox moves a damaged file aside. That must not happen to a file named by mistake.
            if file.read(len(HEADER)) != HEADER:
                raise Failed(f"{path}: this is not an outbox")
        check_owner(path)
        outbox = Outbox(OutboxOptions(path))
        aside = outbox.open()
    except OSError as error:
        raise Failed(f"{path}: the outbox cannot be used: {error}") from error
    if aside is not None:
        _print(f"{path} was damaged: it was renamed to {aside}, and a new outbox was created", sys.stderr)
    try:
        yield outbox
    finally:
        healthy = outbox.healthy
        outbox.close()
        if not healthy:
            # The answer came from memory, where there is nothing, and so did a complaint about what is missing.
            raise Failed(f"{path}: the outbox cannot be used: see above") from None


def _list(outbox: Outbox, options: argparse.Namespace) -> None:
    groups = outbox.groups(resolved=None if options.all else False, limit=options.limit)
    if options.json:
        _print_json(_data(group) for group in groups)
        return
    now = outbox.wall()
    for group in groups:
        state = "resolved, " if group.resolved else "muted, " if (group.muted_until or 0) > now else ""
        facts = f"{state}{counted(group.count, 'time')}, last {_span(now - group.last_seen)} ago"
        _print(f"{group.id}: {headline(group)} ({facts})")
    if not groups:
        _print("There is no group" if options.all else "No group is open")


def _show(outbox: Outbox, options: argparse.Namespace) -> None:
    if (group := outbox.group(options.key)) is None:
        raise Failed(f"{options.key}: no group has this number, and no sample this error id; the log file may have it")
    if options.json:
        _print_json(_data(group) | {"samples": [asdict(event) for event in group.samples]})
        return
    # A requested error comes first, even if it is not the latest.
    samples = sorted(group.samples, key=lambda event: event.error_id not in options.key.lower())
    print(in_full(replace(group, samples=tuple(samples))))
    print()
    _print(f"Samples: {' '.join(event.error_id for event in samples)}")


def _resolve(outbox: Outbox, options: argparse.Namespace) -> None:
    _change(outbox, options.keys, outbox.resolve, "resolved")


def _mute(outbox: Outbox, options: argparse.Namespace) -> None:
    seconds = options.seconds
    _change(outbox, options.keys, lambda group: outbox.mute(group, seconds), "muted")


def _reopen(outbox: Outbox, options: argparse.Namespace) -> None:
    _change(outbox, options.keys, outbox.reopen, "open again")


def _change(outbox: Outbox, keys: Iterable[str], change: Callable[[int], bool], done: str) -> None:
    unknown = []
    for key in keys:
        if (group := outbox.group(key)) is None or not change(group.id):
            unknown.append(key)
        else:
            _print(f"{group.id} is {done}: {headline(group)}")
    if unknown:
        raise Failed(f"no group has this number or error id: {', '.join(unknown)}")


def _status(outbox: Outbox, options: argparse.Namespace) -> None:
    totals = outbox.totals()
    workers = [worker for worker in outbox.workers() if worker.silent <= SILENT or worker.hangs]
    if options.json:
        _print_json({"totals": totals._asdict(), "workers": [asdict(worker) for worker in workers]})
        return
    _print(f"errors: {counted(totals.open_groups, 'open group')} of {counted(totals.errors, 'error')},", end=" ")
    _print(f"{totals.to_mail} not mailed yet")
    _print(f"mails: {totals.waiting} waiting, {totals.dead} dead")
    if totals.last_loss is not None:
        crowded = f"{counted(totals.crowded_errors, 'error')} and {counted(totals.crowded_mails, 'mail')} without room"
        _print(f"lost: {counted(totals.old_errors, 'error')} too old, {crowded}; no mail reported them")
    for worker in workers:
        figures = ", ".join(f"{name} {value}" for name, value in worker.figures.items() if isinstance(value, int))
        # One that hangs has lost the lead, though its last heartbeat does not say so.
        state = f" (silent for {_span(worker.silent)})" if worker.hangs else " (mails)" if worker.leader else ""
        _print(f"{worker.name}{state}: {figures}")
    if not workers:
        _print("No program that uses it is running")


def _mails(outbox: Outbox, options: argparse.Namespace) -> None:
    mails = sorted((*outbox.mails("waiting"), *outbox.mails("dead")), key=lambda mail: mail.created)
    if options.json:
        _print_json(_mail_data(mail) for mail in mails)
        return
    for mail in mails:
        facts = f"{mail.state}, {mail.kind}, made {_span(mail.age)} ago, {counted(mail.tries, 'try', 'tries')}"
        why = _mail_data(mail).get("last_error")
        _print(f"{mail.id}: {facts}{f': {why}' if why else ''}")
    if not mails:
        _print("No mail is waiting or dead")


def _retry(outbox: Outbox, options: argparse.Namespace) -> None:
    due = outbox.retry(options.number)
    if options.number is not None and not due:
        raise Failed(f"no mail with the number {options.number} waits or is dead")
    _print(f"{counted(due, 'mail is', 'mails are')} due now")
    leader = outbox.leader()
    if due and (leader is None or leader.silent > LEASE):
        _print("A program that mails must run to send them", sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        NAME,
        description="Show and change the errors and mails in an outbox. It is safe while programs use it.",
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
    listing.add_argument("--limit", type=_positive, default=100, metavar="N", help="at most N groups (default: 100)")
    showing = _command(verbs, "show", _show, "show one group with one of its samples")
    showing.add_argument("key", metavar="ID", help="the group's number, or the error id that a visitor saw")
    resolving = _command(verbs, "resolve", _resolve, "mark groups as resolved; the next error reopens a group")
    muting = _command(verbs, "mute", _mute, "mail no report of groups for a while; their errors still count")
    muting.add_argument(
        "--for",
        dest="seconds",
        type=_seconds,
        required=True,
        metavar="SPAN",
        help="how long, as in 90s, 30min, 2h or 7d",
    )
    reopening = _command(verbs, "reopen", _reopen, "undo resolve and mute")
    for command in (resolving, muting, reopening):
        command.add_argument("keys", metavar="ID", nargs="+", help="a group's number, or an error id")

    mails = _command(commands, "outbox", _mails, "list waiting and dead mails, with the last error of each")
    status = _command(commands, "status", _status, "show the counts of errors and mails, and the running programs")
    retrying = _command(commands, "retry", _retry, "make waiting and dead mails due now")
    retrying.add_argument("number", metavar="N", nargs="?", type=_positive, help="one mail's number (default: all)")
    for command in (listing, showing, mails, status):
        command.add_argument("--json", action="store_true", help="print JSON; times are seconds since 1970")
    return parser


def _command(
    commands: Any, name: str, run: Callable[[Outbox, argparse.Namespace], None], text: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.set_defaults(run=run)
    return command


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:20]) < 2**63):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _seconds(text: str) -> int:
    """Return the seconds of a span such as 30min; above 0."""
    written = re.fullmatch(r"0*([1-9][0-9]{0,5})(s|min|h|d)", text)
    if written is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number with s, min, h or d, such as 2h")
    return int(written[1]) * UNITS[written[2]]


def _data(group: Group) -> dict[str, Any]:
    facts = {"what": headline(group), **asdict(group)}
    del facts["samples"]
    return facts


def _mail_data(mail: StoredMail) -> dict[str, Any]:
    # The subject and the recipients of the program's own mails are private.
    hidden = {"data", "token"} if mail.kind != "post" else {"data", "token", "subject", "recipients", "last_error"}
    return {name: value for name, value in asdict(mail).items() if name not in hidden}


def _span(seconds: float) -> str:
    unit, size = next(((unit, size) for unit, size in UNITS.items() if seconds >= size), ("s", 1))
    return f"{max(0, round(seconds)) // size} {unit}"


def _print(text: str, stream: TextIO | None = None, *, end: str = "\n") -> None:
    """Print one line, whatever a stranger has typed into it."""
    print(one_line(text), file=stream, end=end)


def _print_json(value: dict[str, Any] | Iterable[Any]) -> None:
    # ASCII, with escaped control characters, is safe for every terminal.
    print(json.dumps(value if isinstance(value, dict) else list(value), indent=2))


if __name__ == "__main__":
    sys.exit(main())
