"""The explanation of decisions about a logged event, and the replay of events against other rules.

`explain` shows what each rule decided about an event, and why. `replay` serves `windsock try-rules`, which
shows the notifications that a rules file would have made of the events in the log.

The replay uses the same engine as the ingest, in a temporary database. Its clock stands at the moment at
which each event arrived. A delivery that is due is counted as sent before the next event.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from sqlalchemy import Connection, insert, select

from monitor.database.engine import Database
from monitor.database.schema import dags, log_state, metadata
from monitor.event_log import read
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import dags as dags_projection
from monitor.event_log.projections.apply import apply
from monitor.event_log.read import LoggedEvent
from monitor.events.event import Event
from monitor.notifications.decision import UNDECIDED, UNMATCHED, NotificationWindow
from monitor.notifications.engine import Engine
from monitor.notifications.grouping import Choose
from monitor.notifications.outbox import decisions as outbox_decisions
from monitor.notifications.outbox import queries, queue
from monitor.notifications.outbox.queries import DeliveryFilter
from monitor.notifications.outbox.records import Decision, Delivery, DeliveryOutcome, State
from monitor.observability.metrics import Metrics
from monitor.rules.ruleset import Rules
from monitor.rules.targets import ChannelName

SHOWN = 100  # deliveries of one notification
NO_SUCH = "the rules in force have no such rule"
NOT_ONE = "this stands for the rules as a whole"


@dataclass(frozen=True)
class RuleExplanation:
    """The relation between one rule and the event."""

    rule: str
    """The rule's name. UNMATCHED or UNDECIDED if no rule, or no single one, decided."""
    mismatch: str | None
    """The reason why the present rule does not take the event, or None if it does."""
    decisions: tuple[Decision, ...] = ()
    """The decisions at the event's arrival. The rules may have been different then."""
    deliveries: tuple[Delivery, ...] = ()


@dataclass(frozen=True)
class EventExplanation:
    """The explanation of an event: what each rule made of it."""

    event: Event
    lines: tuple[RuleExplanation, ...]


def explain(
    connection: Connection, rules: Rules, event_id: str, allowed_dags: AllowedDags = None
) -> list[EventExplanation]:
    """Return an explanation for each Airflow that reported an event of this id.

    Rules name DAGs and people. So a reader who may not read every DAG gets only the rules that decided about
    the event."""
    return [
        _explain(connection, rules, event, allowed_dags)
        for event in _events(connection, event_id, allowed_dags)
    ]


def _events(connection: Connection, event_id: str, allowed_dags: AllowedDags) -> list[Event]:
    return [event for _, event in read.parse_each(read.find_by_id(connection, event_id, allowed_dags))]


def _explain(
    connection: Connection, rules: Rules, event: Event, allowed_dags: AllowedDags
) -> EventExplanation:
    decided = outbox_decisions.decisions_of_event(connection, event.id, event.deployment)
    now = {rule.name: why for rule, why in rules.explain(dags_projection.facts_of(connection, event))}
    names = list(
        dict.fromkeys([*(now if allowed_dags is None else ()), *(decision.rule for decision in decided)])
    )
    lines = []
    for name in names:
        rule_decisions = tuple(decision for decision in decided if decision.rule == name)
        why = now.get(name, NOT_ONE if name in (UNMATCHED, UNDECIDED) else NO_SUCH)
        if why is not None and name in now and allowed_dags is not None:
            why = "it does not take this event any more"
        lines.append(
            RuleExplanation(name, why, rule_decisions, _deliveries(connection, rule_decisions, allowed_dags))
        )
    return EventExplanation(event, tuple(lines))


def _deliveries(
    connection: Connection, decided: Sequence[Decision], allowed_dags: AllowedDags
) -> tuple[Delivery, ...]:
    ids = dict.fromkeys(
        decision.notification_id for decision in decided if decision.notification_id is not None
    )
    return tuple(
        found
        for notification_id in ids
        for found in queries.deliveries(
            connection,
            SHOWN,
            delivery_filter=DeliveryFilter(notification_id=notification_id),
            allowed_dags=allowed_dags,
        )
    )


PAGE = 1_000  # events read at once
LEASE = timedelta(minutes=1)
END = datetime.max.replace(tzinfo=timezone.utc) - timedelta(days=1)
ALL = 1_000_000


@dataclass(frozen=True)
class ReplayedDelivery:
    """A message that would have been sent."""

    delivery: Delivery
    events: int


@dataclass
class Replay:
    """The result of running the rules over past events."""

    events: int = 0
    deliveries: list[ReplayedDelivery] = field(default_factory=list)
    suppressed: Counter[str] = field(default_factory=Counter)
    """The decisions without a notification, by the rule."""


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
    dag_rows = source.read_now(lambda connection: connection.execute(select(dags)).mappings().all())
    if dag_rows:
        scratch.execute(insert(dags), [dict(row) for row in dag_rows])
    engine = Engine(lambda: rules, NotificationWindow(within), choose, "localhost", Metrics())
    found = Replay()
    for logged in _logged_events(source, since):
        for seq, event in read.parse_each([logged]):
            _send(scratch, logged.received_at)
            apply(scratch, seq, event)
            engine.notify(scratch, seq, event, logged.received_at)
            found.events += 1
    _send(scratch, END)
    _count(scratch, found)
    return found


def _logged_events(source: Database, since: datetime) -> Iterator[LoggedEvent]:
    seq = source.read_now(lambda connection: read.seq_at(connection, since))
    while page := source.read_now(lambda connection: read.read_after(connection, seq, PAGE)).events:  # noqa: B023 (used at once)
        yield from page
        seq = page[-1].seq


def _send(scratch: Connection, now: datetime) -> None:
    """Take for sent what is due."""
    for channel in ChannelName:
        while delivery := queue.claim(scratch, now, LEASE, channel):
            queue.settle(scratch, delivery, DeliveryOutcome(State.SENT, "would be sent", remaining=()), now)


def _count(scratch: Connection, found: Replay) -> None:
    sent = queries.deliveries(scratch, ALL, delivery_filter=DeliveryFilter(state=State.SENT))
    for delivery in reversed(sent):
        seqs = outbox_decisions.event_seqs(scratch, delivery.notification_id, ALL)
        found.deliveries.append(ReplayedDelivery(delivery, len(seqs)))
    found.suppressed.update(outbox_decisions.count_suppressed(scratch))
