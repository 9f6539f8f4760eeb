"""What was told before the database was restored from a backup: it is put into the ledger, and told to nobody
again."""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection

from monitor import outbox
from monitor.incidents import Incident
from monitor.notify.case import Case, decision
from monitor.notify.verdict import Verdict
from monitor.outbox import About, Before, Decision, Kind, Word, told_before
from monitor.rules import Target
from monitor.rules.model import Rule

Choose = Callable[[Rule, Kind, str], str]
"""The template's name for a rule, a kind and an event's type."""
MOMENT = "%Y-%m-%d %H:%M:%S"


def before(case: Case, rule: Rule, kind: Kind, targets: Sequence[Target]) -> dict[Target, Before]:
    """Who of these was told of the event by the rule."""
    if not case.known.is_restored:
        return {}
    connection, incident, since = case.connection, case.change.incident, None
    if kind is Kind.REMINDER and incident is not None:
        since = outbox.last_told(connection, incident.id, rule.name)
    return told_before.told_of(connection, case.event, rule.name, kind, targets, since)


def known_again(
    case: Case,
    rule: Rule,
    kind: Kind,
    key: str,
    choose: Choose,
    told: Mapping[Target, Before],
    host: str,
) -> Decision:
    """Into the ledger, as it was. `key`: the group's."""
    incident = case.change.incident
    template = choose(rule, kind, case.event.type)
    incident_id = incident.id if incident and "dag_id" in rule.group.by else None
    told_at = max(one.at for one in told.values())
    reason = f"notified before the database was restored, on {told_at:{MOMENT}} UTC"
    word = Word(rule.name, kind, template, key, incident_id, reason, told_at)
    about = About.of(case.seq, case.event)
    made = told_before.keep(case.connection, about, word, told, case.now, host)
    tells(case.connection, made.id, incident)
    return decision(case, rule, Verdict(kind, reason), outbox.NOTIFIED, made.id)


def tells(connection: Connection, notification_id: int, incident: Incident | None) -> None:
    if incident is not None:
        outbox.tells_of(connection, notification_id, incident.id)
