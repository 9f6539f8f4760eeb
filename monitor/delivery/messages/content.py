"""The content of one notification, and the data that its message needs."""

from dataclasses import dataclass

from sqlalchemy import Connection

from monitor.database.statements import Row
from monitor.delivery.messages.event_summaries import summarize_events
from monitor.delivery.messages.facts import update_before
from monitor.delivery.messages.model import EventSummary, IncidentInfo, MessageContext
from monitor.delivery.messages.run_history import RunDetails, from_board
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import runs as runs_projection
from monitor.event_log.projections.runs import RunName
from monitor.events.data import AssetUpdatedData, DagRunData
from monitor.events.event import Event
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox.records import Delivery, Notification, NotificationKind

LATEST = (
    NotificationKind.FOLLOW_UP,
    NotificationKind.REMINDER,
    NotificationKind.RECOVERED,
    NotificationKind.FLAPPING,
)
"""The kinds that report the latest state. The others report the beginning."""


@dataclass(frozen=True)
class NotificationContent:
    """The content of a notification."""

    delivery: Delivery
    notification: Notification
    events: tuple[Event, ...]
    """The confirmed events, oldest first. Empty only for a digest of which nothing is left."""
    incident: Incident | None = None
    unconfirmed: str | None = None
    """The reason if Airflow's confirmation is missing."""
    earlier: int = 0
    """Events before these, which are only counted."""
    openings: int = 0
    """The number of recent incidents of the same kind. 0 if they were not counted."""

    @property
    def lead(self) -> Event | None:
        """The event that is reported in full."""
        if not self.events:
            return None
        return self.events[-1 if self.notification.kind in LATEST else 0]

    @property
    def listed(self) -> tuple[Event, ...]:
        """The events in the message's table, if the message has several, or more of the same."""
        kind = self.notification.kind
        if kind is NotificationKind.RECOVERED:
            return self.events[:-1]  # the last one is the recovery itself
        several = len(self.events) + self.earlier > 1
        return self.events if several or kind in (NotificationKind.FOLLOW_UP, NotificationKind.DIGEST) else ()


@dataclass(frozen=True)
class ContentData:
    """The data that a message needs from the database."""

    summaries: tuple[EventSummary, ...]
    tasks: list[Row]
    runs: list[RunDetails]
    run: Row | None
    """The run of a task or of a finding, because the event says less of it than the projection."""
    before: list[AssetUpdatedData]
    """The update of the same asset before this one."""


def load_content_data(
    connection: Connection, content: NotificationContent, allowed_dags: AllowedDags = None
) -> ContentData:
    """Load what a message needs from the database."""
    summaries = summarize_events(connection, content.listed)
    lead = content.lead
    if lead is None or content.notification.kind is NotificationKind.DIGEST:
        return ContentData(summaries, [], [], None, [])
    dag_id, run_id = lead.get("dag_id"), lead.get("run_id")
    name = RunName(lead.deployment, dag_id, run_id) if dag_id and run_id else None
    is_run = isinstance(lead.data, DagRunData)
    return ContentData(
        summaries,
        tasks=runs_projection.tasks(connection, name) if name and is_run else [],
        runs=from_board(connection, lead.deployment, dag_id) if dag_id else [],
        run=runs_projection.run(connection, name) if name and not is_run else None,
        before=update_before(connection, lead.deployment, lead.data, allowed_dags)
        if isinstance(lead.data, AssetUpdatedData)
        else [],
    )


def build_base_context(content: NotificationContent, content_data: ContentData) -> MessageContext:
    """Return the parts that every message has."""
    lead = content.lead
    return MessageContext(
        event_id=lead.id if lead else content.delivery.event_id,
        event_type=lead.type if lead else "windsock.digest",
        deployment=content.notification.deployment,
        subject=lead.subject if lead else content.notification.kind.value,
        at=lead.time if lead else None,
        kind=content.notification.kind.value,
        incident=_incident_info(content.incident, content.openings),
        events=content_data.summaries,
        earlier=content.earlier,
        unconfirmed=content.unconfirmed,
    )


def _incident_info(incident: Incident | None, openings: int) -> IncidentInfo | None:
    if incident is None:
        return None
    return IncidentInfo(
        id=incident.id,
        title=incident.title,
        failures=incident.failures,
        opened_at=incident.opened_at,
        last_at=incident.last_at,
        closed_at=incident.closed_at,
        acknowledged_by=incident.acked_by,
        acknowledged_reason=incident.ack_reason,
        acknowledged_until=incident.ack_until,
        assignee=incident.assignee,
        openings=openings,
    )
