"""Page of a signed-in user -> "last seen" in the database, in a background task that never fails or delays the page.

A stop of the server waits for a running write: up to 5 s when another program holds SQLite's lock.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from quart import Quart, current_app

from quartblog.auth import service
from quartblog.auth.service import Device, SignedIn
from quartblog.database import transaction
from quartblog.errors.exceptions import DatabaseUnavailable

# The stored time may be this old before the next write: otherwise every page would write to the database.
EVERY = timedelta(minutes=5)
# Seconds a page waits for the write, which takes a few milliseconds on a database without a lock.
PATIENCE = 0.2
# Seconds without another write after one that failed or exceeded PATIENCE.
REST = 60.0

EXTENSION = "quartblog.last_seen"

logger = logging.getLogger(__name__)


class LastSeen:
    """Writes "last seen" times in the background, one at a time; a locked database costs a page at most PATIENCE."""

    def __init__(self, *, rest: float = REST) -> None:
        """`rest`: seconds without another write after one that failed or took long."""
        self._rest = rest
        self._writing = False
        self._rests_until = 0.0

    async def note(self, user: SignedIn, device: Callable[[], Device]) -> None:
        """Write that the user is here now, unless the stored times are recent. `device` returns what browser it is."""
        # Both: another browser of theirs may have been used a minute ago, this one not for days.
        recent = datetime.now(UTC) - min(user.last_seen, user.login_used) <= EVERY
        if recent or self._writing or time.monotonic() < self._rests_until:
            return
        self._writing = True
        done = asyncio.Event()
        # The page only stops waiting: SQLite's driver would handle a cancellation only once it has the lock.
        current_app.add_background_task(self._write, user, device(), done)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await done.wait()

    async def _write(self, user: SignedIn, device: Device, done: asyncio.Event) -> None:
        late = time.monotonic() + PATIENCE
        written = False
        try:
            async with transaction() as session:
                await service.touch(session, user, device)
            written = True
        except DatabaseUnavailable:
            logger.warning("Could not save when user %s was last seen", user.id, exc_info=True)
        finally:
            if not written or time.monotonic() > late:
                self._rests_until = time.monotonic() + self._rest
            self._writing = False
            done.set()


def init_app(app: Quart) -> None:
    """Give the app its LastSeen."""
    app.extensions[EXTENSION] = LastSeen()


async def note_seen(user: SignedIn, device: Callable[[], Device]) -> None:
    """Call `LastSeen.note()` of the current app."""
    last_seen: LastSeen = current_app.extensions[EXTENSION]
    await last_seen.note(user, device)
