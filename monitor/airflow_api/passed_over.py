"""Rows of Airflow's listings that are too much to read: which, and how many."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

SHOWN_FOR = timedelta(minutes=30)
"""Longer than any listing waits to be asked again: what was not met since is gone, or was made shorter."""


@dataclass(frozen=True)
class Met:
    """The row of a listing that was met last."""

    offset: int
    at: datetime


@dataclass
class PassedOver:
    """Of one Airflow, by the name that a listing has in Airflow's answers."""

    counted: Callable[[str], None] = lambda _listing: None
    """Told of each, for the metrics."""
    _met: dict[str, Met] = field(default_factory=dict)

    def note(self, listing: str, offset: int, now: datetime) -> None:
        self._met[listing] = Met(offset, now)
        self.counted(listing)

    def lately(self, now: datetime) -> Mapping[str, Met]:
        """The last of each listing, where that is not long ago."""
        return {listing: met for listing, met in self._met.items() if now - met.at < SHOWN_FOR}
