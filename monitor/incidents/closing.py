"""Close an incident outside of the flow of events: by hand, or because its DAG or run was deleted."""

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
