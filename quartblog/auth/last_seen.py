"""Page of a signed-in person -> "last seen" in the database: a courtesy that no page fails for or waits for.

A stop of the server does wait for a write that is under way: up to 5 s where another program holds SQLite's lock.
"""

import asyncio
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from quart import Quart, current_app

from quartblog.auth import service
from quartblog.database import transaction
from quartblog.errors.exceptions import DatabaseUnavailable
from quartblog.models import User

# It is written when it is older than this: writing it on every request would make every page a write.
EVERY = timedelta(minutes=5)
# Seconds a page waits for it: a database that nobody holds up needs a few milliseconds.
PATIENCE = 0.2
# Seconds without another attempt after one that took longer than that, or failed.
REST = 60.0

EXTENSION = "quartblog.last_seen"

logger = logging.getLogger(__name__)


class LastSeen:
    """Writes in the background, and one at a time: a locked database costs no page more than a moment."""

    def __init__(self) -> None:
        self._writing = False
        self._rests_until = 0.0

    async def note(self, user: User) -> None:
        """Note that the person is here, where that was not done lately."""
        recent = datetime.now(UTC) - user.last_seen <= EVERY
        if recent or self._writing or time.monotonic() < self._rests_until:
            return
        self._writing = True
        done = asyncio.Event()
        # Waited for and not cancelled: SQLite's driver would answer the cancellation only once it has the lock.
        current_app.add_background_task(self._write, user.id, done)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await done.wait()

    async def _write(self, user_id: int, done: asyncio.Event) -> None:
        late = time.monotonic() + PATIENCE
        written = False
        try:
            async with transaction() as session:
                await service.touch(session, user_id)
            written = True
        except DatabaseUnavailable:
            logger.warning("Could not note when user %s was last seen", user_id, exc_info=True)
        finally:
            if not written or time.monotonic() > late:
                self._rests_until = time.monotonic() + REST
            self._writing = False
            done.set()


def init_app(app: Quart) -> None:
    """Begin without a rest."""
    app.extensions[EXTENSION] = LastSeen()


async def note_seen(user: User) -> None:
    """`LastSeen.note()` of the current app."""
    last_seen: LastSeen = current_app.extensions[EXTENSION]
    await last_seen.note(user)
