"""What a watch finds wrong at one look, and what it found before."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from monitor.events import Event

Key = tuple[str, str]
"""An event's type, and which DAG or asset it is about."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong now."""

    type: str
    """The event's."""
    subject: str
    """Which DAG, asset or part of the monitor: one finding of each type at a time."""
    found: str
    """Which occurrence: another one is told anew."""
    build: Callable[[], Event]
    """Called only where it is told."""

    @property
    def key(self) -> Key:
        return self.type, self.subject


@dataclass(frozen=True)
class Open:
    """A finding that was told and is not over."""

    type: str
    subject: str
    found: str
    raised_at: datetime

    @property
    def key(self) -> Key:
        return self.type, self.subject

    def still(self) -> Finding:
        """The same, at another look."""

        def build() -> Event:
            raise AssertionError("what was reported is not reported again")

        return Finding(self.type, self.subject, self.found, build)
