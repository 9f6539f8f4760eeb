"""An incident as one thread: what happened, what each rule made of it, and what was sent, by the time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from monitor import event_log
from monitor.event_log import Visible
from monitor.outbox import Decision, Delivery
from monitor.web.event_line import EventLine

SHOWN = 200  # entries; of a longer thread the first ones and the latest, which tell how it began and stands
FIRST = 20


@dataclass(frozen=True)
class Entry:
    """One of: an event with what was decided about it; a delivery; a note."""

    at: datetime
    key: str
    event: EventLine | None = None
    decisions: tuple[Decision, ...] = ()
    delivery: Delivery | None = None
    note: str | None = None


@dataclass(frozen=True)
class Thread:
    entries: list[Entry]
    left_out: int
    """Behind the first FIRST entries."""


def thread_of(connection: Connection, incident: Mapping[str, Any], visible: Visible) -> Thread:
    """`incident` as incidents_api.detail() gives it."""
    entries = [
        *_events(connection, incident, visible),
        # Behind the event that called for it, which has the same moment.
        *(Entry(one.created_at, f"told {one.id:020}", delivery=one) for one in incident["deliveries"]),
        *_notes(incident),
    ]
    entries.sort(key=lambda entry: (entry.at, entry.key))
    left_out = max(0, len(entries) - SHOWN)
    return Thread(entries[:FIRST] + entries[FIRST + left_out :] if left_out else entries, left_out)


def _events(connection: Connection, incident: Mapping[str, Any], visible: Visible) -> list[Entry]:
    decided: dict[int, list[Decision]] = {}
    for decision in incident["decisions"]:
        decided.setdefault(decision.event_seq, []).append(decision)
    ends = {incident[name] for name in ("opened_seq", "last_seq", "closed_seq")} - {None}
    found = event_log.of_seqs(connection, ends | decided.keys(), visible)
    return [
        Entry(
            logged.received_at,
            f"event {logged.seq:020}",
            event=EventLine.of(logged),
            decisions=tuple(decided.get(logged.seq, ())),
        )
        for logged in found
    ]


def _notes(incident: Mapping[str, Any]) -> Sequence[Entry]:
    notes = []
    if incident["acked_at"]:
        words = f"acknowledged by {incident['acked_by']}: {incident['ack_reason']}"
        notes.append(Entry(incident["acked_at"], "word 1", note=words))
    if incident["closed_at"]:
        by = f" by {incident['closed_by']}" if incident["closed_by"] else ""
        notes.append(Entry(incident["closed_at"], "word 2", note=f"closed{by}: {incident['closed_because']}"))
    return notes
