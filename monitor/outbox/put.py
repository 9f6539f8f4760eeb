"""The door into the outbox: written in the transaction that logs the event."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, insert

from monitor.database.schema import deliveries
from monitor.events import Event
from monitor.events.identity import digest
from monitor.outbox.state import State
from monitor.rules import Decision


def put(
    connection: Connection,
    seq: int,
    event: Event,
    decisions: Sequence[Decision],
    now: datetime,
    host: str,
    suppressed: str | None = None,
) -> None:
    """Write the mails that an event calls for, in the transaction that logs the event.

    `host` is the right side of the Message-ID, which is made here once and kept for every attempt
    (RFC 5322 section 3.6.4). `suppressed` says why none of them is to go out; the ledger keeps them all.
    """
    if decisions:
        rows = [
            _row(seq, event, decision, now, host) | _suppressed(suppressed, now) for decision in decisions
        ]
        connection.execute(insert(deliveries), rows)


def _suppressed(reason: str | None, now: datetime) -> dict[str, object]:
    if reason is None:
        return {"state": State.PENDING.value, "settled_at": None}
    return {"state": State.SUPPRESSED.value, "reason": reason, "settled_at": now}


def _row(seq: int, event: Event, decision: Decision, now: datetime, host: str) -> dict[str, object]:
    return {
        "event_seq": seq,
        "event_id": event.id,
        "deployment": event.deployment,
        "dag_id": event.get("dag_id"),
        "run_id": event.get("run_id"),
        "rule": decision.rule,
        "template": decision.template,
        "recipients": list(decision.recipients),
        "reason": decision.reason,
        "message_id": f"<windsock.{event.deployment}.{seq}.{digest(event.id, decision.rule)}@{host}>",
        "attempts": 0,
        "created_at": now,
        "next_attempt_at": now,
    }
