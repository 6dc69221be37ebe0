"""`quartblog errors`: outbox -> groups of equal errors; resolve, mute, reopen and note them."""

from __future__ import annotations

import getpass
import logging
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast, get_args

import click

from quartblog.cli.groups import in_full, listed, listed_data, summary, whole
from quartblog.cli.listing import limit_option, note_rest, rows, table_width
from quartblog.cli.output import PartlyDone, count, json_option, moment, print_json, span
from quartblog.cli.plot import draws_blocks
from quartblog.cli.site_outbox import opened
from quartblog.delivery import Order, Query
from quartblog.delivery.tools import headline, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from quartblog.cli.invocation import Invocation
    from quartblog.delivery import Found, Group, GroupState, Outbox

STATES = ("open", "resolved", "muted", "all")
LEVELS = ("ERROR", "CRITICAL")
PAGE = 500
"""Groups to read at once."""
PASSES = 3
"""How often a list is read at most until it has all groups, while some of them fail."""
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
@click.argument("words", metavar="[WORD]...", nargs=-1)
@click.option("--state", type=click.Choice(STATES), help="List this state.  [default: open and muted]")
@click.option("--all", "every", is_flag=True, help="The same as --state all.")
@click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), help="List this level and higher ones.")
@click.option("--route", metavar="ROUTE", help="List groups that failed last in this route, such as /user/edit.")
@click.option("--release", metavar="NAME", help="List groups whose first or last release is this one.")
@click.option(
    "--order", type=click.Choice(get_args(Order)), default="last", show_default=True, help="Sort by this, descending."
)
@limit_option
@json_option
@click.pass_obj
def list_groups(  # noqa: PLR0913  one for each option
    invocation: Invocation,
    /,
    words: tuple[str, ...],
    state: str | None,
    limit: int | None,
    *,
    every: bool,
    as_data: bool,
    **conditions: Any,
) -> None:
    """List groups of equal errors, the latest first.

    WORD is a part of what the latest error says, of its exception's type, file, function, logger or route, in upper or
    lower case; or a whole error id. A group needs all words, and must meet every condition of the options.

    \b
    id        the number that the other commands take
    to mail   errors that no mail has reported yet
    users     different users who met the error
    24 hours  errors of each hour, the current one last
    state     "again" is open after it was resolved
    mail      the state of the latest mail about it

    In a narrow terminal, some columns are missing: `quartblog errors show` and --json have all. Exits 1 if the outbox
    does not exist yet; an empty list exits 0.

    \b
    Example:
      quartblog errors list
      quartblog errors list timeout database --state all
      quartblog errors list --level critical --order count --limit 10
      quartblog errors list --json | jq '.[] | select(.mail.state == "dead")'
    """
    if every and state not in {None, "all"}:
        raise click.UsageError("--all means --state all: omit one of the two")
    chosen = "all" if every else state or "unresolved"
    query = _query(words, chosen, **conditions)
    with opened(invocation) as outbox:
        found, total = _found(outbox, query, rows(limit, as_data=as_data))
    if as_data:
        print_json([listed_data(one) for one in found])
    elif found:
        click.echo(listed(found, table_width(), ascii_only=not draws_blocks()))
        note_rest(len(found), total)
    else:
        click.echo(_none(query, chosen))


def _query(words: Iterable[str], state: str, level: str | None, **conditions: Any) -> Query:
    return Query(
        state=None if state == "all" else cast("GroupState", state),
        level=None if level is None else logging.getLevelNamesMapping()[level],
        # The id of a log line comes in brackets.
        words=re.sub(r"\[id ([^]\s]+)]", r"\1", " ".join(words), flags=re.IGNORECASE),
        samples=1,
        **conditions,
    )


def _found(outbox: Outbox, query: Query, most: int) -> tuple[list[Found], int]:
    """Return so many groups at most, and how many there are."""
    found: dict[int, Found] = {}
    for _ in range(PASSES):
        found |= {one.group.id: one for one in _pages(outbox, query, most)}
        total = outbox.total(query)
        # A group that fails meanwhile moves to a page that was read before.
        if len(found) >= min(total, most):
            break
    return sorted(found.values(), key=lambda one: one.key, reverse=True)[:most], total


def _pages(outbox: Outbox, query: Query, most: int) -> Iterator[Found]:
    more = True
    while more and most > 0:
        page = outbox.page(replace(query, limit=min(PAGE, most)))
        yield from page.found
        most -= len(page.found)
        more = page.more
        if more:
            query = replace(query, after=page.found[-1].key)


def _none(query: Query, state: str) -> str:
    """Return the line for an empty list."""
    which = {"all": "", "unresolved": "open "}.get(state, f"{state} ")
    if not (query.words or query.level or query.route or query.release):
        return f"No {which}errors"
    hint = "" if state == "all" else "; --state all searches all states"
    return f"No {which}errors match{hint}"


@group.command()
@click.argument("words", metavar="ID", nargs=-1, required=True)
@json_option
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
      quartblog errors show 12 --json | jq -r .samples[0].traceback
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
        print_json(whole(found, details))
    else:
        # Show the error with the given id, else the latest.
        latest = found.samples[0] if found.samples else None
        event = next((event for event in found.samples if event.error_id.lower() in key.lower()), latest)
        click.echo("\n".join(in_full(found, details, event)))


@group.command()
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@_with_note
@json_option
@click.pass_obj
def resolve(invocation: Invocation, words: tuple[str, ...], text: str, *, as_data: bool) -> None:
    """Mark groups as resolved.

    Each ID is the number of a group or an error id, as in `quartblog errors show`. The next error of a resolved group
    opens it again and is mailed at once.

    Exits 1 if an ID is unknown, after resolving the other groups.

    \b
    Example:
      quartblog errors resolve 12 14
      quartblog errors resolve 12 --note "fixed in 1.2"
      quartblog errors resolve 12 14 --json | jq '.groups[] | select(.was != .state) | .id'
    """
    _change(
        invocation,
        words,
        lambda outbox, found: outbox.resolve(found.id, who=_who(), note=text),
        lambda found: "was already resolved" if found.resolved else "is resolved",
        as_data=as_data,
    )


@group.command()
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--for", "seconds", metavar="SPAN", callback=_seconds, required=True, help="A number with s, min, h or d, as in 2h."
)
@click.option("--more", metavar="N", type=click.IntRange(1), help="Until more than N errors come within the time.")
@_with_note
@json_option
@click.pass_obj
def mute(  # noqa: PLR0913  one for each option
    invocation: Invocation, words: tuple[str, ...], seconds: float, more: int | None, text: str, *, as_data: bool
) -> None:
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
      quartblog errors mute 12 --for 2h --json | jq -r .groups[].muted_until
    """
    until = moment(time.time() + seconds) if more is None else f"more than {count(more, 'error')} in {span(seconds)}"
    _change(
        invocation,
        words,
        lambda outbox, found: outbox.mute(found.id, seconds, more, who=_who(), note=text),
        lambda _found: f"is muted until {until}",
        as_data=as_data,
    )


@group.command()
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@_with_note
@json_option
@click.pass_obj
def reopen(invocation: Invocation, words: tuple[str, ...], text: str, *, as_data: bool) -> None:
    """Reopen resolved or muted groups.

    Each ID is the number of a group or an error id, as in `quartblog errors show`.

    Exits 1 if an ID is unknown, after reopening the other groups.

    \b
    Example:
      quartblog errors reopen 12 --note "not fixed in 1.2"
      quartblog errors reopen 12 14 --json | jq .unknown
    """
    _change(
        invocation,
        words,
        lambda outbox, found: outbox.reopen(found.id, who=_who(), note=text),
        lambda _found: "is open",
        as_data=as_data,
    )


@group.command()
@click.argument("key", metavar="ID")
@click.argument("text", metavar="TEXT")
@json_option
@click.pass_obj
def note(invocation: Invocation, key: str, text: str, *, as_data: bool) -> None:
    """Add a note to the history of a group.

    ID is the number of the group or an error id, as in `quartblog errors show`, which also shows the notes.
    TEXT is the note; quote it for the shell.

    Exits 1 if no group matches.

    \b
    Example:
      quartblog errors note 12 "the disk of the mail server is full"
      quartblog errors note k7c2mfq9wx3a "the disk is full" --json | jq .groups[].id
    """
    if not text.strip():
        raise click.UsageError("the note is empty")
    _change(
        invocation,
        [key],
        lambda outbox, found: outbox.note(found.id, text, who=_who()),
        lambda _found: "is noted",
        as_data=as_data,
    )


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
    *,
    as_data: bool,
) -> None:
    """Change each group, and print its `fate`, given the group before the change. Raise PartlyDone at the end."""
    unknown, changed = [], []
    with opened(invocation) as outbox:
        for key in _keys(words):
            found = outbox.group(key)
            if found is None or not change(outbox, found):
                unknown.append(key)
                continue
            changed.append(summary(outbox.group(found.id) or found) | {"was": summary(found)["state"]})
            if not as_data:
                click.echo(f"{found.id} {fate(found)}: {headline(found)}")
    done = {"groups": changed, "unknown": unknown}
    if unknown:
        named = ", ".join(map(one_line, unknown))
        raise PartlyDone(f"no group has this number or error id: {named}", done)
    if as_data:
        print_json(done)
