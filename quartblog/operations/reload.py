"""config.toml changes on disk -> the running delivery changes with it, in every worker, or the change is refused."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from quartblog.errors.exceptions import SettingsError
from quartblog.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    State = tuple[int, int, int]

logger = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two looks at the file; a change takes effect once two looks have seen the same."""
LIVE = ("delivery", "mail", "logging")
"""The sections that take effect at once. All others need a start: cookies, routes and pools are made of them."""


class Watcher:
    """Watches one file for one process."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        apply: Callable[[Settings], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`settings` are in effect now. `apply` may block, and raises ValueError or OSError for what cannot work."""
        self._path = path
        self._settings = settings
        self._apply = apply
        self._environ = environ
        # Read once more soon: it may have changed between the start's reading and now.
        self._seen: State | None = None
        self._done: State | None = None
        self._unusable = False

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Take a change over if there is one that is finished: an editor may be in the middle of writing."""
        before, self._seen = self._seen, await asyncio.to_thread(_state, self._path)
        if self._seen == self._done or self._seen != before:
            return
        self._done = self._seen
        if self._seen is None:
            self._unusable = True
            logger.warning("%s is gone or cannot be seen: all stays as it was", self._path)
            return
        try:
            await self._take_over(await asyncio.to_thread(load_settings, self._path, self._environ))
        except SettingsError as error:
            self._unusable = True
            # The reason is no argument: that would make one group of every refusal, told of with the latest reason.
            refusal = f"{self._path} has changed and is refused, all stays as it was: {error}"
            logger.error(refusal)  # noqa: TRY400
        except Exception:
            self._unusable = True
            # The watch must go on: the next change may be the one that mends it.
            logger.exception("%s has changed and could not be taken over", self._path)

    async def _take_over(self, found: Settings) -> None:
        changed = [name for name in Settings.model_fields if getattr(found, name) != getattr(self._settings, name)]
        live = {name: getattr(found, name) for name in changed if name in LIVE}
        if live:
            settings = self._settings.model_copy(update=live)
            try:
                await asyncio.to_thread(self._apply, settings)
            except (ValueError, OSError) as error:
                raise SettingsError(f"{_named(live)}: {error}") from error
            self._settings = settings
            logger.info("%s has changed: %s is in effect now", self._path, _named(live))
        elif self._unusable and not changed:
            logger.info("%s can be used again, and all is as it was", self._path)
        self._unusable = False
        if waiting := [name for name in changed if name not in LIVE]:
            logger.warning("%s has changed: %s takes effect with the next start", self._path, _named(waiting))


def _state(path: Path) -> State | None:
    """What differs after a change; None while the file cannot be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _named(sections: Iterable[str]) -> str:
    return ", ".join(f"[{name}]" for name in sections)
