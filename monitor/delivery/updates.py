"""The assets that a run updated: from Airflow where it can be asked, for the log may hear of the last one
late; else from the log."""

import json

from sqlalchemy import Connection

from monitor import event_log
from monitor.board import RunName
from monitor.database import Database
from monitor.delivery.airflow import Airflow
from monitor.delivery.asking import asked, update_of
from monitor.event_log import UPDATED, Filter, Visible
from monitor.events import parse_event
from monitor.events.data import AssetUpdatedData

MAX_UPDATES = 50  # asset events of one run
RECENT = 20  # updates of one asset among which the one before is looked for


async def updates_of(
    database: Database, airflow: Airflow | None, name: RunName, visible: Visible = None
) -> list[AssetUpdatedData]:
    """`visible`: what of the log may be told. (Airflow is asked for recipients alone, who see all of it.)"""
    if airflow is not None:
        found = await asked(_from_airflow(airflow, name), f"the asset events of {name.run_id}")
        if found:
            return found
    return await database.read(lambda connection: from_log(connection, name, visible))


async def _from_airflow(airflow: Airflow, name: RunName) -> list[AssetUpdatedData]:
    return [update_of(row) for row in await airflow.asset_events_of(name.dag_id, name.run_id, MAX_UPDATES)]


def from_log(connection: Connection, name: RunName, visible: Visible = None) -> list[AssetUpdatedData]:
    wanted = Filter.of(
        type=[UPDATED], deployment=[name.deployment], dag_id=[name.dag_id], run_id=[name.run_id]
    )
    # A filter reads * and ? in a name as globs; here they are letters.
    return [
        one
        for one in _read(connection, wanted, MAX_UPDATES, visible)
        if (one.source_dag_id, one.source_run_id) == (name.dag_id, name.run_id)
    ]


def update_before(
    connection: Connection, deployment: str, data: AssetUpdatedData, visible: Visible = None
) -> list[AssetUpdatedData]:
    """The update of the same asset before this one; empty where the log has none."""
    wanted = Filter.of(type=[UPDATED], deployment=[deployment], asset=[data.asset.uri])
    earlier = [
        one
        for one in _read(connection, wanted, RECENT, visible)
        if one.asset.uri == data.asset.uri
        and one.asset_event_id != data.asset_event_id
        and one.timestamp <= data.timestamp
    ]
    return earlier[-1:]


def _read(connection: Connection, wanted: Filter, limit: int, visible: Visible) -> list[AssetUpdatedData]:
    """Oldest first."""
    logged = event_log.read_before(connection, None, limit, wanted, visible)
    events = [parse_event(json.loads(found.body)) for found in reversed(logged)]
    return [event.data for event in events if isinstance(event.data, AssetUpdatedData)]
