"""What is too old to be told. The log keeps it and feeds show it; the mails that it calls for are suppressed,
and the ledger says why.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.events import Event


@dataclass(frozen=True)
class Telling:
    """`within`: how old an event may be, when it comes to be known, for people still to be mailed."""

    within: timedelta

    def why_not(self, event: Event, origin: datetime, now: datetime) -> str | None:
        """Why nobody is mailed about this event any more; None where people are. `origin`: since when its
        deployment is told of (origins.py)."""
        if event.time < origin:
            return (
                f"suppressed: it happened before {origin:%Y-%m-%d %H:%M:%S} UTC, since when Windsock tells "
                f"of {event.deployment}"
            )
        if now - event.time > self.within:
            late = (now - event.time).total_seconds() / 3600
            return f"suppressed: it came to be known {late:.1f} h late; see WINDSOCK_TELL_WITHIN_HOURS"
        return None
