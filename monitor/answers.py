"""What `windsock explain` and `windsock try-rules` print: answers in lines of text."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from monitor.notify.case import UNDECIDED, UNMATCHED
from monitor.notify.explain import Explanation, Line
from monitor.notify.replay import Replay, Told

SHOWN = 40  # messages that are listed one by one; the sums below them hold all
MOMENT = "%Y-%m-%d %H:%M:%S"


def of_event(found: Explanation) -> Iterator[str]:
    """What was decided about one event when it came; then, marked as such, what the rules say of it now."""
    event = found.event
    yield f"{event.type}  {event.subject}  {_at(event.time)}  ({event.deployment})"
    yield "  decided when it came:"
    decided = [line for line in found.lines if line.decisions]
    for line in decided:
        yield from _decided(line)
    if not decided:
        yield "    nothing: nobody was notified, because no rule had anything to say of it"
    yield "  as the rules are now, which says nothing of what was decided then:"
    now = [line for line in found.lines if line.rule not in (UNMATCHED, UNDECIDED)]
    for line in now:
        yield f"    {line.rule}: " + (f"does not take it: {line.mismatch}" if line.mismatch else "takes it")
    if not now:
        yield "    no rule is in force"


def _decided(line: Line) -> Iterator[str]:
    for decision in line.decisions:
        name = "" if line.rule == UNMATCHED else f"{line.rule}: "
        yield f"    {name}{_said(decision.outcome, decision.reason)} ({_at(decision.created_at)})"
    for delivery in line.deliveries:
        whom = f"{delivery.channel.value} {delivery.recipient}"
        what = f"delivery {delivery.id}, {delivery.kind.value} to {whom}"
        yield f"      {what}: {_said(delivery.state.value, delivery.reason)}"


def _said(outcome: str, reason: str) -> str:
    """The outcome's word once: most reasons begin with it, or say it in full."""
    return reason if reason.startswith((outcome, "nobody was notified")) else f"{outcome}: {reason}"


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
        yield f"  {number:>6}  {rule}: notified nobody"


def _message(told: Told) -> str:
    one = told.delivery
    about = one.dag_id or one.event_id
    several = f", {told.events} events" if told.events > 1 else ""
    return f"{_at(one.next_attempt_at)}  {one.rule}: {one.kind.value} to {one.recipient}: {about}{several}"


def _at(moment: datetime) -> str:
    return f"{moment:{MOMENT}} UTC"
