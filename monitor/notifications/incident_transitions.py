"""The transitions of incidents: events open, join, close and reopen them.

`apply_event` brings the incidents up to a logged event. Which types of events open or close which incident is
a table in incident_signals.py. A success closes only the failures that it answers (incident_order.py).

`close`, `close_found`, `reopen`, `merge` and `name_file` are the changes that the monitor or a person makes.
Airflow can deny failures (delivery/settle.py) and recoveries (`Recoveries` in delivery/confirm.py).

The table of incidents is in incidents.py. Its functions of the same names only write a row.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from sqlalchemy import Connection

from monitor.event_log import append, read
from monitor.event_log.projections import import_errors
from monitor.event_log.projections.import_errors import BundleFile
from monitor.events.data import DagRunData, TaskInstanceData
from monitor.events.event import Event
from monitor.notifications import incidents
from monitor.notifications.incident_order import Order, order_of, schedule_moment
from monitor.notifications.incident_signals import (
    IMPORT_ERROR,
    MISSING,
    Meaning,
    Signal,
    import_error_key,
    import_error_title,
    list_incident_keys,
    list_overtaken_keys,
    signal_of,
)
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import decisions, enqueue

BY_SYSTEM = "Windsock"
"""The closer of an incident that no person closed."""


def close(connection: Connection, incident_id: int, at: datetime, by: str, reason: str) -> Incident | None:
    """Close an open incident and suppress its waiting follow-ups, both with the reason.

    `by` is a person, or BY_SYSTEM. Return the incident as it is now, or None if no such incident exists. An
    incident that is closed already stays as it is. This end causes no notification."""
    append.lock(connection)  # no failure joins the incident meanwhile
    incident = incidents.find(connection, incident_id)
    if incident is None or not incident.is_open:
        return incident
    closed = incidents.close(connection, incident, None, reason, at, by)
    why = f"suppressed: incident {incident_id} was closed by {by}: {reason}"
    enqueue.suppress_follow_ups(connection, incident_id, why, at)
    return closed


def close_found(connection: Connection, deployment: str, event_id: str, at: datetime) -> None:
    """Close the incident of a finding that was reported under this id and is over."""
    for seq, event in read.parse_each(read.find_by_id(connection, event_id, deployment=deployment)):
        signal = signal_of(event)
        incident = _first(connection, deployment, [signal.key]) if signal else None
        if incident is not None and incident.last_seq == seq:
            close(connection, incident.id, at, BY_SYSTEM, "the watch does not find it any more")


@dataclass(frozen=True)
class ReopenedIncident:
    """An incident that is open again."""

    incident: Incident
    is_recovery_notified: bool
    """True if a recipient was already notified of the end."""


def reopen(connection: Connection, incident: Incident, because: str, now: datetime) -> ReopenedIncident:
    """Open a closed incident again with all that it had gathered.
    A waiting notification of its end is withdrawn, and the follow-ups that were gathered into it wait again.

    If the same has failed anew meanwhile, the newer incident goes on with what this one had. The caller
    holds the log's lock."""
    is_recovery_notified = decisions.take_back_recovered(
        connection, incident.id, incident.closed_seq, because, now
    )
    newer = next(iter(incidents.open_of(connection, [(incident.deployment, incident.key)])), None)
    if newer is None:
        return ReopenedIncident(incidents.reopen(connection, incident), is_recovery_notified)
    end = f"it was not over, and goes on as incident {newer.id}"
    merged = merge(connection, incident, newer, end, incident.closed_at or now)
    return ReopenedIncident(merged, is_recovery_notified)


def merge(connection: Connection, incident: Incident, into: Incident, because: str, at: datetime) -> Incident:
    """Let another open incident go on with all that this one had, and close this one. Return the other."""
    decisions.move_incident(connection, incident.id, into.id)
    incidents.close(connection, incident, None, because, at)
    return incidents.absorb(connection, into, incident)


def open_of_file(connection: Connection, event: Event) -> Incident | None:
    """Return the open incident of the file that an import error's event is about, under whichever name."""
    bundle, filename = event.get("bundle_name"), str(event.get("filename"))
    if bundle is None:
        places = import_errors.places_of(connection, event.deployment, filename)
        keys = [import_error_key(None, filename), *(import_error_key(*place) for place in places)]
        return _first(connection, event.deployment, keys)
    found = _first(connection, event.deployment, [import_error_key(bundle, filename)])
    return found or _find_reported_by_hook(connection, event.deployment, BundleFile(bundle, filename))


def _first(connection: Connection, deployment: str, keys: list[str]) -> Incident | None:
    return next(iter(incidents.open_of(connection, [(deployment, key) for key in keys])), None)


def _find_reported_by_hook(connection: Connection, deployment: str, place: BundleFile) -> Incident | None:
    """Return the incident that a hook has named by its whole path, if that can be one file only."""
    whole_paths = {place.path, *import_errors.find_whole_paths(connection, deployment, place.path)}
    keys = {import_error_key(None, path) for path in whole_paths if path.startswith("/")}
    may_be = incidents.open_of(connection, [(deployment, key) for key in keys])
    if len(may_be) != 1:  # in doubt they are two
        return None
    return _rename_incident(connection, may_be[0], place)


def name_file(
    connection: Connection, deployment: str, filename: str, place: BundleFile, now: datetime
) -> None:
    """Rename the open incident of a file that a hook named to the name that REST gives.
    If REST's name has an incident already, that incident is of the same file and goes on with what this one
    had."""
    incident = _first(connection, deployment, [import_error_key(None, filename)])
    if incident is None:
        return
    other = _first(connection, deployment, [import_error_key(*place)])
    if other is None:
        _rename_incident(connection, incident, place)
    else:
        merge(connection, incident, other, f"it is of the same file as incident {other.id}", now)


def _rename_incident(connection: Connection, incident: Incident, place: BundleFile) -> Incident:
    return incidents.rename(connection, incident, import_error_key(*place), import_error_title(place.path))


class Transition(str, Enum):
    """The change that an event made to an incident."""

    OPENED = "opened"
    JOINED = "joined"
    REOPENED = "reopened"
    """The incident flaps: it was closed a short while ago."""
    CLOSED = "closed"
    NONE = "none"
    """There is nothing wrong that it could end, or it is no signal at all."""


@dataclass(frozen=True)
class IncidentChange:
    """The change of an incident, and the incident after it."""

    transition: Transition
    incident: Incident | None = None
    is_recovery_notified: bool = False
    """True if a recipient was already notified of an end that did not come."""


class OpenIncidents:
    """The open incidents that some events may change: read once, and kept up to each change."""

    def __init__(self, connection: Connection, events: Iterable[Event]) -> None:
        keys = {(event.deployment, key) for event in events for key in list_incident_keys(event)}
        self._by_key = {
            (incident.deployment, incident.key): incident for incident in incidents.open_of(connection, keys)
        }

    def get(self, deployment: str, key: str) -> Incident | None:
        """Return the open incident of this key, or None."""
        return self._by_key.get((deployment, key))

    def keep(self, incident: Incident) -> Incident:
        """Keep the incident as it is now, or drop it if it is closed."""
        if incident.is_open:
            self._by_key[incident.deployment, incident.key] = incident
        else:
            del self._by_key[incident.deployment, incident.key]
        return incident


def apply_event(
    connection: Connection, seq: int, event: Event, open_incidents: OpenIncidents, now: datetime
) -> IncidentChange:
    """Apply an event that has just been logged to the incidents.
    Return the change of its own incident.

    Moments are the events' own, so that reports which overtake each other end nothing that began later."""
    report = _Report(connection, seq, event, open_incidents, now)
    for key in list_overtaken_keys(event):
        report.end(key, _schedule_order_of(event, key))
    signal = signal_of(event)
    if signal is None:
        return IncidentChange(Transition.NONE)
    if signal.meaning is Meaning.RECOVERY:
        ended = report.end(signal.key)
        return IncidentChange(Transition.CLOSED, ended) if ended else IncidentChange(Transition.NONE)
    return report.fail(signal)


@dataclass(frozen=True)
class _Report:
    """An event and the incidents that it changes."""

    connection: Connection
    seq: int
    event: Event
    open_incidents: OpenIncidents
    now: datetime

    def fail(self, signal: Signal) -> IncidentChange:
        before = self._open(signal.key)
        if before is not None:
            return self._join(Transition.JOINED, before)
        if (flapping := self._flapping(signal.key)) is not None:
            again = reopen(self.connection, flapping, "it failed again", self.now)
            return replace(
                self._join(Transition.REOPENED, again.incident),
                is_recovery_notified=again.is_recovery_notified,
            )
        order = order_of(self.connection, self.event)
        incident = incidents.begin(self.connection, self.seq, self.event, signal.key, signal.title, order)
        return IncidentChange(Transition.OPENED, self.open_incidents.keep(incident))

    def _open(self, key: str) -> Incident | None:
        if not key.startswith(IMPORT_ERROR):
            return self.open_incidents.get(self.event.deployment, key)
        found = open_of_file(self.connection, self.event)
        return self.open_incidents.keep(found) if found else None

    def _join(self, transition: Transition, incident: Incident) -> IncidentChange:
        order = order_of(self.connection, self.event)
        joined = incidents.join(self.connection, incident, self.seq, self.event.time, order)
        return IncidentChange(transition, self.open_incidents.keep(joined))

    def _flapping(self, key: str) -> Incident | None:
        """Return the flapping incident, if it has not been quiet for long enough to be over."""
        latest = incidents.latest_of(self.connection, self.event.deployment, key)
        if latest is None or latest.quiet is None or latest.closed_at is None or latest.closed_seq is None:
            return None
        return latest if self.event.time - latest.closed_at < latest.quiet else None

    def end(self, key: str, answer: Order | None = None) -> Incident | None:
        """Close the open incident of a key, if this event is an answer to its failures. `answer`: the event's
        place among them, if it is not that of its run."""
        incident = self._open(key)
        if incident is None or not _is_answered(
            incident, self.event, answer or order_of(self.connection, self.event)
        ):
            return None
        because = f"{self.event.type} of {self.event.subject}"
        confirm_from = self.now if is_airflows(self.event) else None
        closed = incidents.close(
            connection=self.connection,
            incident=incident,
            seq=self.seq,
            because=because,
            at=self.event.time,
            confirm_from=confirm_from,
        )
        return self.open_incidents.keep(closed)


def _is_answered(incident: Incident, event: Event, order: Order | None) -> bool:
    """Return True if an event at this place is an answer to the incident's failures."""
    return event.time >= incident.last_at and incident.latest.is_answered_by(order)


def is_ended_by(incident: Incident, event: Event, order: Order | None) -> bool:
    """Return True if the incident is ended by an event with Airflow's own dates, at this place of its run."""
    if incident.key not in list_incident_keys(event):  # of a run that Airflow calls no scheduled one
        return False
    return _is_answered(incident, event, _schedule_order_of(event, incident.key) or order)


def is_airflows(event: Event) -> bool:
    """Return True if Airflow can be asked whether the event is so."""
    return isinstance(event.data, DagRunData | TaskInstanceData)


def _schedule_order_of(event: Event, key: str) -> Order | None:
    """Return the place of a run that begins or ends among the moments of its DAG's schedule."""
    if not key.startswith(MISSING) or not isinstance(event.data, DagRunData):
        return None
    return Order(schedule_moment(event, event.data), None)
