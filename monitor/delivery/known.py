"""What the database holds of what is told, and what every story has from there."""

from dataclasses import dataclass

from sqlalchemy import Connection

from monitor import board
from monitor.board import RunName
from monitor.delivery.happenings import happenings_of
from monitor.delivery.history import PastRun, from_board
from monitor.delivery.told import Told
from monitor.delivery.updates import update_before
from monitor.event_log import Visible
from monitor.events.data import AssetUpdatedData, DagRunData
from monitor.incidents import Incident
from monitor.outbox import Kind
from monitor.render import Happening, Since, Story


@dataclass(frozen=True)
class Known:
    happenings: tuple[Happening, ...]
    tasks: list[board.Row]
    runs: list[PastRun]
    run: board.Row | None
    """Of a task, or of what a watch found: its event tells less of the run than the board."""
    before: list[AssetUpdatedData]
    """Of an asset's update: the one before it."""


def known_of(connection: Connection, told: Told, visible: Visible = None) -> Known:
    happenings = happenings_of(connection, told.listed)
    lead = told.lead
    if lead is None or told.notification.kind is Kind.DIGEST:
        return Known(happenings, [], [], None, [])
    dag_id, run_id = lead.get("dag_id"), lead.get("run_id")
    name = RunName(lead.deployment, dag_id, run_id) if dag_id and run_id else None
    is_run = isinstance(lead.data, DagRunData)
    return Known(
        happenings,
        tasks=board.tasks(connection, name) if name and is_run else [],
        runs=from_board(connection, lead.deployment, dag_id) if dag_id else [],
        run=board.run(connection, name) if name and not is_run else None,
        before=update_before(connection, lead.deployment, lead.data, visible)
        if isinstance(lead.data, AssetUpdatedData)
        else [],
    )


def begun(told: Told, known: Known) -> Story:
    """What every story has."""
    lead = told.lead
    return Story(
        event_id=lead.id if lead else told.delivery.event_id,
        event_type=lead.type if lead else "windsock.digest",
        deployment=told.notification.deployment,
        subject=lead.subject if lead else told.notification.kind.value,
        at=lead.time if lead else None,
        kind=told.notification.kind.value,
        incident=_since(told.incident, told.openings),
        events=known.happenings,
        earlier=told.earlier,
        unconfirmed=told.unconfirmed,
    )


def _since(incident: Incident | None, openings: int) -> Since | None:
    if incident is None:
        return None
    return Since(
        id=incident.id,
        title=incident.title,
        failures=incident.failures,
        opened_at=incident.opened_at,
        last_at=incident.last_at,
        closed_at=incident.closed_at,
        acknowledged_by=incident.acked_by,
        acknowledged_reason=incident.ack_reason,
        openings=openings,
    )
