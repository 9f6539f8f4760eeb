"""Each kind of watch on one Airflow: what it needs beside the sight, what it finds, and what is told when
that is over.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from monitor.airflow.client import AirflowApi
from monitor.database.engine import Database
from monitor.event_log.projections import runs as runs_projection
from monitor.events.event import Event
from monitor.watches.asset_updates import Consumers, Updates
from monitor.watches.assets import STALE, UNCONSUMED, consumed, stale, stale_no_more, unconsumed, uri_of
from monitor.watches.auto_paused import AUTO_PAUSED, AutoPaused, auto_paused_no_more
from monitor.watches.findings import Finding, Open
from monitor.watches.observation import Sight
from monitor.watches.runs import (
    LATE,
    MISSING,
    STUCK,
    History,
    Missing,
    Waiting,
    in_question,
    late,
    long_runs,
    stuck,
)
from monitor.watches.thresholds import HISTORY, Choice

ASSETS = (STALE, UNCONSUMED)


@dataclass(frozen=True)
class Kind:
    name: str
    """As in the rules file."""
    type: str
    """The event's."""
    look: Callable[[Sight, Choice], Awaitable[Sequence[Finding]]]
    """Raises AirflowError, SQLAlchemyError."""
    asks: bool = True
    """Whether it needs to know which runs are queued and running."""
    over: Callable[[Sight, Open], Event | None] = lambda _sight, _ended: None
    """What is told when a finding is over. Of runs nothing: the run itself is told."""


def kinds(api: AirflowApi, database: Database, updates: Updates) -> list[Kind]:
    """Those that look at runs and assets. `updates` is read on before each look."""
    absent, consumers, waiting = Missing(), Consumers(api), Waiting(api)
    pauses = AutoPaused(api)

    async def look_for_missing(sight: Sight, choice: Choice) -> list[Finding]:
        return absent.findings(sight, choice)

    async def look_for_late(sight: Sight, choice: Choice) -> list[Finding]:
        return late(sight, choice)

    async def look_for_stuck(sight: Sight, choice: Choice) -> list[Finding]:
        wanted = in_question(sight, choice)
        history = await database.read(lambda connection: _lengths(connection, sight.deployment, wanted))
        runs = long_runs(sight, choice, history)
        return stuck(sight, runs, await waiting.waited(runs, sight.now))

    async def look_for_stale(sight: Sight, choice: Choice) -> list[Finding]:
        return stale(sight, choice, updates.assets)

    async def look_for_unconsumed(sight: Sight, choice: Choice) -> list[Finding]:
        return await unconsumed(sight, choice, updates.assets, consumers)

    return [
        Kind("missing", MISSING, look_for_missing),
        Kind("late", LATE, look_for_late),
        Kind("stuck", STUCK, look_for_stuck),
        Kind("stale", STALE, look_for_stale, False, _unless_another(stale_no_more)),
        Kind("auto_paused", AUTO_PAUSED, pauses.findings, False, auto_paused_no_more),
        Kind("unconsumed", UNCONSUMED, look_for_unconsumed, True, _unless_another(consumed)),
    ]


def _lengths(connection: Connection, deployment: str, dag_ids: Sequence[str]) -> History:
    return {dag_id: runs_projection.lengths(connection, deployment, dag_id, HISTORY) for dag_id in dag_ids}


def _unless_another(over: Callable[[Sight, Open], Event]) -> Callable[[Sight, Open], Event | None]:
    """An asset has recovered when nothing at all is wrong with it any more."""

    def told(sight: Sight, ended: Open) -> Event | None:
        others = (one for one in sight.open.values() if one.type in ASSETS and one.key != ended.key)
        return None if any(_uri(one) == _uri(ended) for one in others) else over(sight, ended)

    return told


def _uri(one: Open) -> str:
    return uri_of(one.subject) if one.type == UNCONSUMED else one.subject
