"""The pages of incidents."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import Field
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.database.statements import Row
from monitor.event_log import read
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import runs as runs_projection
from monitor.event_log.projections.runs import RunName, Strip
from monitor.notifications import incidents
from monitor.notifications.incidents import Incident, IncidentFilter
from monitor.notifications.outbox.records import Decision, Delivery, NotificationKind, State
from monitor.web.api import incidents as incidents_api
from monitor.web.api.incidents import change
from monitor.web.dependencies import PagePrincipal, require_csrf
from monitor.web.incident_summary import IncidentSummary, find_last_good, summarize
from monitor.web.pages.events import airflow_url, lines_of, live
from monitor.web.pages.forms import Deed
from monitor.web.pages.runs import with_strips
from monitor.web.paths import redirect
from monitor.web.query_params import MAX_SEQ, Id, LedgerQuery, Paged
from monitor.web.responses import cut_page
from monitor.web.services import ServicesDep
from monitor.web.templating import EventLine, render

SHOWN = 150  # decisions of a page, and deliveries: the latest, which show how it stands
SHOWN_RUNS = 10  # runs that an incident covers, the latest
ENDS = ("success", "running")  # events by which an incident ends, and none of its failures
LATE = timedelta(minutes=2)  # an event that was received later says so


@dataclass(frozen=True)
class SentNotification:
    """One notification with its recipients."""

    kind: NotificationKind
    rule: str
    subject: str | None
    deliveries: tuple[Delivery, ...]

    @property
    def state(self) -> State:
        """The state of the delivery that most needs somebody to look at it."""
        return min((delivery.state for delivery in self.deliveries), key=WORST_FIRST.index)


WORST_FIRST = (
    State.DEAD,
    State.UNCERTAIN,
    State.PARKED,
    State.PENDING,
    State.SENDING,
    State.SENT,
    State.SUPPRESSED,
    State.SUPERSEDED,
)


@dataclass(frozen=True)
class Note:
    """What somebody did about an incident, or its end."""

    state: str
    text: str = ""
    """Empty of the end: the incident's row has it."""


@dataclass(frozen=True)
class TimelineEntry:
    """One of: an event with what was decided about it; a notification; a note."""

    at: datetime
    key: str
    event: EventLine | None = None
    received_at: datetime | None = None
    """Of an event that was received late."""
    decisions: tuple[Decision, ...] = ()
    notification: SentNotification | None = None
    note: Note | None = None


def build_timeline(
    connection: Connection, incident: Incident, ledger: Mapping[str, Any], allowed_dags: AllowedDags
) -> list[TimelineEntry]:
    """Return what a page of an incident's ledger and its ends hold, in order of time."""
    entries = [
        *_events(connection, incident, ledger["decisions"], allowed_dags),
        *_notifications(ledger["deliveries"]),
        *_notes(incident),
    ]
    return sorted(entries, key=lambda entry: (entry.at, entry.key))


def _events(
    connection: Connection, incident: Incident, decisions: Iterable[Decision], allowed_dags: AllowedDags
) -> Iterator[TimelineEntry]:
    decided: dict[int, list[Decision]] = {}
    for decision in decisions:
        decided.setdefault(decision.event_seq, []).append(decision)
    ends = (incident.opened_seq, incident.last_seq, incident.closed_seq)
    found = lines_of(connection, {seq for seq in ends if seq is not None} | decided.keys(), allowed_dags)
    received = read.find_received_times(connection, found)
    for seq, line in found.items():
        at = datetime.fromisoformat(line.time.replace("Z", "+00:00"))
        late = received[seq] if received[seq] - at > LATE else None
        yield TimelineEntry(at, f"event {seq:020}", line, late, tuple(decided.get(seq, ())))


def _notifications(deliveries: Iterable[Delivery]) -> Iterator[TimelineEntry]:
    by_notification: dict[int, list[Delivery]] = {}
    for delivery in sorted(deliveries, key=lambda delivery: delivery.id):
        by_notification.setdefault(delivery.notification_id, []).append(delivery)
    for notification_id, sent in by_notification.items():
        first = sent[0]
        subject = next((delivery.subject for delivery in sent if delivery.subject), None)
        made = SentNotification(first.kind, first.rule, subject, tuple(sent))
        # Behind the event that called for it, which may have the same moment.
        yield TimelineEntry(first.created_at, f"notification {notification_id:020}", notification=made)


def _notes(incident: Incident) -> Iterator[TimelineEntry]:
    if incident.acked_at:
        note = Note("acknowledged", f"Acknowledged by {incident.acked_by}: {incident.ack_reason}")
        yield TimelineEntry(incident.acked_at, "note 1", note=note)
    if incident.closed_at:
        yield TimelineEntry(incident.closed_at, "note 2", note=Note(incident.status))


def find_covered_runs(
    connection: Connection, deployment: str, timeline: Sequence[TimelineEntry]
) -> list[tuple[Row, Strip]]:
    """The latest runs whose failures a page of the timeline holds, the latest first."""
    names = dict.fromkeys(
        RunName(deployment, entry.event.dag_id, entry.event.run_id)
        for entry in reversed(timeline)
        if entry.event and entry.event.dag_id and entry.event.run_id and entry.event.word not in ENDS
    )
    rows = (runs_projection.run(connection, name) for name in list(names)[:SHOWN_RUNS])
    return list(with_strips(connection, (row for row in rows if row)))


class IncidentsForm(Paged):
    open_cursor: int | None = Field(None, ge=1, le=MAX_SEQ)
    """Where the page of those that are open begins."""


IncidentRow = tuple[Incident, IncidentSummary]


def _load_page(
    connection: Connection,
    limit: int,
    cursor: int | None,
    incident_filter: IncidentFilter,
    allowed_dags: AllowedDags,
) -> tuple[list[IncidentRow], int | None]:
    found = incidents.page(connection, limit + 1, cursor, incident_filter, allowed_dags)
    summaries = summarize(connection, found, allowed_dags)
    rows = ((incident, summaries[incident.id]) for incident in found)
    return cut_page(rows, limit, lambda row: row[0].id)


router = APIRouter(prefix="/incidents", include_in_schema=False)


@router.get("")
async def list_incidents(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    query: Annotated[IncidentsForm, Query()],
) -> HTMLResponse:
    """The open ones first, then those that have ended, page by page."""
    allowed_dags = await services.authenticator.get_permissions(principal)

    def load(connection: Connection) -> dict[str, Any]:
        ended, following = _load_page(
            connection, query.limit, query.cursor, IncidentFilter(incidents.CLOSED), allowed_dags
        )
        still_open, next_open = _load_page(
            connection, query.limit, query.open_cursor, IncidentFilter(incidents.OPEN), allowed_dags
        )
        return live(connection) | {
            "open": still_open,
            "next_open": next_open,
            "ended": ended,
            "next": following,
        }

    values = await services.database.read(load)
    return render(
        *(request, "incidents.html", principal),
        is_first=query.cursor is None,
        airflows=services.settings.airflow_pages,
        **values,
    )


@router.get("/{incident_id}")
async def show_incident(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    incident_id: Id,
    query: Annotated[LedgerQuery, Query()],
) -> HTMLResponse:
    """What is wrong, what is done about it, and one timeline of all that happened."""
    allowed_dags = await services.authenticator.get_permissions(principal)
    values = await services.database.read(
        lambda connection: _load_incident(connection, incident_id, allowed_dags, query.cursor)
    )
    if values is None:
        raise HTTPException(404, f"No incident {incident_id} is known here.")
    airflow = airflow_url(services, values["incident"].deployment)
    return render(
        request, "incident.html", principal, is_first=query.cursor is None, airflow=airflow, **values
    )


def _load_incident(
    connection: Connection, incident_id: int, allowed_dags: AllowedDags, before: int | None
) -> dict[str, Any] | None:
    incident = incidents.find(connection, incident_id, allowed_dags)
    if incident is None:
        return None
    ledger = incidents_api.load_ledger(connection, incident_id, allowed_dags, before, SHOWN)
    summary = summarize(connection, [incident], allowed_dags)[incident_id]
    timeline = build_timeline(connection, incident, ledger, allowed_dags)
    return live(connection) | {
        "incident": incident,
        "ledger": ledger,
        "summary": summary,
        "last_good": find_last_good(connection, incident, summary.run),
        "covered": find_covered_runs(connection, incident.deployment, timeline),
        "timeline": timeline,
    }


@router.post("/{incident_id}/acknowledge")
async def acknowledge(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    incident_id: Id,
    form: Annotated[Deed, Form()],
) -> RedirectResponse:
    """The form on that page; `action=take_back` undoes it."""
    await require_csrf(request, principal)
    allowed_dags = await services.authenticator.get_permissions(principal)

    def write(connection: Connection) -> Incident | None:
        if form.action == "take_back":
            return incidents.unacknowledge(connection, incident_id)
        return incidents.acknowledge(connection, incident_id, principal.name, form.why, services.clock())

    await change(services, incident_id, allowed_dags, write)
    return redirect(request, f"/incidents/{incident_id}")


@router.post("/{incident_id}/close")
async def close(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    incident_id: Id,
    form: Annotated[Deed, Form()],
) -> RedirectResponse:
    """The other form on that page."""
    await require_csrf(request, principal)
    if not form.reason:
        raise HTTPException(422, "reason: is empty; others want to know why the incident is closed")
    await incidents_api.close_by(services, principal, incident_id, form.reason)
    return redirect(request, f"/incidents/{incident_id}")
