"""`quartblog errors`: outbox -> groups of equal errors; resolve, mute, reopen and note them."""

from __future__ import annotations

import getpass
import re
import time
from typing import TYPE_CHECKING

import click

from quartblog.cli.groups import in_full, listed, summary, whole
from quartblog.cli.listing import limit_option, note_rest, rows
from quartblog.cli.output import as_json, count, moment, span
from quartblog.cli.site_outbox import opened
from quartblog.delivery.tools import headline, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quartblog.cli.invocation import Invocation
    from quartblog.delivery import Group, Outbox

UNITS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}
LONGEST = 3_650 * 86_400
"""Seconds that a group may be muted."""


def _seconds(_context: click.Context, _option: click.Parameter, span: str) -> float:
    """Read a time span such as 90s, 30min, 2h or 7d."""
    written = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?(s|min|h|d)", span.strip(), re.ASCII)
    seconds = float(written[1]) * UNITS[written[2]] if written else 0.0
    if written is None:
        raise click.BadParameter(f"{span!r} is not a number with s, min, h or d, as in 30min or 2h.")
    if not 0 < seconds <= LONGEST:
        raise click.BadParameter(f"{span!r} is not above 0 and at most {LONGEST // 86_400} days.")
    return seconds


_with_note = click.option("--note", "text", metavar="TEXT", default="", help="Add this to the history of the group.")


@click.group("errors")
def group() -> None:
    """Show, resolve and mute groups of equal errors.

    \b
    Example:
      quartblog errors list
      quartblog errors show 12
    """


@group.command("list")
@click.option("--all", "every", is_flag=True, help="Include resolved groups.")
@limit_option
@click.option("--json", "as_data", is_flag=True, help="Print JSON instead of a table.")
@click.pass_obj
def list_groups(invocation: Invocation, limit: int | None, *, every: bool, as_data: bool) -> None:
    """List groups of equal errors, the latest first.

    The other commands take the number in the column "id". The column "to mail" counts the errors that no mail has
    reported yet. The state "again" means that an error came after the group was resolved.

    Exits 1 if the outbox does not exist yet; an empty list exits 0.

    \b
    Example:
      quartblog errors list
      quartblog errors list --all --json
    """
    with opened(invocation) as outbox:
        groups = outbox.groups(resolved=None if every else False, limit=rows(limit, as_data=as_data))
        totals = outbox.totals()
    if as_data:
        click.echo(as_json([summary(found) for found in groups]))
        return
    click.echo(listed(groups) if groups else "No errors" if every else "No open errors")
    note_rest(len(groups), totals.open_groups + (totals.resolved_groups if every else 0))


@group.command()
@click.argument("words", metavar="ID", nargs=-1, required=True)
@click.option("--json", "as_data", is_flag=True, help="Print JSON instead of text.")
@click.pass_obj
def show(invocation: Invocation, words: tuple[str, ...], *, as_data: bool) -> None:
    """Show one group with its latest error.

    ID is the number of a group or an error id. `quartblog errors list` and mails have the number. The error page, the
    header X-Error-Id and the log file have the error id, which selects that error instead of the latest. You may type
    an error id in upper case, or copy it from the log file with the [id ...] around it.

    Exits 1 if no group matches. The outbox knows the latest 100,000 error ids; search the log files for older ones.

    \b
    Example:
      quartblog errors show 12
      quartblog errors show k7c2mfq9wx3a
      quartblog errors show "[id k7c2mfq9wx3a]"
    """
    if len(keys := _keys(words)) != 1:
        raise click.UsageError("give the number of one group, or one error id")
    [key] = keys
    with opened(invocation) as outbox:
        found = outbox.group(key)
        details = outbox.details(found.id, quoted=key) if found is not None else None
    if found is None or details is None:
        raise click.ClickException(
            f"{one_line(key)}: no group has this number or error id; "
            "the outbox knows the latest 100,000 error ids, search the log files for older ones"
        )
    if as_data:
        click.echo(as_json(whole(found, details)))
    else:
        # Show the error with the given id, else the latest.
        latest = found.samples[0] if found.samples else None
        event = next((event for event in found.samples if event.error_id.lower() in key.lower()), latest)
        click.echo("\n".join(in_full(found, details, event)))


@group.command()
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@_with_note
@click.pass_obj
def resolve(invocation: Invocation, words: tuple[str, ...], text: str) -> None:
    """Mark groups as resolved.

    Each ID is the number of a group or an error id, as in `quartblog errors show`. The next error of a resolved group
    opens it again and is mailed at once.

    Exits 1 if an ID is unknown, after resolving the other groups.

    \b
    Example:
      quartblog errors resolve 12 14
      quartblog errors resolve 12 --note "fixed in 1.2"
    """
    _change(
        invocation,
        words,
        lambda outbox, found: outbox.resolve(found.id, who=_who(), note=text),
        lambda found: "was already resolved" if found.resolved else "is resolved",
    )


@group.command()
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--for", "seconds", metavar="SPAN", callback=_seconds, required=True, help="A number with s, min, h or d, as in 2h."
)
@click.option("--more", metavar="N", type=click.IntRange(1), help="Until more than N errors come within the time.")
@_with_note
@click.pass_obj
def mute(invocation: Invocation, words: tuple[str, ...], seconds: float, more: int | None, text: str) -> None:
    """Mute groups: no mail reports them for some time.

    Each ID is the number of a group or an error id, as in `quartblog errors show`. The errors of a muted group are
    still logged and counted. After that time, the next digest reports them. With --more, a group stays muted until more
    than N of its errors come within the time, however long that takes. `quartblog errors reopen` ends both early.

    Exits 1 if an ID is unknown, after muting the other groups.

    \b
    Example:
      quartblog errors mute 12 --for 2h
      quartblog errors mute 12 14 --for 30min
      quartblog errors mute 12 --more 10 --for 1h
    """
    until = moment(time.time() + seconds) if more is None else f"more than {count(more, 'error')} in {span(seconds)}"
    _change(
        invocation,
        words,
        lambda outbox, found: outbox.mute(found.id, seconds, more, who=_who(), note=text),
        lambda _found: f"is muted until {until}",
    )


@group.command()
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def reopen(invocation: Invocation, words: tuple[str, ...]) -> None:
    """Reopen resolved or muted groups.

    Each ID is the number of a group or an error id, as in `quartblog errors show`.

    Exits 1 if an ID is unknown, after reopening the other groups.

    \b
    Example:
      quartblog errors reopen 12
    """
    _change(invocation, words, lambda outbox, found: outbox.reopen(found.id, who=_who()), lambda _found: "is open")


@group.command()
@click.argument("key", metavar="ID")
@click.argument("text", metavar="TEXT")
@click.pass_obj
def note(invocation: Invocation, key: str, text: str) -> None:
    """Add a note to the history of a group.

    ID is the number of the group or an error id, as in `quartblog errors show`, which also shows the notes.
    TEXT is the note; quote it for the shell.

    Exits 1 if no group matches.

    \b
    Example:
      quartblog errors note 12 "the disk of the mail server is full"
    """
    if not text.strip():
        raise click.UsageError("the note is empty")
    _change(invocation, [key], lambda outbox, found: outbox.note(found.id, text, who=_who()), lambda _found: "is noted")


def _who() -> str:
    """Return the user who runs the command, for the history of a group."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):  # A container may run as a user without a name.
        return "command line"


def _keys(words: Iterable[str]) -> list[str]:
    """Return the keys of groups. A shell splits the `[id …]` of a log line into two words."""
    return [word for word in words if word.lower() not in {"[id", "id"}]


def _change(
    invocation: Invocation,
    words: Iterable[str],
    change: Callable[[Outbox, Group], bool],
    fate: Callable[[Group], str],
) -> None:
    """Change each group, and print its `fate`, given the group before the change. Raise ClickException at the end."""
    unknown = []
    with opened(invocation) as outbox:
        for key in _keys(words):
            found = outbox.group(key)
            if found is None or not change(outbox, found):
                unknown.append(one_line(key))
            else:
                click.echo(f"{found.id} {fate(found)}: {headline(found)}")
    if unknown:
        raise click.ClickException(f"no group has this number or error id: {', '.join(unknown)}")
