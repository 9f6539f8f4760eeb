"""An incident that opens and closes again and again: it is told once as flapping, and then only what lasts.

Once it is flapping, a failure soon after its end opens the same incident again (monitor/incidents/course.py).
Its end is told after it has been quiet for a while, and a failure that lasts for as long is told too, so that
the last message is never that all is well while it is not.
"""

from datetime import timedelta

from sqlalchemy import Connection

from monitor import incidents
from monitor.incidents import Change, Course, Incident
from monitor.notify.verdict import Verdict
from monitor.outbox import Kind
from monitor.rules.model import Flapping, Rule


def flapping(connection: Connection, rule: Rule, incident: Incident | None) -> Verdict | None:
    """Return what to say of an opening that is one of too many, or None if it is not."""
    if incident is None or rule.flapping is None:
        return None
    since = incident.opened_at - rule.flapping.within
    openings = incidents.recent(connection, incident.deployment, incident.key, since)
    if len(openings) < rule.flapping.openings:
        return None
    incidents.mark_flapping(connection, incident, quiet_for(rule.flapping))
    often = f"flapping: opened {len(openings)} times since {since:%Y-%m-%d %H:%M} UTC"
    return Verdict(Kind.FLAPPING, f"rule {rule.name!r}: {often}")


def quiet_for(limits: Flapping) -> timedelta:
    """The time between two openings at the rate that counts as flapping: what lasts longer is no flapping."""
    return limits.within / limits.openings


def settles_after(rule: Rule, kind: Kind, change: Change) -> timedelta | None:
    """How long the end, or the next failure, of an incident that flaps has to last before it is told."""
    if rule.flapping is None or change.incident is None or not change.incident.flapping:
        return None
    if kind is Kind.RECOVERED or (kind is Kind.FOLLOW_UP and change.course is Course.REOPENED):
        return change.incident.quiet
    return None
