"""Change of config.toml -> new options of the running delivery in every worker, or a logged refusal."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from quartblog.errors.exceptions import SettingsError
from quartblog.settings import Loaded, Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pydantic import BaseModel

    State = tuple[int, int, int]

logger = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two checks of the file; a change takes effect once two checks find the same file."""
LIVE = {
    "delivery": ("outbox",),
    "mail": (),
    "logging": ("directory", "filename"),
    "operations": ("metrics_token",),
}
"""The sections that take effect at once, with their keys that need a restart. The other sections need one as a whole:
they define cookies, routes and pools."""


class Watcher:
    """Watches one file for one process."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        apply: Callable[[Loaded], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`settings` are in effect now. `apply` may block; it raises ValueError or OSError for unusable settings.

        It gets the settings to put into effect: keys that need a restart keep their values.
        """
        self._path = path
        self._settings = settings
        self._apply = apply
        self._environ = environ
        # None makes the first checks read the file again: it may have changed since the start read it.
        self._seen: State | None = None
        self._done: State | None = None
        self._unusable = False

    async def watch(self) -> None:
        """Check the file until the task is cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Apply a change once two checks find the same file: an editor may still be writing."""
        before, self._seen = self._seen, await asyncio.to_thread(_state, self._path)
        if self._seen == self._done or self._seen != before:
            return
        self._done = self._seen
        if self._seen is None:
            self._unusable = True
            logger.warning("%s is missing or unreadable: the settings stay unchanged", self._path)
            return
        try:
            await self._take_over(await asyncio.to_thread(load, self._path, self._environ))
        except SettingsError as error:
            self._unusable = True
            # The reason is in the message, not an argument: otherwise refusals for different reasons form one group.
            refusal = f"{self._path} has changed but is invalid, the settings stay unchanged: {error}"
            logger.error(refusal)  # noqa: TRY400
        except Exception:
            self._unusable = True
            # The watch must go on, because the next change may be valid.
            logger.exception("%s has changed but could not be applied", self._path)

    async def _take_over(self, found: Loaded) -> None:
        settings, live, waiting = _merged(self._settings, found.settings)
        if live:
            try:
                await asyncio.to_thread(self._apply, found._replace(settings=settings))
            except (ValueError, OSError) as error:
                raise SettingsError(f"{', '.join(live)}: {error}") from error
            self._settings = settings
            logger.info("%s has changed: %s is in effect now", self._path, ", ".join(live))
        elif self._unusable and not waiting:
            logger.info("%s is valid again; the settings are unchanged", self._path)
        self._unusable = False
        if waiting:
            logger.warning("%s has changed: %s takes effect at the next start", self._path, ", ".join(waiting))


def _merged(settings: Settings, found: Settings) -> tuple[Settings, list[str], list[str]]:
    """Return the settings with the live changes of `found`, the names of these, and the names that need a restart."""
    update: dict[str, BaseModel] = {}
    waiting = []
    for name in Settings.model_fields:
        before, after = getattr(settings, name), getattr(found, name)
        if name not in LIVE:
            waiting += [f"[{name}]"] if after != before else []
            continue
        kept = {key: getattr(before, key) for key in LIVE[name]}
        waiting += [f"[{name}] {key}" for key, value in kept.items() if getattr(after, key) != value]
        if (live := after.model_copy(update=kept)) != before:
            update[name] = live
    return settings.model_copy(update=update), [f"[{name}]" for name in update], waiting


def _state(path: Path) -> State | None:
    """Return values that differ after a change of the file; None while the file is missing or unreadable."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
