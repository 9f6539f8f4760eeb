"""`windsock explain`: what was decided about one event when it came, and what the rules say of it now."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from monitor import board, event_log, outbox
from monitor.event_log import Visible
from monitor.events import Event, parse_event
from monitor.notify.case import UNDECIDED, UNMATCHED
from monitor.outbox import Decision, Delivery, Wanted
from monitor.rules import Rules

SHOWN = 100  # deliveries of one notification
NO_SUCH = "the rules in force have no such rule"
NOT_ONE = "this stands for the rules as a whole"


@dataclass(frozen=True)
class Line:
    """One rule and the event."""

    rule: str
    """Its name; UNMATCHED or UNDECIDED where no rule, or no single one, decided."""
    mismatch: str | None
    """Why the rule, as it is now, does not take the event; None: it does."""
    decisions: tuple[Decision, ...] = ()
    """What was made of it when it came; the rules may have been others then."""
    deliveries: tuple[Delivery, ...] = ()


@dataclass(frozen=True)
class Explanation:
    event: Event
    lines: tuple[Line, ...]


def explain(
    connection: Connection, rules: Rules, event_id: str, visible: Visible = None
) -> list[Explanation]:
    """One for each Airflow that reported an event of this id; none where the log has no such event.

    Rules name DAGs and people: who may not read every DAG is told of those alone that decided about it.
    """
    return [_explain(connection, rules, event, visible) for event in _events(connection, event_id, visible)]


def _events(connection: Connection, event_id: str, visible: Visible) -> list[Event]:
    return [parse_event(json.loads(found.body)) for found in event_log.of_id(connection, event_id, visible)]


def _explain(connection: Connection, rules: Rules, event: Event, visible: Visible) -> Explanation:
    decided = outbox.decisions_of_event(connection, event.id, event.deployment)
    now = {rule.name: why for rule, why in rules.explain(board.facts_of(connection, event))}
    names = list(dict.fromkeys([*(now if visible is None else ()), *(one.rule for one in decided)]))
    lines = []
    for name in names:
        mine = tuple(one for one in decided if one.rule == name)
        why = now.get(name, NOT_ONE if name in (UNMATCHED, UNDECIDED) else NO_SUCH)
        if why is not None and name in now and visible is not None:
            why = "it does not take this event any more"
        lines.append(Line(name, why, mine, _deliveries(connection, mine, visible)))
    return Explanation(event, tuple(lines))


def _deliveries(
    connection: Connection, decided: Sequence[Decision], visible: Visible
) -> tuple[Delivery, ...]:
    ids = dict.fromkeys(one.notification_id for one in decided if one.notification_id is not None)
    return tuple(
        found
        for notification_id in ids
        for found in outbox.deliveries(
            connection, SHOWN, wanted=Wanted(notification_id=notification_id), visible=visible
        )
    )
