"""What is fixed about a mail before it is written: whom it is to, its conversation, its links."""

from monitor import silences
from monitor.delivery.case import Case
from monitor.delivery.told import Told
from monitor.events import Event
from monitor.incidents import Incident
from monitor.links import Links
from monitor.outbox import Kind
from monitor.render import Letter
from monitor.rules import Channel

UNDONE = (Kind.RECOVERED, Kind.SUCCESS, Kind.DIGEST)
"""Of these there is nothing to acknowledge."""


def letter_for(links: Links, case: Case, told: Told, timezone: str) -> Letter:
    delivery, lead = case.delivery, told.lead
    incident = case.incident
    may_acknowledge = incident and incident.is_open and delivery.kind not in UNDONE
    is_mail = delivery.channel is Channel.EMAIL
    # Whom a digest tells, it tells of many DAGs.
    is_digest = delivery.kind is Kind.DIGEST
    silence_label, silence_url = ("", None) if is_digest else _silence(links, incident, lead)
    return Letter(
        message_id=delivery.message_id,
        recipient=delivery.recipient,
        rule=delivery.rule,
        timezone=timezone,
        references=case.thread.references,
        subject=case.thread.subject,
        silence_url=silence_url,
        silence_label=silence_label,
        acknowledge_url=links.acknowledge(incident.id) if incident and may_acknowledge else None,
        unsubscribe_url=links.unsubscribe(delivery.recipient, delivery.rule) if is_mail else None,
    )


def _silence(links: Links, incident: Incident | None, lead: Event | None) -> tuple[str, str | None]:
    """What the link silences, in words, and the link: what the mail is about, and never more."""
    if incident is not None:
        return f"Silence this {'DAG' if incident.is_of_dag else 'incident'}", links.silence_incident(
            incident.id
        )
    named = silences.named_by(lead) if lead else {}
    if lead is None or not named:
        return "", None
    what = "asset" if "asset" in named else "task" if "task_id" in named else "DAG"
    if "type" in named:
        what = "kind of message"
    return f"Silence this {what}", links.silence(lead.deployment, **named)
