"""The reload of the rules file when it changes.

A broken file leaves the rules in force as they were (`LiveRules`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from monitor.clock import Clock
from monitor.rules.loader import default_config, load_config
from monitor.rules.model import Config
from monitor.rules.ruleset import Rules
from monitor.rules.validation import CheckUrl
from monitor.rules.yaml_source import RulesError
from monitor.settings import Settings

LOOK_SECONDS = 2.0  # one stat call. A change holds after the second look that finds it the same

Load = Callable[[Path], Config]
Pause = Callable[[float], Awaitable[None]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _FileFingerprint:
    """The properties that change with a file.
    The inode shows a file that is renamed into place within a tick of the clock."""

    modified: int
    size: int
    inode: int


class LiveRules:
    """The rules in force, read anew when the file changes.

    The next decision uses `current`. A broken file leaves `current` as it was, and `problem` says why."""

    def __init__(
        self, path: Path | None, load: Load, defaults: Config, clock: Clock, is_named: bool = False
    ) -> None:
        """Read the rules.
        Raises RulesError if the file is wrong, or if it is named and missing.

        `is_named` says that a setting names the path. The disappearance of such a file is a mistake. A file
        at the usual place may be removed, which brings the defaults back."""
        self.path = path
        self.problem: RulesError | None = None
        self._load, self._defaults, self._clock, self._is_named = load, defaults, clock, is_named
        self._seen = self._taken = self._print()
        self.current = Rules(self._read())
        self.read_at: datetime = clock()
        """The moment at which `current` was read."""

    async def run(self, pause: Pause = asyncio.sleep) -> None:
        """Look every few seconds until canceled."""
        while True:
            await pause(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> bool:
        """Read the file anew if it has changed.
        Return True if other rules are in force.

        A file that is being written is left alone. It is read when two looks have found it the same."""
        found, before = self._print(), self._seen
        self._seen = found
        if found != before or found == self._taken:
            return False
        self._taken = found
        return self._take()

    def _take(self) -> bool:
        try:
            config = self._read()
        except RulesError as error:
            if self.problem is None or str(self.problem) != str(error):
                logger.warning("the rules stay as they were at %s: %s", self.read_at.isoformat(), error)
            self.problem = error
            return False
        if self.problem is not None:
            logger.info("the rules file is mended")
        self.problem = None
        changed = config != self.current.config
        self.current, self.read_at = Rules(config), self._clock()
        logger.info("read the rules: %d of them, %d watches", len(config.rules), len(config.watches))
        return changed

    def _read(self) -> Config:
        """Return the rules of the file, or the defaults. Raises RulesError."""
        if self.path is None:
            return self._defaults
        if self._taken is None and not self._is_named:
            return self._defaults
        return self._load(self.path)

    def _print(self) -> _FileFingerprint | None:
        """Return the file's fingerprint, or None if the file is missing."""
        if self.path is None:
            return None
        try:
            found = self.path.stat()
        except OSError:
            return None
        return _FileFingerprint(found.st_mtime_ns, found.st_size, found.st_ino)


def live_rules(
    settings: Settings,
    environment: Mapping[str, str],
    clock: Clock,
    check_url: CheckUrl | None = None,
    templates: Collection[str] | None = None,
) -> LiveRules:
    """Return the rules of the settings' file.
    Raises RulesError if the file is wrong, or if it is named and missing."""
    defaults = default_config(settings.notification_email_to, settings.notify_success)
    load = partial(
        load_config, environment=environment, defaults=defaults, check_url=check_url, templates=templates
    )
    return LiveRules(settings.rules_file, load, defaults, clock, is_named=settings.config is not None)


def rules_of(
    path: Path, settings: Settings, environment: Mapping[str, str], check_url: CheckUrl | None = None
) -> Rules:
    """Return the rules of any file, for a trial. Raises RulesError."""
    defaults = default_config(settings.notification_email_to, settings.notify_success)
    return Rules(load_config(path, environment, defaults, check_url))
