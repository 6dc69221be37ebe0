"""`quartblog delivery`: outbox -> the state of the workers, the mails, and commands to retry or remove them."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, get_args

import click

from quartblog.cli import mails, rehearse, summary
from quartblog.cli import status as state
from quartblog.cli.invocation import ROWS, Finite
from quartblog.cli.listing import limit_option, note_rest, rows
from quartblog.cli.output import count, json_option, print_json
from quartblog.cli.site_outbox import anybody_mails, opened
from quartblog.delivery import State
from quartblog.delivery.tools import json_safe
from quartblog.errors.exceptions import SettingsError
from quartblog.settings.options import mailing_options

if TYPE_CHECKING:
    from quartblog.cli.invocation import Invocation
    from quartblog.delivery import MailingOptions, Outbox

REDRAW = 1.0
"""Seconds between two updates of `status --watch`: workers send a heartbeat once a second."""
DAY = 86_400
pause = time.sleep
"""Waits for the next update."""
_HOME_AND_CLEAR = "\x1b[H\x1b[J"


@click.group("delivery")
def group() -> None:
    """Manage the delivery of log records and mail.

    \b
    Example:
      quartblog delivery status
      quartblog delivery outbox
      quartblog delivery rehearse --rate 500 --seconds 5
    """


@group.command()
@click.option("--watch", is_flag=True, help="Update every second until Ctrl-C.")
@json_option
@click.pass_obj
def status(invocation: Invocation, *, watch: bool, as_data: bool) -> None:
    """Show all workers, and the outbox they share.

    \b
    beat      the last heartbeat; "silent for" marks a process that runs
              but has sent none for 10 seconds, such as a suspended one
    queue     records that wait, and the capacity
    peak      the most records that waited
    refused   records that the full queue refused, by level
    grouped   errors counted in the outbox
    retried   attempts to send a mail after a failed one
    dropped   records that a slow extra handler did not get
    cap       digests of the last hour, and [delivery] mails_per_hour;
              copies for [[delivery.routes]] count only while the mail
              server puts the admins off

    Times are median / p99. Exits 1 if the outbox does not exist yet. With --watch and --json, each update is one line.

    \b
    Example:
      quartblog delivery status --watch
      quartblog delivery status --json | jq .totals
    """
    with opened(invocation) as outbox:
        if not watch:
            snapshot = state.look(outbox, _mailing(invocation))
            if as_data:
                print_json(state.as_data(snapshot))
            else:
                click.echo(state.as_text(snapshot))
            return
        try:
            while True:
                _redraw(state.look(outbox, _mailing(invocation)), as_data=as_data)
                pause(REDRAW)
        except KeyboardInterrupt:
            click.echo()


@group.command("outbox")
@click.option(
    "--state", "only", type=click.Choice(get_args(State)), help="List this state.  [default: waiting and dead]"
)
@limit_option
@json_option
@click.pass_obj
def list_mails(invocation: Invocation, only: State | None, limit: int | None, *, as_data: bool) -> None:
    """List waiting and dead mails with their age and last error.

    The kind "digest" reports errors to the admins, "copy" to a recipient of [[delivery.routes]], or to an admin whom
    the mail server put off. "summary" is the weekly mail. "post" is a mail of the site to a visitor, so its recipients
    are masked. "test" comes from `quartblog mail test` or `quartblog delivery summary --send`.

    \b
    Example:
      quartblog delivery outbox
      quartblog delivery outbox --state dead --json
    """
    states: tuple[State, ...] = ("waiting", "dead") if only is None else (only,)
    most = rows(limit, as_data=as_data)
    with opened(invocation) as outbox:
        found = [mail for state in states for mail in outbox.mails(state, most)]
        totals = outbox.totals()
    found = sorted(found, key=lambda mail: mail.created)[-most:]
    if as_data:
        print_json([mails.as_data(mail) for mail in found])
        return
    click.echo(mails.as_text(found) if found else f"No mail is {' or '.join(states)}")
    note_rest(len(found), sum(getattr(totals, state) for state in states))


@group.command()
@click.argument("number", metavar="[ID]", type=ROWS, required=False)
@json_option
@click.pass_obj
def retry(invocation: Invocation, number: int | None, *, as_data: bool) -> None:
    """Make waiting and dead mails due now.

    ID is the number of a mail, from `quartblog delivery outbox`. Without it, the command retries all of them.

    Exits 1 if no waiting or dead mail has this number.

    \b
    Example:
      quartblog delivery retry
      quartblog delivery retry 12
      quartblog delivery retry --json | jq .due
    """
    with opened(invocation) as outbox:
        due = outbox.retry(number)
        nobody = not anybody_mails(outbox)
    if number is not None and not due:
        raise click.ClickException(f"no waiting or dead mail has the number {number}")
    if as_data:
        print_json({"due": due, "worker_mails": not nobody})
    else:
        click.echo(f"{count(due, 'mail is', 'mails are')} due now")
    if due and nobody:
        click.echo("No running worker sends mail: start `quartblog run` with a mail server", err=True)


@group.command()
@click.argument("number", metavar="[ID]", type=ROWS, required=False)
@click.option("--dead", is_flag=True, help="Remove dead mails, which nobody received.")
@click.option("--sent", is_flag=True, help="Remove sent mails; the default without --dead.")
@click.option("--older-than", "days", type=Finite(min=0), help="Only mails sent or dead for at least this many days.")
@click.option("--yes", is_flag=True, help="Confirm the removal of mails that nobody received.")
@json_option
@click.pass_obj
def purge(  # noqa: PLR0913  one for each option
    invocation: Invocation, number: int | None, days: float | None, *, dead: bool, sent: bool, yes: bool, as_data: bool
) -> None:
    """Remove sent or dead mails from the outbox, or one mail.

    ID is the number of a mail, from `quartblog delivery outbox`; it may be a waiting one. Without it, waiting mails
    stay; they become dead after [delivery] retry_for seconds. The next digest reports the errors of a digest that
    nobody received.

    Exits 1 and removes nothing if --yes is missing for mails that nobody received, or if no mail has this number.

    \b
    Example:
      quartblog delivery purge --older-than 7
      quartblog delivery purge --dead --yes
      quartblog delivery purge 12 --yes
      quartblog delivery purge --older-than 7 --json | jq .removed
    """
    if number is not None:
        if dead or sent or days is not None:
            raise click.UsageError("ID names one mail, so it goes without --dead, --sent and --older-than")
        removed, kinds = _purge_one(invocation, number, yes=yes), ""
    else:
        older_than = (days or 0) * DAY
        with opened(invocation) as outbox:
            if dead and not yes:
                _confirm(_doomed(outbox, older_than))
            removed = outbox.purge(older_than=older_than, dead=dead, sent=sent or not dead)
        kinds = " and ".join(name for name, wanted in (("dead", dead), ("sent", sent or not dead)) if wanted) + " "
    if as_data:
        print_json({"removed": removed})
    else:
        click.echo(f"{count(removed, f'{kinds}mail was', f'{kinds}mails were')} removed")


group.add_command(rehearse.command)
group.add_command(summary.command)


def _purge_one(invocation: Invocation, number: int, *, yes: bool) -> int:
    """Remove one mail, and return 1. Raise ClickException."""
    with opened(invocation) as outbox:
        if not yes:
            totals = outbox.totals()
            unsent = [*outbox.mails("waiting", totals.waiting), *outbox.mails("dead", totals.dead)]
            _confirm(sum(mail.id == number for mail in unsent))
        if not (removed := outbox.purge(number)):
            raise click.ClickException(f"no mail has the number {number}")
    return removed


def _confirm(doomed: int) -> None:
    """Raise ClickException if mails would go that nobody received."""
    if doomed:
        lost = f"this would remove {count(doomed, 'mail')} that nobody received"
        raise click.ClickException(f"{lost}: confirm with --yes, or see `quartblog delivery outbox`")


def _mailing(invocation: Invocation) -> MailingOptions | None:
    """Return the mail timing options; None for an invalid config.toml, which a running site does not use."""
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


def _doomed(outbox: Outbox, older_than: float) -> int:
    """Count the dead mails that ended at least so many seconds ago."""
    dead = outbox.totals().dead
    if not older_than:
        return dead
    before = outbox.wall() - older_than
    return sum((mail.finished or mail.created) <= before for mail in outbox.mails("dead", dead))
