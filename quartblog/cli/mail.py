"""`quartblog mail`: settings -> a test mail through the outbox -> the mail server's answer."""

from __future__ import annotations

import asyncio
import contextlib
import io
import platform
import time
from typing import TYPE_CHECKING, Any

import click

from quartblog.cli import ownership
from quartblog.cli.output import PartlyDone, count, json_option, print_json, say
from quartblog.cli.site_outbox import exists
from quartblog.delivery import Outbox, OutboxOptions
from quartblog.delivery.tools import send_due
from quartblog.operations.trial_mail import trial_mail
from quartblog.settings.options import mail_options, mailing_options

if TYPE_CHECKING:
    from email.message import EmailMessage

    from quartblog.cli.invocation import Invocation
    from quartblog.delivery import MailingOptions, MailOptions, StoredMail

LOOK = 0.1
"""Seconds between two checks whether another process has sent the mail."""


@click.group("mail")
def group() -> None:
    """Test the delivery of mail.

    \b
    Example:
      quartblog mail test
    """


@group.command("test")
@json_option
@click.pass_obj
def send_test(invocation: Invocation, *, as_data: bool) -> None:
    """Send a test mail to all admins, and print the mail server's answer.

    The mail goes through the outbox to every address in [mail] admins, like an error mail. If the site runs, its worker
    sends it; otherwise this command sends all mails that are due. Before the first start there is no outbox, and the
    command creates none.

    Exits 1 with the reason if the server did not accept the mail for every address.

    \b
    Example:
      quartblog mail test
      quartblog mail test --json | jq -r .accepted[].answer
    """
    loaded = invocation.load()
    settings = loaded.settings
    options = mail_options(settings)
    if options is None:
        raise click.ClickException(f"[mail] server: not set, so there is nothing to test{loaded.missing}")
    path = settings.delivery.outbox
    if exists(path):
        ownership.check(path)
    outbox = Outbox(OutboxOptions(path) if exists(path) else None)
    try:
        message = trial_mail(options, f"Somebody ran `quartblog mail test` on {platform.node()}.")
        done = send_now(message, outbox, options, mailing_options(settings), quiet=as_data)
        if as_data:
            print_json(done)
        if dead := done["dead_mails"]:
            them = "it" if dead == 1 else "them"
            line = f"{count(dead, 'mail is', 'mails are')} dead: `quartblog delivery retry` retries {them}"
            click.echo(line, err=True)
    finally:
        outbox.close()


def send_now(
    message: EmailMessage, outbox: Outbox, options: MailOptions, mailing: MailingOptions, *, quiet: bool
) -> dict[str, Any]:
    """Send the message to all admins through the outbox, and return the result for JSON.

    Print the mail server's answer, unless `quiet`. Raise PartlyDone with the reason if the server did not accept the
    message for every address.
    """
    # This command prints the delivery's messages itself, once and in full.
    with contextlib.redirect_stderr(io.StringIO()):
        mails = asyncio.run(_go(message, outbox, options, mailing))
    kept = not outbox.in_memory
    if not outbox.healthy:
        say(f"Warning: {outbox.path} cannot be used, so the mail went without it", err=True)
    done = _done(mails, options) | {"dead_mails": outbox.totals().dead}
    if not quiet:
        _tell(mails, options)
    if problems := _problems(mails, reason=None if mails else _behind(outbox), kept=kept):
        raise PartlyDone(problems, done)
    return done


async def _go(message: EmailMessage, outbox: Outbox, options: MailOptions, mailing: MailingOptions) -> list[StoredMail]:
    """Post the mail and wait for its first attempt. Return one mail for each outcome; none without an attempt."""
    outbox.post(message, options.admins)
    # Twice, because the leader may be in the middle of the session of another mail.
    deadline = time.monotonic() + 2 * options.timeout
    while True:
        done = await send_due(outbox, options, mailing)
        parts = [mail for mail in outbox.mails() if mail.message_id == message["Message-ID"] and mail.tries]
        if parts or done or time.monotonic() > deadline:
            return parts
        await asyncio.sleep(LOOK)


def _tell(mails: list[StoredMail], options: MailOptions) -> None:
    """Print the accepted mails."""
    for mail in mails:
        if mail.state == "sent":
            said = f": {mail.last_error}" if mail.last_error else ""
            say(f"{options.server}:{options.port} accepted the mail for {', '.join(mail.recipients)}{said}")


def _done(mails: list[StoredMail], options: MailOptions) -> dict[str, Any]:
    """Return the accepted mails for JSON."""
    accepted = [
        {"recipients": list(mail.recipients), "answer": mail.last_error} for mail in mails if mail.state == "sent"
    ]
    return {"server": options.server, "port": options.port, "accepted": accepted}


def _problems(mails: list[StoredMail], *, reason: str | None, kept: bool) -> str:
    """Return why the server did not accept the mail for everybody, "" if it did."""
    problems = [mail.last_error for mail in mails if mail.state != "sent"]
    if reason is not None:
        problems.append(reason)
    if not problems:
        return ""
    waits = kept and (not mails or any(mail.state == "waiting" for mail in mails))
    later = "; the outbox keeps it for another attempt" if waits else ""
    return f"{'; '.join(problems)}{later}"


def _behind(outbox: Outbox) -> str:
    """Return why there was no attempt."""
    others = [mail for mail in outbox.mails("waiting") if mail.tries]
    if others:
        return f"the leader waits before its next attempt, because another mail failed: {others[0].last_error}"
    return "the leader, the worker that sends this host's mail, did not attempt it in time"
