"""The site's outbox, opened from outside while workers may use it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from quartblog.cli import ownership
from quartblog.cli.invocation import explanation
from quartblog.cli.output import say
from quartblog.delivery import Outbox
from quartblog.errors.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quartblog.cli.invocation import Invocation

ALIVE = 10.0
"""Seconds after the last heartbeat during which a worker counts as running."""
GOES_ON = "A site that runs goes on with the settings it had before."


@contextmanager
def opened(invocation: Invocation) -> Iterator[Outbox]:
    """Give the outbox that [delivery] outbox names. Raise ClickException where there is none that can be used.

    No other setting needs to be in order: a running site refuses a broken config.toml and goes on, and what it does
    is wanted then most of all.
    """
    path = _place(invocation)
    ownership.check(path)
    outbox = Outbox(path)
    try:
        _open(outbox)
        yield outbox
    finally:
        outbox.close()


def exists(path: Path) -> bool:
    """Return whether a worker has made it. Raise ClickException where that cannot be seen."""
    try:
        return path.exists()
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be looked at: {error.strerror}") from error


def anybody_mails(outbox: Outbox) -> bool:
    """Return whether a worker runs that sends what is due."""
    return any(worker.leader for worker in outbox.workers(time.time() - ALIVE))


def _place(invocation: Invocation) -> Path:
    try:
        loaded = invocation.load()
    except SettingsError as error:
        try:
            path = invocation.outbox()
        except SettingsError:
            raise click.ClickException(f"{explanation(error)}\n{GOES_ON}") from error
        if not exists(path):
            raise
        say(f"Warning: {explanation(error)}\n{GOES_ON}", err=True)
        return path
    path = loaded.settings.delivery.outbox
    if not exists(path):
        advice = "`quartblog run` makes it, where [delivery] outbox says"
        raise click.ClickException(f"{path}: there is no outbox yet; {advice}{loaded.missing}")
    return path


def _open(outbox: Outbox) -> None:
    try:
        aside = outbox.open()
    except OSError as error:
        raise click.ClickException(f"{outbox.path}: the outbox cannot be used: {error}") from error
    if aside is not None:
        say(f"Warning: {outbox.path} was damaged: it is now {aside}, a fresh one is begun", err=True)
