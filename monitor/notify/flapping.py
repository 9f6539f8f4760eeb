"""An incident that opens and closes again and again is told once as flapping, and then no more until it has
been quiet for a while."""

from sqlalchemy import Connection

from monitor import incidents
from monitor.incidents import Incident
from monitor.notify.verdict import Verdict
from monitor.outbox import Kind
from monitor.rules.model import Rule


def flapping(connection: Connection, rule: Rule, incident: Incident | None) -> Verdict | None:
    """What to say of an opening that is one of too many; None where it is not."""
    if incident is None or rule.flapping is None:
        return None
    since = incident.opened_at - rule.flapping.within
    openings = incidents.recent(connection, incident.deployment, incident.key, since)
    if len(openings) < rule.flapping.openings:
        return None
    told = any(one.flapping for one in openings if one.id != incident.id)
    incidents.mark_flapping(connection, incident)
    often = f"flapping: opened {len(openings)} times since {since:%Y-%m-%d %H:%M} UTC"
    if told:
        return Verdict(None, f"suppressed: {often}, which was told")
    return Verdict(Kind.FLAPPING, f"rule {rule.name!r}: {often}")
