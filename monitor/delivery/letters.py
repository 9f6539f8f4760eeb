"""What is fixed about a mail before it is written: whom it is to, its conversation, its links."""

from monitor.delivery.case import Case
from monitor.delivery.told import Told
from monitor.links import Links
from monitor.outbox import Kind
from monitor.render import Letter
from monitor.rules import Channel

UNDONE = (Kind.RECOVERED, Kind.SUCCESS, Kind.DIGEST)
"""Of these there is nothing to acknowledge."""


def letter_for(links: Links, case: Case, told: Told, timezone: str) -> Letter:
    delivery, lead = case.delivery, told.lead
    dag_id = lead.dag_id if lead else None
    deployment = lead.deployment if lead else delivery.deployment
    incident = case.incident
    may_acknowledge = incident and incident.is_open and delivery.kind not in UNDONE
    is_mail = delivery.channel is Channel.EMAIL
    return Letter(
        message_id=delivery.message_id,
        recipient=delivery.recipient,
        rule=delivery.rule,
        timezone=timezone,
        references=case.thread.references,
        subject=case.thread.subject,
        # Whom a digest tells, it tells of many DAGs.
        silence_url=None if delivery.kind is Kind.DIGEST else links.silence(deployment, dag_id),
        acknowledge_url=links.acknowledge(incident.id) if incident and may_acknowledge else None,
        unsubscribe_url=links.unsubscribe(delivery.recipient, delivery.rule) if is_mail else None,
    )
