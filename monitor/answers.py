"""What `windsock explain` and `windsock try-rules` print: answers in lines of text."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from monitor.notify.explain import Explanation, Line
from monitor.notify.replay import Replay, Told

SHOWN = 40  # messages that are listed one by one; the sums below them hold all
MOMENT = "%Y-%m-%d %H:%M:%S"


def of_event(found: Explanation) -> Iterator[str]:
    """What each rule made of one event."""
    event = found.event
    yield f"{event.type}  {event.subject}  {_at(event.time)}  ({event.deployment})"
    for line in found.lines:
        yield from _of_rule(line)
    if not found.lines:
        yield "  no rule is in force"


def _of_rule(line: Line) -> Iterator[str]:
    if line.mismatch and not line.decisions:
        yield f"  {line.rule}: does not take it: {line.mismatch}"
        return
    if not line.decisions:
        yield f"  {line.rule}: takes it, and had nothing to say of it"
    for decision in line.decisions:
        yield f"  {line.rule}: {_said(decision.outcome, decision.reason)}"
    if line.mismatch:
        yield f"    as the rule is now, it would not take it: {line.mismatch}"
    for delivery in line.deliveries:
        whom = f"{delivery.channel.value} {delivery.recipient}"
        what = f"delivery {delivery.id}, {delivery.kind.value} to {whom}"
        yield f"    {what}: {_said(delivery.state.value, delivery.reason)}"


def _said(outcome: str, reason: str) -> str:
    """The outcome's word once: most reasons begin with it."""
    return reason if reason.startswith(outcome) else f"{outcome}: {reason}"


def of_replay(found: Replay) -> Iterator[str]:
    """What a rules file would have told."""
    for told in found.told[:SHOWN]:
        yield _message(told)
    if len(found.told) > SHOWN:
        yield f"… and {len(found.told) - SHOWN} more"
    sums = Counter((one.delivery.rule, one.delivery.kind.value, one.delivery.recipient) for one in found.told)
    yield f"{found.events} events, {len(found.told)} messages"
    for (rule, kind, recipient), number in sorted(sums.items()):
        yield f"  {number:>6}  {rule}: {kind} to {recipient}"
    for rule, number in sorted(found.suppressed.items()):
        yield f"  {number:>6}  {rule}: told nobody"


def _message(told: Told) -> str:
    one = told.delivery
    about = one.dag_id or one.event_id
    several = f", {told.events} events" if told.events > 1 else ""
    return f"{_at(one.next_attempt_at)}  {one.rule}: {one.kind.value} to {one.recipient}: {about}{several}"


def _at(moment: datetime) -> str:
    return f"{moment:{MOMENT}} UTC"
