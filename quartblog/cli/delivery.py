"""`quartblog delivery`: what the workers do with records, what waits in the outbox, and what to do about it."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, get_args

import click

from quartblog.cli import mails, rehearse
from quartblog.cli import status as state
from quartblog.cli.invocation import ROWS, Finite
from quartblog.cli.output import as_json, count
from quartblog.cli.site_outbox import anybody_mails, opened
from quartblog.delivery import State, json_safe
from quartblog.errors.exceptions import SettingsError
from quartblog.settings.options import mailing_options

if TYPE_CHECKING:
    from quartblog.cli.invocation import Invocation
    from quartblog.delivery import MailingOptions, Outbox

REDRAW = 1.0
"""Seconds between two looks of `status --watch`: workers beat once a second."""
DAY = 86_400
pause = time.sleep
"""Waits for the next look."""
_HOME_AND_CLEAR = "\x1b[H\x1b[J"

json_option = click.option("--json", "as_data", is_flag=True, help="Print JSON instead of a table.")


@click.group("delivery")
def group() -> None:
    """Look after the delivery of log records and mail.

    \b
    Example:
      quartblog delivery status
      quartblog delivery outbox
      quartblog delivery rehearse --rate 500 --seconds 5
    """


@group.command()
@click.option("--watch", is_flag=True, help="Look again every second until Ctrl-C.")
@json_option
@click.pass_obj
def status(invocation: Invocation, *, watch: bool, as_data: bool) -> None:
    """Show all workers, and what they share.

    queue: records that wait, of how many can; peak: the most there were; refused: by a full queue, for each level;
    grouped: errors in the outbox; retried: tries of mails that had failed before; dropped: records that a slow sink
    did not get. Times are median / p99. cap: digests of the last hour, of as many as [delivery] mails_per_hour lets
    leave; those to [[delivery.routes]] do not count.

    Exits 1 where there is no outbox yet. With --watch and --json each look is one line.

    \b
    Example:
      quartblog delivery status --watch
      quartblog delivery status --json | jq .totals
    """
    with opened(invocation) as outbox:
        if not watch:
            snapshot = state.look(outbox, _mailing(invocation))
            click.echo(as_json(state.as_data(snapshot)) if as_data else state.as_text(snapshot))
            return
        try:
            while True:
                _redraw(state.look(outbox, _mailing(invocation)), as_data=as_data)
                pause(REDRAW)
        except KeyboardInterrupt:
            click.echo()


@group.command("outbox")
@click.option("--state", "only", type=click.Choice(get_args(State)), help="Only these.  [default: waiting and dead]")
@click.option("--limit", type=ROWS, default=100, show_default=True, help="Mails to list at most.")
@json_option
@click.pass_obj
def list_mails(invocation: Invocation, only: State | None, limit: int, *, as_data: bool) -> None:
    """List the mails that wait or were given up, since when, and why.

    kind: a digest tells the admins of errors, a route tells others ([[delivery.routes]]), a post is product mail, and
    a test was asked for with `quartblog mail test`. The readers of product mail are masked: they are visitors.

    \b
    Example:
      quartblog delivery outbox
      quartblog delivery outbox --state dead --json
    """
    with opened(invocation) as outbox:
        states: tuple[State, ...] = ("waiting", "dead") if only is None else (only,)
        found = [mail for each in states for mail in outbox.mails(each, limit + 1)]
    found.sort(key=lambda mail: mail.created)
    shown, more = found[-limit:], len(found) > limit
    if as_data:
        click.echo(as_json([mails.as_data(mail) for mail in shown]))
    elif shown:
        click.echo(mails.as_text(shown))
    else:
        click.echo(f"No mail is {' or '.join(states)}")
    if more and not as_data:
        click.echo(f"Only the latest {limit}: --limit shows more", err=True)


@group.command()
@click.argument("number", metavar="[ID]", type=ROWS, required=False)
@click.pass_obj
def retry(invocation: Invocation, number: int | None) -> None:
    """Make waiting and dead mails due now: one, or all of them.

    ID is the number of a mail, from `quartblog delivery outbox`; without it, every mail is meant.

    Exits 1 where the mail of this number neither waits nor is dead.

    \b
    Example:
      quartblog delivery retry
      quartblog delivery retry 12
    """
    with opened(invocation) as outbox:
        due = outbox.retry(number)
        nobody = not anybody_mails(outbox)
    if number is not None and not due:
        raise click.ClickException(f"no mail with the number {number} waits or is dead")
    click.echo(f"{count(due, 'mail is', 'mails are')} due now")
    if due and nobody:
        click.echo("No worker mails: they leave once `quartblog run` has a mail server", err=True)


@group.command()
@click.option("--dead", is_flag=True, help="Remove dead mails; they were never delivered.")
@click.option("--sent", is_flag=True, help="Remove sent mails; that is the default without --dead.")
@click.option("--older-than", "days", type=Finite(min=0), help="Only those sent or given up at least so many days ago.")
@click.option("--yes", is_flag=True, help="Needed where dead mails would be removed.")
@click.pass_obj
def purge(invocation: Invocation, days: float | None, *, dead: bool, sent: bool, yes: bool) -> None:
    """Remove mails that are done with.

    What waits stays: it is given up after [delivery] retry_for seconds, and is dead then.

    Exits 1, and removes nothing, where dead mails would be lost and --yes is missing.

    \b
    Example:
      quartblog delivery purge --older-than 7
      quartblog delivery purge --dead --yes
    """
    before = None if days is None else time.time() - days * DAY
    with opened(invocation) as outbox:
        if dead and not yes and (doomed := _doomed(outbox, before)):
            lost = f"{count(doomed, 'mail')} that nobody got would be lost"
            raise click.ClickException(f"{lost}: add --yes to remove, or see `quartblog delivery outbox`")
        removed = outbox.purge(before=before, dead=dead, sent=sent or not dead)
    kinds = " and ".join(name for name, wanted in (("dead", dead), ("sent", sent or not dead)) if wanted)
    click.echo(f"{count(removed, f'{kinds} mail was', f'{kinds} mails were')} removed")


group.add_command(rehearse.command)


def _mailing(invocation: Invocation) -> MailingOptions | None:
    """What counts for mails, None where config.toml is broken: a running site has other settings then."""
    try:
        return mailing_options(invocation.settings())
    except SettingsError:
        return None


def _redraw(snapshot: state.Snapshot, *, as_data: bool) -> None:
    if as_data:
        click.echo(json_safe(json.dumps(state.as_data(snapshot), ensure_ascii=False)))
        return
    if sys.stdout.isatty():
        click.echo(_HOME_AND_CLEAR, nl=False, color=True)
    click.echo(f"{state.as_text(snapshot)}\n")


def _doomed(outbox: Outbox, before: float | None) -> int:
    """How many dead mails ended before then."""
    dead = outbox.totals().dead
    if before is None:
        return dead
    return sum((mail.finished or mail.created) < before for mail in outbox.mails("dead", dead))
