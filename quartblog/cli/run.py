"""`quartblog run`: prepare once, then serve with several workers."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import click
from hypercorn.run import run as hypercorn

from quartblog import migrations
from quartblog.cli import serving
from quartblog.cli.database import bring_up_to_date
from quartblog.settings import secret_key
from quartblog.settings.kinds import is_loopback

if TYPE_CHECKING:
    from quartblog.cli.invocation import Invocation
    from quartblog.settings import Settings


@click.command("run")
@click.option("--host", help="Name or address to listen on; 0.0.0.0 or :: is every one.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes that answer.")
@click.option(
    "--debug", is_flag=True, help="One worker, tracebacks in the browser, no mail. Never on a public address."
)
@click.pass_obj
def command(invocation: Invocation, host: str | None, port: int | None, workers: int | None, *, debug: bool) -> None:
    """Serve the blog until Ctrl-C.

    Upgrades the tables and makes the secret key first. How it is served stands in hypercorn.toml; the options win.
    What the site does stands in config.toml: see `quartblog config check`.

    \b
    Example:
      quartblog run
      quartblog run --host 0.0.0.0 --port 8000 --workers 4
    """
    if debug and workers not in {None, 1}:
        raise click.UsageError("--debug runs one worker: leave --workers out")
    # Until Hypercorn takes the signals over, the default for SIGTERM would skip every clean-up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        was_asked_to = _run(invocation, host, port, 1 if debug else workers, debug=debug)
    except KeyboardInterrupt:
        return
    if not was_asked_to:
        raise click.ClickException(
            "a worker ended by itself, and the others with it; its log or the system's may say why"
        )


def _run(invocation: Invocation, host: str | None, port: int | None, workers: int | None, *, debug: bool) -> bool:
    """Serve, and return whether a signal ended it."""
    settings = invocation.settings()
    config = serving.configuration(host, port, workers)
    listening = serving.listen(config)
    try:
        _prepare(settings)
    except BaseException:
        for bound, _ in listening:
            bound.close()
        raise
    invocation.pass_on()
    if debug:
        # Quart reads QUART_DEBUG in app.run() only; the configuration it shares with Flask reads the other one.
        os.environ["QUART_DEBUG"] = os.environ["FLASK_DEBUG"] = "1"
    for bound, address in listening:
        if debug and not is_loopback(bound.getsockname()[0]):
            click.echo(f"Warning: --debug shows the code to everybody who reaches {address}", err=True)
        click.echo(f"{settings.site.name} is at {address} (Ctrl-C ends it)")
    serving.hand_over(listening, config)
    with serving.noting_signals() as was_asked_to:
        hypercorn(config)
        serving.wait_for_workers(config)
        return was_asked_to()


def _prepare(settings: Settings) -> None:
    """Do once what two workers would race for."""
    url = settings.database.url.get_secret_value()
    if url.startswith("sqlite") and migrations.sqlite_file(url) is None:
        raise click.ClickException("[database] url: a database in memory cannot be shared by processes; name a file")
    bring_up_to_date(settings)
    secret_key(settings)
