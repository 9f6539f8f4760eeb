"""The pages of incidents."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import Field, field_validator
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.database.statements import Row
from monitor.event_log import read
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import runs as runs_projection
from monitor.event_log.projections.runs import RunName, Strip
from monitor.notifications import incidents, silences
from monitor.notifications.incidents import Incident, IncidentFilter
from monitor.notifications.outbox.records import Decision, Delivery, NotificationKind, State
from monitor.rules.field_types import WILD
from monitor.web.api import incidents as incidents_api
from monitor.web.api.incidents import change
from monitor.web.dependencies import PagePrincipal, require_csrf
from monitor.web.incident_summary import IncidentSummary, find_last_good, summarize
from monitor.web.pages.events import airflow_url, drop_empty, lines_of, live
from monitor.web.pages.forms import Deed, choices, end_of
from monitor.web.pages.runs import with_strips
from monitor.web.paths import redirect
from monitor.web.query_params import (
    MAX_SEQ,
    Id,
    IncidentsQuery,
    LedgerQuery,
    ListFilters,
    Paged,
    list_filters,
)
from monitor.web.responses import cut_page
from monitor.web.rule_descriptions import describe_silence
from monitor.web.services import Services, ServicesDep
from monitor.web.templating import EventLine, render

SHOWN = 150  # decisions of a page, and deliveries: the latest, which show how it stands
SHOWN_RUNS = 10  # runs that an incident covers, the latest
SHOWN_SILENCES = 20  # of one incident, the latest
FILTERS = tuple(name for name in IncidentsQuery.model_fields if name not in Paged.model_fields)
TASK = "task:"  # before the keys of incidents of tasks
ENDS = ("success", "running")  # events by which an incident ends, and none of its failures
LATE = timedelta(minutes=2)  # an event that was received later says so


@dataclass(frozen=True)
class SentNotification:
    """A notification with its recipients."""

    kind: NotificationKind
    rule: str
    subject: str | None
    deliveries: tuple[Delivery, ...]

    @property
    def state(self) -> State:
        """The state of the delivery that most needs attention."""
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
    """A person's act on an incident, or the incident's end."""

    state: str
    text: str = ""
    """Empty of the end: the incident's row has it."""
    until: datetime | None = None
    reason: str = ""


@dataclass(frozen=True)
class TimelineEntry:
    """An entry of the timeline: an event with the decisions about it, a notification, or a note."""

    at: datetime
    key: str
    event: EventLine | None = None
    received_at: datetime | None = None
    """The time of receipt of an event that was late."""
    decisions: tuple[Decision, ...] = ()
    notification: SentNotification | None = None
    note: Note | None = None


def build_timeline(
    connection: Connection,
    incident: Incident,
    ledger: Mapping[str, Any],
    now: datetime,
    allowed_dags: AllowedDags,
) -> list[TimelineEntry]:
    """Return what a page of an incident's ledger and its ends hold, in order of time."""
    entries = [
        *_events(connection, incident, ledger["decisions"], allowed_dags),
        *_notifications(ledger["deliveries"]),
        *_notes(connection, incident, now, allowed_dags),
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


def _notes(
    connection: Connection, incident: Incident, now: datetime, allowed_dags: AllowedDags
) -> Iterator[TimelineEntry]:
    if incident.acked_at:
        note = Note(
            "acknowledged",
            f"Acknowledged by {incident.acked_by}",
            incident.ack_until,
            incident.ack_reason or "",
        )
        yield TimelineEntry(incident.acked_at, "note 1", note=note)
    if incident.ack_until and incident.ack_until <= min(now, incident.closed_at or now):
        text = f"The acknowledgement of {incident.acked_by} has lapsed. Reminders go on."
        yield TimelineEntry(incident.ack_until, "note 2", note=Note("lapsed", text))
    if incident.assigned_at:
        note = Note("assigned", f"Taken over by {incident.assignee}")
        yield TimelineEntry(incident.assigned_at, "note 3", note=note)
    for silence in silences.find_of_incident(connection, incident, now, SHOWN_SILENCES, allowed_dags):
        note = Note(
            "silenced",
            f"{silence.author} silenced {describe_silence(silence)}",
            silence.ends_at,
            silence.reason,
        )
        yield TimelineEntry(silence.created_at, f"note 4 {silence.id:020}", note=note)
    if incident.closed_at:
        yield TimelineEntry(incident.closed_at, "note 5", note=Note(incident.status))


def find_covered_runs(
    connection: Connection, deployment: str, timeline: Sequence[TimelineEntry]
) -> list[tuple[Row, Strip]]:
    """Return the latest runs whose failures a page of the timeline holds, the latest first."""
    names = dict.fromkeys(
        RunName(deployment, entry.event.dag_id, entry.event.run_id)
        for entry in reversed(timeline)
        if entry.event and entry.event.dag_id and entry.event.run_id and entry.event.word not in ENDS
    )
    rows = (runs_projection.run(connection, name) for name in list(names)[:SHOWN_RUNS])
    return list(with_strips(connection, (row for row in rows if row)))


class IncidentsForm(IncidentsQuery):
    """The same as a form sends it, with fields that were left empty and moments without a zone: UTC."""

    open_cursor: int | None = Field(None, ge=1, le=MAX_SEQ)
    """The place at which the page of open incidents begins."""

    @field_validator(*FILTERS, mode="before")
    @classmethod
    def _drop_empty(cls, value: Any) -> Any:
        return drop_empty(value)


IncidentRow = tuple[Incident, IncidentSummary]


def _load_page(
    connection: Connection,
    query: IncidentsForm,
    cursor: int | None,
    incident_filter: IncidentFilter,
    allowed_dags: AllowedDags,
) -> tuple[list[IncidentRow], int | None]:
    now = incident_filter.now
    found = incidents.page(connection, query.limit + 1, cursor, incident_filter, allowed_dags)
    current = [incident.drop_lapsed(now) if now else incident for incident in found]
    summaries = summarize(connection, current, allowed_dags)
    rows = ((incident, summaries[incident.id]) for incident in current)
    return cut_page(rows, query.limit, lambda row: row[0].id)


def _load_list(
    connection: Connection, query: IncidentsForm, is_filtered: bool, now: datetime, allowed_dags: AllowedDags
) -> dict[str, Any]:
    """Return the incidents that match, or without a filter the open incidents and those that have ended."""
    incident_filter = query.to_filter(now)
    if is_filtered:
        matching, following = _load_page(connection, query, query.cursor, incident_filter, allowed_dags)
        return {"matching": matching, "next": following}
    ended, following = _load_page(
        connection, query, query.cursor, replace(incident_filter, state=incidents.CLOSED), allowed_dags
    )
    still_open, next_open = _load_page(
        connection, query, query.open_cursor, replace(incident_filter, state=incidents.OPEN), allowed_dags
    )
    return {"open": still_open, "next_open": next_open, "ended": ended, "next": following}


router = APIRouter(prefix="/incidents", include_in_schema=False)


@router.get("")
async def list_incidents(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    list_query: Annotated[ListFilters[IncidentsForm], Depends(list_filters(IncidentsForm))],
) -> HTMLResponse:
    """Show the open incidents first, then those that have ended, or those that match the filters.
    Page by page."""
    query = list_query.query
    allowed_dags, now = await services.authenticator.get_permissions(principal), services.clock()
    filters = query.model_dump(mode="json", include=set(FILTERS), exclude_defaults=True)
    is_filtered = bool(filters or list_query.mistakes)

    def load(connection: Connection) -> dict[str, Any]:
        if list_query.mistakes:
            return live(connection) | {"matching": [], "next": None}
        return live(connection) | _load_list(connection, query, is_filtered, now, allowed_dags)

    values = await services.database.read(load)
    return render(
        *(request, "incidents.html", principal, list_query.status),
        is_first=query.cursor is None,
        is_filtered=is_filtered,
        mistakes=list_query.mistakes,
        given=filters,
        statuses=incidents.STATUSES,
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
    """Show an incident: the failure, the acts on it, and one timeline of all that happened."""
    allowed_dags = await services.authenticator.get_permissions(principal)
    now = services.clock()
    values = await services.database.read(
        lambda connection: _load_incident(connection, incident_id, allowed_dags, now, query.cursor)
    )
    if values is None:
        raise HTTPException(404, f"No incident {incident_id} is known here.")
    return render(
        *(request, "incident.html", principal),
        is_first=query.cursor is None,
        airflow=airflow_url(services, values["incident"].deployment),
        choices=choices(now, services.rules.current.config.timezone),
        **values,
    )


def _load_incident(
    connection: Connection, incident_id: int, allowed_dags: AllowedDags, now: datetime, before: int | None
) -> dict[str, Any] | None:
    found = incidents.find(connection, incident_id, allowed_dags)
    if found is None:
        return None
    incident = found.drop_lapsed(now)
    ledger = incidents_api.load_ledger(connection, incident_id, allowed_dags, before, SHOWN)
    summary = summarize(connection, [incident], allowed_dags)[incident_id]
    timeline = build_timeline(connection, found, ledger, now, allowed_dags)
    return live(connection) | {
        "incident": incident,
        "ledger": ledger,
        "summary": summary,
        "last_good": find_last_good(connection, incident, summary.run),
        "covered": find_covered_runs(connection, incident.deployment, timeline),
        "timeline": timeline,
        "silence_links": list(_silence_links(incident, summary)),
    }


def _silence_links(incident: Incident, summary: IncidentSummary) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the silences that the page offers, with the fields of the form.
    The fields hold as much as a match can express."""
    fields = {"deployment": incident.deployment, "dag_id": incident.dag_id}
    has_globs = not WILD.isdisjoint(f"{incident.deployment}{incident.dag_id or ''}")
    if incident.is_of_dag and not has_globs:
        yield "Silence this DAG", {"incident": incident.id}
        return
    yield "Silence this incident", {"incident": incident.id}
    if incident.dag_id is None or has_globs:
        return
    task = summary.task
    if incident.key.startswith(TASK) and task and WILD.isdisjoint(task.first.task_id):
        yield f"Silence the task {task.first.task_id}", {**fields, "task_id": task.first.task_id}
    yield "Silence this DAG", fields


@router.post("/{incident_id}/acknowledge")
async def acknowledge(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    incident_id: Id,
    form: Annotated[Deed, Form()],
) -> RedirectResponse:
    """Acknowledge the incident by the form on its page. `action=take_back` undoes it."""
    await require_csrf(request, principal)
    if form.action == "take_back":
        allowed_dags = await services.authenticator.get_permissions(principal)
        await change(
            services,
            incident_id,
            allowed_dags,
            lambda connection: incidents.unacknowledge(connection, incident_id),
        )
    else:
        until = _read_end(services, form)
        await incidents_api.acknowledge_by(services, principal, incident_id, form.why, until)
    return redirect(request, f"/incidents/{incident_id}")


def _read_end(services: Services, form: Deed) -> datetime | None:
    """Return the end that the form names. Raises 422."""
    if not form.until:
        return None
    try:
        return end_of(form.until, "", services.clock(), services.rules.current.config.timezone)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None


@router.post("/{incident_id}/assignee")
async def take_over(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    incident_id: Id,
    form: Annotated[Deed, Form()],
) -> RedirectResponse:
    """Take the incident over by the button on its page. `action=release` undoes it."""
    await require_csrf(request, principal)
    assignee = None if form.action == "release" else principal.name
    await incidents_api.assign_to(services, principal, incident_id, assignee)
    return redirect(request, f"/incidents/{incident_id}")


@router.post("/{incident_id}/close")
async def close(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    incident_id: Id,
    form: Annotated[Deed, Form()],
) -> RedirectResponse:
    """Close the incident by the other form on its page."""
    await require_csrf(request, principal)
    if not form.reason:
        raise HTTPException(422, "reason: is empty; others want to know why the incident is closed")
    await incidents_api.close_by(services, principal, incident_id, form.reason)
    return redirect(request, f"/incidents/{incident_id}")
