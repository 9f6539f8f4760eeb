"""The grouping of events into one notification, and the notifications sent before a restore.

`group_key`, `may_join` and `due_at` say which notifications go together, and when they are due. Digests are
made elsewhere: when the mail budget is low (delivery/suppression.py), by `move_to_digest` in
outbox/decisions.py.

`find_prior_deliveries` and `record_prior_deliveries` concern a database that was restored from a backup. A
notification that was sent after the backup is written into the ledger and not sent again."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.events.identity import digest
from monitor.notifications.decision import DecisionContext, RuleVerdict, build_decision
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import already_sent, decisions, enqueue, threads
from monitor.notifications.outbox.already_sent import PriorDelivery
from monitor.notifications.outbox.enqueue import NotificationDraft, SourceEvent
from monitor.notifications.outbox.records import Decision, Notification, NotificationKind
from monitor.rules.matching import MatchSubject
from monitor.rules.model import Rule
from monitor.rules.ruleset import Rules
from monitor.rules.targets import Target

FOLLOW_UPS = timedelta(hours=4)  # Alertmanager's default for what has been reported already
STAGES = {
    NotificationKind.RECOVERED: "recovered",
    NotificationKind.SUCCESS: "success",
    NotificationKind.NOTICE: "notice",
}
"""The kinds that are reported together. Every other kind reports a failure."""


def group_key(rule: Rule, kind: NotificationKind, facts: MatchSubject, targets: Sequence[Target]) -> str:
    """Return the key of a group: the same values of `group.by`, for the same recipients."""
    values = [f"{name}={_value(facts, name)}" for name in rule.group.by]
    whom = sorted(f"{target.channel.value}:{target.recipient}" for target in targets)
    return digest(STAGES.get(kind, "failures"), *values, *whom)


def may_join(kind: NotificationKind, open_group: Notification, now: datetime) -> bool:
    """Return True if a notification of this kind joins a waiting one, instead of being one of its own."""
    if kind in (NotificationKind.FOLLOW_UP, NotificationKind.REMINDER):
        return True
    if open_group.kind in (NotificationKind.FOLLOW_UP, NotificationKind.REMINDER):
        return False  # it may be due in hours, and an opening is urgent
    # A notification that only waits for the next free worker is as good as sent: by this replica's clock, and
    # by the clock of the replica that made it.
    return open_group.due_at > max(now, open_group.created_at)


def due_at(
    connection: Connection,
    rules: Rules,
    rule: Rule,
    kind: NotificationKind,
    key: str,
    now: datetime,
    settles: timedelta | None = None,
) -> datetime:
    """Return when a notification is due: after the group's wait or interval, and after the quiet hours.
    `settles` is how long its state has to last before (decision.py)."""
    if settles is not None:
        return rules.quiet_until(rule, now + settles) or now + settles
    due = now + rule.group.wait
    interval = _interval(rule, kind)
    if interval:
        last = enqueue.last_of_group(connection, rule.name, key)
        due = max(due, last.due_at + interval) if last else due
    return rules.quiet_until(rule, due) or due


def _interval(rule: Rule, kind: NotificationKind) -> timedelta | None:
    """Return the interval since the group's last notification.

    An opening does not wait for the interval if each group is of one DAG, because the opening is urgent."""
    if kind is NotificationKind.FOLLOW_UP:
        return rule.group.interval if rule.group.interval is not None else FOLLOW_UPS
    if kind is NotificationKind.FAILURE or "dag_id" not in rule.group.by:
        return rule.group.interval
    return None


def _value(facts: MatchSubject, name: str) -> str:
    event = facts.event
    match name:
        case "deployment" | "type":
            return str(getattr(event, name))
        case "asset":
            return event.asset_uri or ""
        case "owner":
            return " ".join(facts.owners)
        case "dag_id":
            # An event of no DAG is a group of its own: an import error is not grouped with another file's.
            return str(event.dag_id or event.subject)
        case _:
            return str(event.get(name) or "")


Choose = Callable[[Rule, NotificationKind, str], str]
"""The template's name for a rule, a kind and an event's type."""
MOMENT = "%Y-%m-%d %H:%M:%S"


def find_prior_deliveries(
    context: DecisionContext, rule: Rule, kind: NotificationKind, targets: Sequence[Target]
) -> dict[Target, PriorDelivery]:
    """Return the recipients that the rule has notified of the event already."""
    if not context.batch.is_restored:
        return {}
    connection, incident, since = context.connection, context.change.incident, None
    if kind is NotificationKind.REMINDER and incident is not None:
        since = threads.find_last_due(connection, incident.id, rule.name)
    return already_sent.find_prior_deliveries(connection, context.event, rule.name, kind, targets, since)


def record_prior_deliveries(
    context: DecisionContext,
    rule: Rule,
    kind: NotificationKind,
    key: str,
    choose: Choose,
    prior_deliveries: Mapping[Target, PriorDelivery],
    host: str,
) -> Decision:
    """Write earlier notifications into the ledger as they were. `key` is the group's."""
    incident = context.change.incident
    template = choose(rule, kind, context.event.type)
    incident_id = incident.id if incident and "dag_id" in rule.group.by else None
    delivered_at = max(prior_delivery.at for prior_delivery in prior_deliveries.values())
    reason = f"notified before the database was restored, on {delivered_at:{MOMENT}} UTC"
    draft = NotificationDraft(rule.name, kind, template, key, incident_id, reason, delivered_at)
    about = SourceEvent.from_event(context.seq, context.event)
    made = already_sent.keep(context.connection, about, draft, prior_deliveries, context.now, host)
    link_if_incident(context.connection, made.id, incident)
    return build_decision(context, rule, RuleVerdict(kind, reason), decisions.NOTIFIED, made.id)


def link_if_incident(connection: Connection, notification_id: int, incident: Incident | None) -> None:
    """Link the notification with the incident, if there is one."""
    if incident is not None:
        threads.link_incident(connection, notification_id, incident.id)
