"""Events of which nobody was notified, and why: what pages say beside them."""

import json
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from monitor import incidents, outbox
from monitor.event_log import Logged, Visible
from monitor.outbox import Decision


def of_events(connection: Connection, logged: Sequence[Logged], visible: Visible) -> dict[int, Decision]:
    """By their seq, those among these events that were decided about, and of which nobody was notified."""
    ids = [json.loads(one.body)["id"] for one in logged if incidents.concerns(one.type)]
    found = why_nobody(outbox.decisions_of_events(connection, ids, visible)) if ids else {}
    return {one.seq: found[one.seq] for one in logged if one.seq in found}


def why_nobody(decisions: Iterable[Decision]) -> dict[int, Decision]:
    """By the event's seq, the first decision about it, where none of them notified anybody."""
    first: dict[int, Decision] = {}
    notified = set()
    for one in decisions:
        first.setdefault(one.event_seq, one)
        if one.notification_id is not None:
            notified.add(one.event_seq)
    return {seq: one for seq, one in first.items() if seq not in notified}
