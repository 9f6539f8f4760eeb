"""What watches see of one Airflow at one look: rows, and a clock that stands still."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitor.board import Row
from monitor.events.watched import Told
from monitor.rules.model import Watch
from monitor.watches.active import Active
from monitor.watches.finding import Key, Open

SETTLING = timedelta(minutes=15)
"""How long an Airflow that is back, or a monitor, is given to work off what has waited, before anything that
went wrong meanwhile is told. Less where less is tolerated."""

Begun = Mapping[tuple[str, str], datetime]
"""When the last run of a DAG and of a type came to be, by both."""


@dataclass(frozen=True)
class Sight:
    deployment: str
    now: datetime
    origin: datetime
    """What went wrong before this is told to nobody (monitor/origins.py)."""
    since: datetime
    """Seen without a gap since then."""
    upto: datetime
    """Everything that Airflow did up to this moment is in the log."""
    dags: Mapping[str, Row] = field(default_factory=dict)
    assets: Mapping[str, Row] = field(default_factory=dict)
    begun: Begun = field(default_factory=dict)
    active: Active = field(default_factory=Active)
    open: Mapping[Key, Open] = field(default_factory=dict)

    def is_ripe(self, went_wrong: datetime, tolerated: timedelta) -> bool:
        """Whether what went wrong at this moment is to be told: it is not of the past before the first start,
        the log reaches so far, and after a gap there was time enough to work it off."""
        settled = self.since + min(tolerated, SETTLING)
        return self.origin <= went_wrong <= min(self.now, self.upto) and settled <= self.now

    def told(self, watch: Watch) -> Told:
        return Told(self.deployment, self.now, watch.name)

    def dag_at_work(self, dag_id: str | None) -> Row | None:
        """A DAG that Airflow schedules; None where it is paused, gone, or not known."""
        dag = self.dags.get(dag_id) if dag_id else None
        return None if dag is None or dag["is_paused"] or dag["is_stale"] else dag

    def open_found(self, kind: str, subject: str) -> str | None:
        """Which occurrence was told of and is not over."""
        one = self.open.get((kind, subject))
        return one.found if one else None


def tags_of(dag: Row | None) -> Sequence[str]:
    return (dag or {}).get("tags") or ()
