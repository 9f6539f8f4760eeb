"""Unconsumed: an asset was updated, and a DAG that is scheduled on it made no run of it.

A DAG that is scheduled on several assets waits until all of them are updated, and one that has a run waits
for its end where it may have but one: neither is told. What Airflow itself still holds for the DAG decides.

A DAG that partitions of assets begin (Airflow 3.2 and newer) is not watched: its updates wait in tables that
the stable REST API does not show, and how they map to its runs is in its timetable alone. Its asset's page
says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.events import Event, stamp, watched_assets
from monitor.events.watched import Told
from monitor.events.watched_assets import Asset
from monitor.rules.model import Watch
from monitor.watches.choice import Choice
from monitor.watches.consumers import Consumers, Standing
from monitor.watches.finding import Finding, Open
from monitor.watches.moments import moment_in
from monitor.watches.sight import Sight, tags_of
from monitor.watches.updates import History, Update

UNCONSUMED = "windsock.asset.unconsumed"
AFTER = timedelta(minutes=15)  # where the watch names none: a healthy scheduler takes seconds
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
        return f"{self.dag_id} {self.update.asset.uri}"

    @property
    def after(self) -> timedelta:
        return AFTER if self.watch.after is None else self.watch.after


async def unconsumed(
    sight: Sight, choice: Choice, updates: Mapping[str, History], consumers: Consumers
) -> list[Finding]:
    """The updates that are not consumed. Raises AirflowError."""
    listed = await consumers.look(sight.now, updates)
    found = []
    for uri, known in listed.items():
        for dag_id in known.dag_ids:
            pair = _pair(sight, choice, updates[uri].last, known.asset_id, dag_id)
            finding = await _look_at(sight, pair, consumers) if pair else None
            found += [finding] if finding else []
    return found


def _pair(sight: Sight, choice: Choice, update: Update, asset_id: int, dag_id: str) -> Pair | None:
    dag, asset = sight.dag_at_work(dag_id), update.asset
    if dag is None or dag["is_partitioned"]:
        return None
    watch = choice.of_asset(asset.name, asset.uri, dag_id, tags_of(dag))
    return Pair(update, asset_id, dag_id, watch) if watch else None


async def _look_at(sight: Sight, pair: Pair, consumers: Consumers) -> Finding | None:
    told = sight.open.get((UNCONSUMED, pair.subject))
    if told:  # a later update does not make the one that was told consumed; a run does
        return None if ran_since(sight, pair.dag_id, told.raised_at) else told.still()
    update = pair.update
    is_late = sight.is_ripe(update.timestamp + pair.after, pair.after)
    if not is_late or pair.dag_id in update.began or ran_since(sight, pair.dag_id, update.timestamp):
        return None
    if sight.active.of(pair.dag_id):
        return None
    standing = await consumers.standing(sight.now, update.asset_event_id, pair.asset_id, pair.dag_id)
    return _finding(sight, pair) if standing is Standing.READY else None


def ran_since(sight: Sight, dag_id: str, moment: datetime) -> bool:
    """Whether assets have begun a run of this DAG since then."""
    begun = sight.begun.get((dag_id, BY_ASSET))
    active = [run.came for run in sight.active.of(dag_id) if run.run_type == BY_ASSET]
    return any(came >= moment for came in (begun, *active) if came)


def _finding(sight: Sight, pair: Pair) -> Finding:
    update = pair.update

    def build() -> Event:
        told, asset, number = sight.told(pair.watch), update.asset, update.asset_event_id
        return watched_assets.unconsumed(told, asset, number, update.timestamp, pair.dag_id, pair.after)

    return Finding(UNCONSUMED, pair.subject, f"{update.asset_event_id} {stamp(update.timestamp)}", build)


def uri_of(subject: str) -> str:
    """No dag_id holds a space."""
    return subject.partition(" ")[2]


def consumed(sight: Sight, ended: Open) -> Event:
    """The end of what was told: a run, or nobody watches it any more."""
    dag_id, _, uri = ended.subject.partition(" ")
    number, _, written = ended.found.partition(" ")
    if ran_since(sight, dag_id, ended.raised_at):
        what = f"{dag_id} has a run that {uri} began"
    else:
        what = f"{uri} is no longer watched for {dag_id}, which is paused or gone, or the watches are others"
    row = sight.assets.get(uri) or {}
    asset = Asset(row.get("name", uri), uri, row.get("group"))
    finding_id = watched_assets.unconsumed_id(int(number), dag_id)
    told = Told(sight.deployment, sight.now, None)
    since = moment_in(written)
    return watched_assets.asset_recovered(told, what, UNCONSUMED, finding_id, asset, dag_id, since)
