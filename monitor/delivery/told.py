"""What a delivery tells of, confirmed: what the storyteller makes a story from."""

from dataclasses import dataclass

from monitor.events import Event
from monitor.incidents import Incident
from monitor.outbox import Delivery, Kind, Notification

LATEST = (Kind.FOLLOW_UP, Kind.REMINDER, Kind.RECOVERED, Kind.FLAPPING)
"""What tells how things stand by now; the others tell how they began."""


@dataclass(frozen=True)
class Told:
    delivery: Delivery
    notification: Notification
    events: tuple[Event, ...]
    """Confirmed, oldest first; never empty but for a digest of which nothing is left."""
    incident: Incident | None = None
    unconfirmed: str | None = None
    """Why Airflow's word is missing."""
    earlier: int = 0
    """Events before these, which are only counted."""
    openings: int = 0
    """How often the incident's like opened lately, where somebody counted."""

    @property
    def lead(self) -> Event | None:
        """The event that is told in full."""
        if not self.events:
            return None
        return self.events[-1 if self.notification.kind in LATEST else 0]

    @property
    def listed(self) -> tuple[Event, ...]:
        """What is told in a table: where it is more than one, or more of the same."""
        kind = self.notification.kind
        if kind is Kind.RECOVERED:
            return self.events[:-1]  # the last one is the recovery itself
        several = len(self.events) + self.earlier > 1
        return self.events if several or kind in (Kind.FOLLOW_UP, Kind.DIGEST) else ()
