"""`quartblog run`: settings -> upgraded tables and a secret key -> a server with several workers."""

from __future__ import annotations

import logging
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import click

from quartblog.app import check_options, create_app
from quartblog.cli.database import bring_up_to_date
from quartblog.cli.output import say
from quartblog.delivery import Delivery
from quartblog.delivery.tools import is_loopback
from quartblog.errors.exceptions import SettingsError
from quartblog.serving import parent
from quartblog.serving.configuration import configuration, listen, warnings
from quartblog.settings import permissions, secret_key
from quartblog.settings.options import failure_options

if TYPE_CHECKING:
    from quartblog.cli.invocation import Invocation
    from quartblog.settings import Settings

logger = logging.getLogger(__name__)


@click.command("run")
@click.option("--host", help="Name or address to listen on; 0.0.0.0 or :: listens on every address.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 selects a free one.")
@click.option("--workers", type=click.IntRange(min=1), help="Number of worker processes.")
@click.option(
    "--debug", is_flag=True, help="One worker, tracebacks in the browser, no mail. Never on a public address."
)
@click.pass_obj
def command(invocation: Invocation, host: str | None, port: int | None, workers: int | None, *, debug: bool) -> None:
    """Serve the blog until Ctrl-C.

    The command first upgrades the tables and creates the secret key. hypercorn.toml has the settings of the server; the
    options override them. config.toml has the settings of the site, see `quartblog config check`.

    \b
    Example:
      quartblog run
      quartblog run --host 0.0.0.0 --port 8000 --workers 4
    """
    if debug and workers not in {None, 1}:
        raise click.UsageError("--debug runs one worker: omit --workers")
    # Until the parent process handles the signals: SIGTERM's default would skip every clean-up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # SIGHUP restarts the workers, which do not run yet.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        ended_well = _run(invocation, host, port, 1 if debug else workers, debug=debug)
    except KeyboardInterrupt:
        return
    if not ended_well:
        raise click.exceptions.Exit(1)


def _run(invocation: Invocation, host: str | None, port: int | None, workers: int | None, *, debug: bool) -> bool:
    """Serve. Return False if a worker failed."""
    loaded = invocation.load()
    settings = loaded.settings
    config = configuration(host, port, workers)
    listening = listen(config)
    try:
        _prepare(settings)
    except BaseException:
        for bound, _ in listening:
            bound.close()
        raise
    invocation.pass_on()
    for bound, address in listening:
        if debug and not is_loopback(bound.getsockname()[0]):
            say(f"Warning: --debug shows the code to everybody who can reach {address}", err=True)
        _greet(settings, address)
        # Hypercorn owns the descriptor from now on.
        bound.detach()
    for path in (bind for bind in config.bind if bind.startswith("unix:")):
        _greet(settings, path)
    for warning in (*warnings(config), *permissions.warnings(loaded)):
        say(f"Warning: {warning}", err=True)
    return parent.serve(
        config, partial(create_app, debug=debug), partial(_report, settings), partial(_refusal, invocation)
    )


def _greet(settings: Settings, address: str) -> None:
    # The site serves even if standard output goes to a full disk.
    with suppress(OSError):
        say(f"{settings.site.name} is at {address} (Ctrl-C ends it)")


def _report(settings: Settings, text: str) -> None:
    """Report a failure of the parent process to standard error, log file and outbox."""
    say(f"Error: {text}", err=True)
    try:
        with Delivery(**failure_options(settings)):
            logger.error(text)
    except Exception as error:  # noqa: BLE001 - the disk may be full or missing, and the shutdown must go on
        say(f"Error: cannot write the log: {error}", err=True)


def _refusal(invocation: Invocation) -> str | None:
    """Return why a restart with the current settings would fail, None if it would not."""
    try:
        check_options(invocation.settings())
    except SettingsError as error:
        return str(error)
    return None


def _prepare(settings: Settings) -> None:
    """Prepare what several workers would race for."""
    bring_up_to_date(settings)
    secret_key(settings)
