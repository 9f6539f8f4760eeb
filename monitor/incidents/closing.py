"""Close an incident outside of the flow of events, and open one again whose end is not true."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor import event_log, outbox
from monitor.incidents import store
from monitor.incidents.store import Incident

BY_SYSTEM = "Windsock"
"""Who closed it if no person did."""


def close(connection: Connection, incident_id: int, at: datetime, by: str, reason: str) -> Incident | None:
    """Close an open incident and suppress its waiting follow-ups, both with the reason.

    `by` is a person, or BY_SYSTEM. Return the incident as it is now, or None if no such incident exists. An
    incident that is closed already stays as it is. Nobody is notified of this end.
    """
    event_log.lock(connection)  # no failure joins the incident meanwhile
    incident = store.find(connection, incident_id)
    if incident is None or not incident.is_open:
        return incident
    closed = store.close(connection, incident, None, reason, at, by)
    why = f"suppressed: incident {incident_id} was closed by {by}: {reason}"
    outbox.suppress_follow_ups(connection, incident_id, why, at)
    return closed


def close_found(connection: Connection, deployment: str, event_id: str, at: datetime) -> None:
    """Close the incident of what a watch found and reported under this id, and finds no more."""
    for logged in event_log.of_id(connection, event_id):
        incident = store.open_with_seq(connection, deployment, logged.seq)
        if incident is not None:
            close(connection, incident.id, at, BY_SYSTEM, "the watch does not find it any more")


@dataclass(frozen=True)
class Reopened:
    """An incident that is open again."""

    incident: Incident
    is_told_over: bool
    """Somebody was told already that it is over."""


def reopen(connection: Connection, incident: Incident, because: str, now: datetime) -> Reopened:
    """Open a closed incident again with all that it had gathered: what waits to tell of its end is withdrawn,
    and the follow-ups that were to be told with that wait again.

    If the same has failed anew meanwhile, the newer incident goes on with what this one had. The caller holds
    the log's lock.
    """
    is_told_over = outbox.take_back_recovered(connection, incident.id, incident.closed_seq, because, now)
    newer = next(iter(store.open_of(connection, [(incident.deployment, incident.key)])), None)
    if newer is None:
        return Reopened(store.reopen(connection, incident), is_told_over)
    end = f"it was not over, and goes on as incident {newer.id}"
    merged = merge(connection, incident, newer, end, incident.closed_at or now)
    return Reopened(merged, is_told_over)


def merge(connection: Connection, incident: Incident, into: Incident, because: str, at: datetime) -> Incident:
    """Let another open incident go on with all that one had, which is closed. Answers the other."""
    outbox.move_incident(connection, incident.id, into.id)
    store.close(connection, incident, None, because, at)
    return store.absorb(connection, into, incident)
