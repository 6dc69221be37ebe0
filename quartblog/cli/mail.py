"""`quartblog mail`: does an error report reach its readers?"""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING

import click

from quartblog.app import mail_options
from quartblog.delivery import MailFailed, new_message, send

if TYPE_CHECKING:
    from quartblog.cli.invocation import Invocation


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
    """Send one mail to every address in mail.admins and print what the server said.

    Exits 1 and says why where it was not accepted for all of them.

    \b
    Example:
      quartblog mail test
    """
    options = mail_options(invocation.settings())
    if options is None:
        raise click.ClickException("[mail] server: none is set, so there is nothing to test")
    subject = f"[{options.site}] a test: this mail was asked for"
    text = f"Somebody ran `quartblog mail test` on {platform.node()}. Error reports will reach you like this one."
    try:
        receipt = asyncio.run(send(new_message(options, subject, text), options))
    except MailFailed as error:
        raise click.ClickException(str(error)) from error
    accepted = [address for address in options.admins if address not in receipt.refused]
    click.echo(f"{options.server}:{options.port} took it for {', '.join(accepted)}: {receipt.answer}")
    if receipt.refused:
        refusals = "; ".join(f"{address}: {said}" for address, said in receipt.refused.items())
        raise click.ClickException(f"the server refused {refusals}")
