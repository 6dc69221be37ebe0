"""Path of a site's file -> a check of its owner: a command must not create files that the service cannot use.

Root may run every command; the new files then get the owner of their folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from quartblog.delivery.tools import check_owner, make_private

if TYPE_CHECKING:
    from pathlib import Path


def check(path: Path) -> None:
    """Raise ClickException for another user's file that this user may not write."""
    try:
        check_owner(path)
    except PermissionError as error:
        raise click.ClickException(f"{path}: {error.strerror}: run this command as that user, or as root") from error


def make_database(path: Path) -> None:
    """Create SQLite's file and folder if they are missing. Raise OSError, ClickException."""
    check(path)
    # The file holds addresses and password hashes, so only its owner may read it.
    make_private(path)
