"""Whether an asset is as fresh as it should be: by a watch of windsock.yaml, and by its own rhythm."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from monitor.board import Row
from monitor.events.durations import spoken
from monitor.rules.model import Watch
from monitor.watches.choice import Choice
from monitor.watches.sight import tags_of
from monitor.watches.stale import STALE
from monitor.watches.usual import ENOUGH, unusual_after

KIND = STALE.rpartition(".")[2]
USUAL = Watch(name="usual", watch="stale", floor=timedelta(0))
"""By which an asset that nobody watches is held against its own history: the watch's own measure."""


@dataclass(frozen=True)
class Freshness:
    state: str
    """What the pill shows: ok, uncertain, failed, unknown."""
    word: str
    why: str
    """One sentence."""
    rhythm: timedelta | None
    """The median from one update to the next; None: too little is known."""
    watch: Watch | None = None


def freshness(
    watches: Sequence[Watch], row: Row, gaps: Sequence[timedelta], dag: Row | None, now: datetime
) -> Freshness:
    """`row`: deployment, uri, name, updated_at, source_dag_id; `dag`: what is known of that DAG."""
    updated_at: datetime | None = row["updated_at"]
    if updated_at is None:
        return Freshness("unknown", "never updated", "No update of it has been reported.", None)
    choice = Choice(watches, KIND, row["deployment"])
    watch = choice.of_asset(row["name"], row["uri"], row["source_dag_id"], tags_of(dag))
    age = max(now - updated_at, timedelta(0))
    rhythm = timedelta(seconds=median(gap.total_seconds() for gap in gaps)) if gaps else None
    state, word, why = _judged(watch, age, gaps, _at_rest(dag))
    return Freshness(state, word, why, rhythm, watch)


def _judged(
    watch: Watch | None, age: timedelta, gaps: Sequence[timedelta], at_rest: str
) -> tuple[str, str, str]:
    by = watch or USUAL
    bound = by.after if by.after is not None else _usual(by, gaps)
    named = f"the watch {watch.name}" if watch else "its own rhythm"
    if at_rest and watch:
        return "skipped", "at rest", f"Not watched: {at_rest}."
    if bound is None:
        return "unknown", "too early to say", f"Its rhythm is known from {ENOUGH + 1} updates on."
    if age <= bound:
        return "ok", "fresh", f"By {named} it may be {spoken(bound)} old."
    if watch:
        return "failed", "stale", f"By {named} it may be {spoken(bound)} old."
    return "uncertain", "later than usual", f"By {named} it is updated within {spoken(bound)}."


def _usual(watch: Watch, gaps: Sequence[timedelta]) -> timedelta | None:
    unusual = unusual_after(gaps, watch.floor, watch.spreads)
    return unusual.after if unusual else None


def _at_rest(dag: Row | None) -> str:
    """Why the watch leaves it alone."""
    if dag is None:
        return ""
    if dag["is_stale"]:
        return "its DAG has disappeared from its file"
    return "its DAG is paused" if dag["is_paused"] else ""
