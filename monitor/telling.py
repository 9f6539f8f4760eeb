"""What is too old to be told. The log keeps it and feeds show it; the mails that it calls for are suppressed,
and the ledger says why.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.events import Event
from monitor.events.reports import LISTENER


@dataclass(frozen=True)
class Telling:
    """`within`: how old an event may be, when it comes to be known, for people still to be mailed. `asked`:
    the deployments whose Airflow is asked, so that a sender's dates decide nothing."""

    within: timedelta
    asked: frozenset[str] = frozenset()

    def why_not(self, event: Event, origin: datetime, now: datetime) -> str | None:
        """Return why nobody is mailed about this event any more; None if people are, or if that goes by
        Airflow's dates when the mail is confirmed. `origin`: since when its deployment is told of."""
        if event.data.reported_by == LISTENER and event.deployment in self.asked:
            return None
        return self.why_not_at(event.time, event.deployment, origin, now)

    def why_not_at(self, time: datetime, deployment: str, origin: datetime, now: datetime) -> str | None:
        """Return why nobody is mailed about what happened at `time`; None if people are."""
        if time < origin:
            return (
                f"suppressed: it happened before {origin:%Y-%m-%d %H:%M:%S} UTC, since when Windsock "
                f"reports {deployment}"
            )
        if now - time > self.within:
            late = (now - time).total_seconds() / 3600
            return f"suppressed: it came to be known {late:.1f} h late; see WINDSOCK_NOTIFY_MAX_AGE_HOURS"
        return None
