"""Settings -> the site's outbox, opened by a command while workers may use it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from quartblog.cli import ownership
from quartblog.cli.invocation import explanation
from quartblog.cli.output import say
from quartblog.delivery import Outbox, OutboxOptions
from quartblog.delivery.tools import SILENT
from quartblog.errors.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quartblog.cli.invocation import Invocation

GOES_ON = "A running site keeps its previous settings."


@contextmanager
def opened(invocation: Invocation) -> Iterator[Outbox]:
    """Give the outbox that [delivery] outbox names. Raise ClickException if it is missing or unusable.

    Other settings may be invalid. A running site refuses an invalid config.toml and keeps its settings, so operators
    need these commands then.
    """
    path = _place(invocation)
    ownership.check(path)
    outbox = Outbox(OutboxOptions(path))
    try:
        _open(outbox)
        yield outbox
    finally:
        outbox.close()


def exists(path: Path) -> bool:
    """Return whether the outbox exists. Raise ClickException if its path cannot be accessed."""
    try:
        return path.exists()
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be accessed: {error.strerror}") from error


def anybody_mails(outbox: Outbox) -> bool:
    """Return whether a running worker sends the mails that are due."""
    return any(worker.leader for worker in outbox.workers(SILENT))


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
        advice = "`quartblog run` creates it at the path in [delivery] outbox"
        raise click.ClickException(f"{path}: the outbox does not exist yet; {advice}{loaded.missing}")
    return path


def _open(outbox: Outbox) -> None:
    try:
        aside = outbox.open()
    except OSError as error:
        raise click.ClickException(f"{outbox.path}: the outbox cannot be used: {error}") from error
    if aside is not None:
        say(f"Warning: {outbox.path} was damaged: it was renamed to {aside}, and a new outbox was created", err=True)
