"""`quartblog operations`: settings -> a single-use address of the operations pages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import click

from quartblog.cli import ownership
from quartblog.cli.output import iso, json_option, print_json, say
from quartblog.operations.keys import LASTS, make_key

if TYPE_CHECKING:
    from quartblog.cli.invocation import Invocation


@click.group("operations")
def group() -> None:
    """Enter the pages of administrators.

    \b
    Example:
      quartblog operations link
    """


@group.command()
@json_option
@click.pass_obj
def link(invocation: Invocation, *, as_data: bool) -> None:
    """Print an address that opens the operations pages once.

    The address works for ten minutes and for one browser, which then sees the pages for twelve hours. It needs neither
    an account nor the blog's database, but a running site on this host.

    \b
    Example:
      quartblog operations link
      quartblog operations link --json | jq -r .address
    """
    settings = invocation.settings()
    folder = settings.delivery.outbox.absolute().parent
    if not folder.is_dir():
        raise click.ClickException(f"{folder} does not exist: start the site with `quartblog run` first")
    ownership.check(folder)
    now = time.time()
    try:
        key = make_key(folder, now)
    except OSError as error:
        raise click.ClickException(f"{folder}: {error.strerror}") from error
    address = f"{settings.site.public_url}/operations/enter?{urlencode({'key': key})}"
    if as_data:
        print_json({"address": address, "expires": iso(now + LASTS)})
    else:
        say(address)
