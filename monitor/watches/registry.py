"""The registry of watches on runs, DAGs and assets, which all look at the same observation.

The watches `unreachable`, `component` and `mail` look at other things, so loop.py calls them one by one.

A new watch needs an entry in `build_watch_kinds` and five more things. Its name is a value of `Watch.watch`
(rules/model.py). Its event has a type and fields (events/data.py) and is built by events/from_watches.py.
notifications/incident_signals.py says which incident the event opens or closes. An example of the event is in
tests/contract, and docs/watches.md describes the watch.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from monitor.airflow.client import AirflowApi
from monitor.database.engine import Database
from monitor.event_log.projections import runs as runs_projection
from monitor.events.event import Event
from monitor.watches.asset_updates import Consumers, Updates
from monitor.watches.assets import (
    STALE,
    UNCONSUMED,
    build_consumed_event,
    find_stale,
    find_unconsumed,
    stale_no_more,
    uri_of,
)
from monitor.watches.auto_paused import AUTO_PAUSED, AutoPaused, auto_paused_no_more
from monitor.watches.findings import Finding, OpenFinding
from monitor.watches.observation import Observation
from monitor.watches.runs import (
    LATE,
    MISSING,
    STUCK,
    DurationHistory,
    HumanWaits,
    Missing,
    find_late,
    find_stuck,
    list_dags_in_question,
    long_runs,
)
from monitor.watches.thresholds import HISTORY, WatchSelector

ASSETS = (STALE, UNCONSUMED)


@dataclass(frozen=True)
class WatchKind:
    """A kind of watch."""

    name: str
    """The name as in the rules file."""
    type: str
    """The event's."""
    look: Callable[[Observation, WatchSelector], Awaitable[Sequence[Finding]]]
    """Raises AirflowError, SQLAlchemyError."""
    asks: bool = True
    """True if the watch needs to know which runs are queued and running."""
    over: Callable[[Observation, OpenFinding], Event | None] = lambda _observation, _ended: None
    """A function that returns the event of a finding's end. Findings about runs have none, because the run
    itself is reported."""


def build_watch_kinds(api: AirflowApi, database: Database, updates: Updates) -> list[WatchKind]:
    """Return the watches that look at an observation. `updates` is read on before each look."""
    absent, consumers, human_waits = Missing(), Consumers(api), HumanWaits(api)
    auto_paused = AutoPaused(api)

    async def look_for_missing(observation: Observation, choice: WatchSelector) -> list[Finding]:
        return absent.findings(observation, choice)

    async def look_for_late(observation: Observation, choice: WatchSelector) -> list[Finding]:
        return find_late(observation, choice)

    async def look_for_stuck(observation: Observation, choice: WatchSelector) -> list[Finding]:
        dag_ids = list_dags_in_question(observation, choice)
        history = await database.read(
            lambda connection: _lengths(connection, observation.deployment, dag_ids)
        )
        runs = long_runs(observation, choice, history)
        return find_stuck(observation, runs, await human_waits.measure(runs, observation.now))

    async def look_for_stale(observation: Observation, choice: WatchSelector) -> list[Finding]:
        return find_stale(observation, choice, updates.assets)

    async def look_for_unconsumed(observation: Observation, choice: WatchSelector) -> list[Finding]:
        return await find_unconsumed(observation, choice, updates.assets, consumers)

    return [
        WatchKind("missing", MISSING, look_for_missing),
        WatchKind("late", LATE, look_for_late),
        WatchKind("stuck", STUCK, look_for_stuck),
        WatchKind("stale", STALE, look_for_stale, False, _unless_another(stale_no_more)),
        WatchKind("auto_paused", AUTO_PAUSED, auto_paused.findings, False, auto_paused_no_more),
        WatchKind("unconsumed", UNCONSUMED, look_for_unconsumed, True, _unless_another(build_consumed_event)),
    ]


def _lengths(connection: Connection, deployment: str, dag_ids: Sequence[str]) -> DurationHistory:
    return {dag_id: runs_projection.lengths(connection, deployment, dag_id, HISTORY) for dag_id in dag_ids}


def _unless_another(
    over: Callable[[Observation, OpenFinding], Event],
) -> Callable[[Observation, OpenFinding], Event | None]:
    """Return `over` unless another finding about the asset is open.
    An asset has recovered when nothing at all is wrong with it."""

    def build_event(observation: Observation, ended: OpenFinding) -> Event | None:
        other_findings = (
            finding
            for finding in observation.open.values()
            if finding.type in ASSETS and finding.key != ended.key
        )
        return (
            None
            if any(_uri(finding) == _uri(ended) for finding in other_findings)
            else over(observation, ended)
        )

    return build_event


def _uri(finding: OpenFinding) -> str:
    return uri_of(finding.subject) if finding.type == UNCONSUMED else finding.subject
