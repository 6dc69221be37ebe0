"""`quartblog mail`: does an error report reach its readers?"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import io
import platform
import time
from typing import TYPE_CHECKING

import click

from quartblog.cli import ownership
from quartblog.cli.mails import TEST
from quartblog.cli.output import count, say
from quartblog.cli.site_outbox import exists
from quartblog.delivery import Outbox, new_message, send_due
from quartblog.settings.options import mail_options, mailing_options

if TYPE_CHECKING:
    from quartblog.cli.invocation import Invocation
    from quartblog.delivery import MailingOptions, MailOptions, StoredMail

LOOK = 0.1
"""Seconds between two looks whether another process has sent it."""
MARGIN = 5.0
"""Seconds the process that mails may take besides the session with the server: it may be busy with others."""


@click.group("mail")
def group() -> None:
    """Look after error reports by mail.

    \b
    Example:
      quartblog mail test
    """


@group.command("test")
@click.pass_obj
def send_test(invocation: Invocation) -> None:
    """Send a test mail to all admins, and print what the server said.

    It goes to every address in [mail] admins the way error reports go, through the outbox: where the site runs, its
    own worker sends it; else this command does, with whatever else is due. Before the first start there is no outbox,
    and nothing is left behind.

    Exits 1 and says why where it was not accepted for all of them.

    \b
    Example:
      quartblog mail test
    """
    loaded = invocation.load()
    settings = loaded.settings
    options = mail_options(settings)
    if options is None:
        raise click.ClickException(f"[mail] server: none is set, so there is nothing to test{loaded.missing}")
    path = settings.delivery.outbox
    if exists(path):
        ownership.check(path)
    outbox = Outbox(path if exists(path) else None)
    try:
        # What the delivery tells stderr on the way is told here, once and in full.
        with contextlib.redirect_stderr(io.StringIO()):
            mails = asyncio.run(_go(outbox, options, mailing_options(settings)))
        kept = not outbox.in_memory
        if not outbox.healthy:
            say(f"Warning: {path} cannot be used, so this went without it", err=True)
        _tell(mails, options, reason=None if mails else _behind(outbox), kept=kept)
        if dead := outbox.totals().dead:
            them = "it" if dead == 1 else "them"
            click.echo(f"{count(dead, 'mail is', 'mails are')} dead: `quartblog delivery retry` sends {them}", err=True)
    finally:
        outbox.close()


async def _go(outbox: Outbox, options: MailOptions, mailing: MailingOptions) -> list[StoredMail]:
    """Post it and see to its first try; what became of it, a part for each fate. Nothing, if it was not tried."""
    subject = f"[{options.site}] a test: this mail was asked for"
    text = f"Somebody ran `quartblog mail test` on {platform.node()}. Error reports will reach you like this one."
    message = new_message(options, subject, text)
    domain = message["Message-ID"].strip("<>").rpartition("@")[2]
    message.replace_header("Message-ID", email.utils.make_msgid(TEST, domain))
    outbox.post(message, options.admins)
    deadline = time.monotonic() + options.timeout + MARGIN
    while True:
        done = await send_due(outbox, options, mailing)
        parts = [mail for mail in outbox.mails() if mail.message_id == message["Message-ID"] and mail.tries]
        if parts or done or time.monotonic() > deadline:
            return parts
        await asyncio.sleep(LOOK)


def _tell(mails: list[StoredMail], options: MailOptions, *, reason: str | None, kept: bool) -> None:
    """Print what was taken. Raise ClickException for what was not."""
    for mail in mails:
        if mail.state == "sent":
            said = f": {mail.last_error}" if mail.last_error else ""
            say(f"{options.server}:{options.port} took it for {', '.join(mail.recipients)}{said}")
    problems = [mail.last_error for mail in mails if mail.state != "sent"]
    if reason is not None:
        problems.append(reason)
    if not problems:
        return
    waits = kept and (not mails or any(mail.state == "waiting" for mail in mails))
    later = "; it stays in the outbox and is tried again" if waits else ""
    raise click.ClickException(f"{'; '.join(problems)}{later}")


def _behind(outbox: Outbox) -> str:
    """Why it was not even tried."""
    others = [mail for mail in outbox.mails("waiting") if mail.tries]
    if others:
        return f"the mail server is left alone for a while, since another mail was not sent: {others[0].last_error}"
    return "the worker that mails for this host did not come to it in time"
