"""`quartblog delivery summary`: outbox -> the weekly mail as it would be now, on the screen or to the admins."""

from __future__ import annotations

import dataclasses
import platform
from typing import TYPE_CHECKING, Any

import click

from quartblog.cli import groups
from quartblog.cli.mail import send_now
from quartblog.cli.output import iso, json_option, print_json, say
from quartblog.cli.site_outbox import opened
from quartblog.delivery.tools import summary_mail
from quartblog.operations.trial_mail import marked
from quartblog.settings.options import mail_options, mailing_options

if TYPE_CHECKING:
    from quartblog.cli.invocation import Invocation
    from quartblog.delivery import Week


@click.command("summary")
@click.option("--send", is_flag=True, help="Send it to all admins now, and print the mail server's answer.")
@json_option
@click.pass_obj
def command(invocation: Invocation, *, send: bool, as_data: bool) -> None:
    """Show the weekly mail as it would be now.

    It is about the last seven days, with the current hour. [operations] summary names the time of the week, in UTC, at
    which the site sends it; it may be "". The command does not change when the site sends its own. --json prints the
    figures, with --send the mail server's answer.

    Exits 1 if the outbox does not exist yet, if [mail] server is not set, or if the server did not accept the mail for
    every address.

    \b
    Example:
      quartblog delivery summary
      quartblog delivery summary --send
      quartblog delivery summary --json | jq .errors
    """
    with opened(invocation) as outbox:
        week = outbox.week()
        if as_data and not send:
            print_json(_as_data(week))
            return
        loaded = invocation.load()
        options = mail_options(loaded.settings)
        if options is None:
            raise click.ClickException(f"[mail] server: not set, so there is no weekly mail{loaded.missing}")
        message = summary_mail(week, outbox.workers(), options, platform.node())
        if send:
            done = send_now(marked(message), outbox, options, mailing_options(loaded.settings), quiet=as_data)
            if as_data:
                print_json(done)
            return
        say(f"Subject: {message['Subject']}\nTo: {message['To']}\n\n{message.get_content()}".rstrip())


def _as_data(week: Week) -> dict[str, Any]:
    """Return the figures for JSON: times as ISO 8601, and groups with the keys of `errors list --json`."""
    values = {field.name: getattr(week, field.name) for field in dataclasses.fields(week)}
    times = {name: iso(values[name]) for name in ("begin", "end", "made", "since")}
    frequent = [
        groups.summary(one.group) | {"state": one.state, "errors": one.errors, "errors_before": one.errors_before}
        for one in week.frequent
    ]
    return values | times | {"frequent": frequent}
