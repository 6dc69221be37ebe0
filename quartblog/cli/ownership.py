"""Whose the site's files are: a command that another user runs must not make files that the service cannot use.

Root may run any of them: what it makes is given to the owner of the folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from quartblog.delivery import check_owner, make_private

if TYPE_CHECKING:
    from pathlib import Path


def check(path: Path) -> None:
    """Raise ClickException for a file of another user's that this one may not write."""
    try:
        check_owner(path)
    except PermissionError as error:
        raise click.ClickException(f"{path}: {error.strerror}: run this command as that user, or as root") from error


def make_database(path: Path) -> None:
    """Make SQLite's file and its folder where they are missing. Raise OSError, ClickException."""
    check(path)
    # Addresses and password hashes: nobody else on this machine has to read them.
    make_private(path)
