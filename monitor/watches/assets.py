"""The watches of assets: stale, and not consumed.

`find_stale` finds assets that were not updated for too long.

`find_unconsumed` finds updates that no run consumed, although a DAG is scheduled on the asset. A DAG that is
scheduled on several assets waits until all of them are updated. A DAG with an active run may have to wait
for its end. Neither case is reported. The updates that Airflow still holds for the DAG decide (`Consumers`).

A DAG that partitions of assets start (Airflow 3.2 and newer) is not watched. Its updates wait in tables that
the stable REST API does not show. Their mapping to runs is in the DAG's timetable alone. The asset's page
says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.database.statements import Row
from monitor.events import from_watches
from monitor.events.event import Event
from monitor.events.from_watches import Bound, WatchContext, WatchedAsset
from monitor.events.identity import spoken, stamp
from monitor.rules.model import Watch
from monitor.watches.asset_updates import AssetHistory, Consumers, ConsumerState, Update
from monitor.watches.findings import Finding, OpenFinding, moment_in
from monitor.watches.observation import Observation, tags_of
from monitor.watches.thresholds import WatchSelector, unusual_after

STALE = "windsock.asset.stale"


def find_stale(
    observation: Observation, choice: WatchSelector, updates: Mapping[str, AssetHistory]
) -> list[Finding]:
    """Return the stale assets. Assets are left out if the DAG that updated them last is paused or gone."""
    found = []
    for uri, row in observation.assets.items():
        dag_id = row["source_dag_id"]
        dag = observation.dag_at_work(dag_id)
        watch = choice.find_for_asset(row["name"], uri, dag_id, tags_of(dag)) if dag or not dag_id else None
        bound = watch and _bound(watch, updates.get(uri))
        if not watch or not bound:
            continue
        since: datetime = row["updated_at"]
        is_reported = observation.open_found(STALE, uri) == stamp(since)
        if is_reported or observation.is_ripe(since + bound.after, bound.after):
            found.append(_stale_finding(observation, watch, row, bound))
    return found


def _bound(watch: Watch, history: AssetHistory | None) -> Bound | None:
    if watch.after is not None:
        return Bound(watch.after)
    return unusual_after(history.intervals, watch.floor, watch.spreads) if history else None


def _stale_finding(observation: Observation, watch: Watch, row: Row, bound: Bound) -> Finding:
    def build() -> Event:
        context, asset = observation.watch_context(watch), asset_of(row)
        return from_watches.stale(context, asset, row["updated_at"], row["source_dag_id"], bound)

    return Finding(STALE, row["uri"], stamp(row["updated_at"]), build)


def stale_no_more(observation: Observation, ended: OpenFinding) -> Event:
    """Return the end of a stale asset's finding: an update came, or the asset is no longer watched."""
    row = observation.assets.get(ended.subject) or {"uri": ended.subject, "name": ended.subject}
    since, updated_at = moment_in(ended.found), row.get("updated_at")
    if updated_at and updated_at > since:
        what = f"{ended.subject} was updated again, after {spoken(updated_at - since)}"
    else:
        what = f"{ended.subject} is no longer watched: its DAG is paused or gone, or the watches are others"
    finding_id = from_watches.stale_id(ended.subject, since)
    context = WatchContext(observation.deployment, observation.now, None)
    dag_id = row.get("source_dag_id")
    return from_watches.asset_recovered(context, what, STALE, finding_id, asset_of(row), dag_id, since)


def asset_of(row: Row) -> WatchedAsset:
    """Return the asset of a row of the read model."""
    return WatchedAsset(row["name"], row["uri"], row.get("group"))


UNCONSUMED = "windsock.asset.unconsumed"
UNCONSUMED_AFTER = timedelta(minutes=15)  # where the watch names none: a healthy scheduler takes seconds
BY_ASSET = "asset_triggered"


@dataclass(frozen=True)
class Pair:
    """An asset's last update, and a DAG that is to consume it."""

    update: Update
    asset_id: int
    dag_id: str
    watch: Watch

    @property
    def subject(self) -> str:
        """The text that identifies the pair in findings."""
        return f"{self.dag_id} {self.update.asset.uri}"

    @property
    def after(self) -> timedelta:
        """The time that the DAG has for a run."""
        return UNCONSUMED_AFTER if self.watch.after is None else self.watch.after


async def find_unconsumed(
    observation: Observation, choice: WatchSelector, updates: Mapping[str, AssetHistory], consumers: Consumers
) -> list[Finding]:
    """Return the updates that are not consumed. Raises AirflowError."""
    listed = await consumers.look(observation.now, updates)
    found = []
    for uri, asset in listed.items():
        for dag_id in asset.dag_ids:
            pair = _pair(observation, choice, updates[uri].last, asset.asset_id, dag_id)
            finding = await _look_at(observation, pair, consumers) if pair else None
            found += [finding] if finding else []
    return found


def _pair(
    observation: Observation, choice: WatchSelector, update: Update, asset_id: int, dag_id: str
) -> Pair | None:
    dag, asset = observation.dag_at_work(dag_id), update.asset
    if dag is None or dag["is_partitioned"]:
        return None
    watch = choice.find_for_asset(asset.name, asset.uri, dag_id, tags_of(dag))
    return Pair(update, asset_id, dag_id, watch) if watch else None


async def _look_at(observation: Observation, pair: Pair, consumers: Consumers) -> Finding | None:
    finding = observation.open.get((UNCONSUMED, pair.subject))
    if finding:  # a later update does not make the reported one consumed, but a run does
        return None if ran_since(observation, pair.dag_id, finding.raised_at) else finding.still()
    update = pair.update
    is_late = observation.is_ripe(update.timestamp + pair.after, pair.after)
    if not is_late or pair.dag_id in update.began or ran_since(observation, pair.dag_id, update.timestamp):
        return None
    if observation.active.runs_of(pair.dag_id):
        return None
    consumer_state = await consumers.find_state(
        observation.now, update.asset_event_id, pair.asset_id, pair.dag_id
    )
    return _unconsumed_finding(observation, pair) if consumer_state is ConsumerState.READY else None


def ran_since(observation: Observation, dag_id: str, moment: datetime) -> bool:
    """Return True if assets have begun a run of this DAG since then."""
    started_at = observation.run_starts.get((dag_id, BY_ASSET))
    active = [run.came for run in observation.active.runs_of(dag_id) if run.run_type == BY_ASSET]
    return any(came >= moment for came in (started_at, *active) if came)


def _unconsumed_finding(observation: Observation, pair: Pair) -> Finding:
    update = pair.update

    def build() -> Event:
        context, asset, number = observation.watch_context(pair.watch), update.asset, update.asset_event_id
        return from_watches.asset_unconsumed(
            context, asset, number, update.timestamp, pair.dag_id, pair.after
        )

    return Finding(UNCONSUMED, pair.subject, f"{update.asset_event_id} {stamp(update.timestamp)}", build)


def uri_of(subject: str) -> str:
    """Return the URI in a pair's subject, which follows the first space. No dag_id holds a space."""
    return subject.partition(" ")[2]


def build_consumed_event(observation: Observation, ended: OpenFinding) -> Event:
    """Return the end of an update's finding: a run came, or the asset is no longer watched."""
    dag_id, _, uri = ended.subject.partition(" ")
    number, _, updated_at = ended.found.partition(" ")
    if ran_since(observation, dag_id, ended.raised_at):
        what = f"{dag_id} has a run that {uri} began"
    else:
        what = f"{uri} is no longer watched for {dag_id}, which is paused or gone, or the watches are others"
    row = observation.assets.get(uri) or {}
    asset = WatchedAsset(row.get("name", uri), uri, row.get("group"))
    finding_id = from_watches.asset_unconsumed_id(int(number), dag_id)
    context = WatchContext(observation.deployment, observation.now, None)
    since = moment_in(updated_at)
    return from_watches.asset_recovered(context, what, UNCONSUMED, finding_id, asset, dag_id, since)
