"""`windsock try-rules`: what a rules file would have told of what the log holds.

The very engine that decides at ingest decides here, in a database of its own that is thrown away, with the
clock at the moment at which each event came in; what is due is taken for sent before the next event.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from sqlalchemy import Connection, insert, select

from monitor import board, event_log, outbox
from monitor.database import Database
from monitor.database.schema import dags, log_state, metadata
from monitor.event_log import Logged
from monitor.events import parse_event
from monitor.metrics import Metrics
from monitor.notify.before import Choose
from monitor.notify.engine import Engine
from monitor.outbox import Delivery, Outcome, State, Wanted
from monitor.rules import Channel, Rules
from monitor.telling import Telling

PAGE = 1_000  # events read at once
LEASE = timedelta(minutes=1)
END = datetime.max.replace(tzinfo=timezone.utc) - timedelta(days=1)
ALL = 1_000_000


@dataclass(frozen=True)
class Told:
    """One message that would have gone out."""

    delivery: Delivery
    events: int


@dataclass
class Replay:
    """What would have come of it."""

    events: int = 0
    told: list[Told] = field(default_factory=list)
    suppressed: Counter[str] = field(default_factory=Counter)
    """Decisions to tell nobody, by the rule."""


def replay(source: Database, rules: Rules, since: datetime, within: timedelta, choose: Choose) -> Replay:
    """Run rules over the events that came in since a moment. `within` is WINDSOCK_NOTIFY_MAX_AGE_HOURS."""
    with tempfile.TemporaryDirectory(prefix="windsock-try-") as folder:
        scratch = Database(f"sqlite:///{Path(folder) / 'try.db'}")
        try:
            return scratch.write_now(
                lambda connection: _replay(connection, source, rules, since, within, choose)
            )
        finally:
            scratch.close()


def _replay(
    scratch: Connection, source: Database, rules: Rules, since: datetime, within: timedelta, choose: Choose
) -> Replay:
    metadata.create_all(scratch)
    scratch.execute(insert(log_state).values(id=1, epoch="0", last_seq=0, pruned_seq=0))
    known = source.read_now(lambda connection: connection.execute(select(dags)).mappings().all())
    if known:
        scratch.execute(insert(dags), [dict(row) for row in known])
    engine = Engine(lambda: rules, Telling(within), choose, "localhost", Metrics())
    found = Replay()
    for logged in _events(source, since):
        event = parse_event(json.loads(logged.body))
        _send(scratch, logged.received_at)
        board.apply(scratch, logged.seq, event)
        engine.tell(scratch, logged.seq, event, logged.received_at)
        found.events += 1
    _send(scratch, END)
    _count(scratch, found)
    return found


def _events(source: Database, since: datetime) -> Iterator[Logged]:
    seq = source.read_now(lambda connection: event_log.seq_at(connection, since))
    while page := source.read_now(lambda connection: event_log.read_after(connection, seq, PAGE)).events:  # noqa: B023 (used at once)
        yield from page
        seq = page[-1].seq


def _send(scratch: Connection, now: datetime) -> None:
    """Take for sent what is due."""
    for channel in Channel:
        while delivery := outbox.claim(scratch, now, LEASE, channel):
            outbox.settle(scratch, delivery, Outcome(State.SENT, "would be sent", remaining=()), now)


def _count(scratch: Connection, found: Replay) -> None:
    sent = outbox.deliveries(scratch, ALL, wanted=Wanted(state=State.SENT))
    for delivery in reversed(sent):
        seqs = outbox.event_seqs(scratch, delivery.notification_id, ALL)
        found.told.append(Told(delivery, len(seqs)))
    found.suppressed.update(outbox.suppressed(scratch))
