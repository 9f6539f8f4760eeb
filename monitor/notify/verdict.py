"""What a rule has to say of an event: which kind of word, and why; a table, with no database in it."""

from dataclasses import dataclass

from monitor.events import Event
from monitor.incidents import Change, Course
from monitor.outbox import Kind
from monitor.rules.model import Rule

SUCCESSES = ("airflow.dag_run.success", "airflow.task_instance.success")


@dataclass(frozen=True)
class Verdict:
    """`kind` None: nobody is told; where `is_noted`, the ledger says so."""

    kind: Kind | None
    reason: str
    is_noted: bool = True


def verdict(rule: Rule, event: Event, change: Change) -> Verdict:
    match change.course:
        case Course.OPENED | Course.JOINED | Course.REOPENED:
            return _of_failure(rule, change)
        case Course.CLOSED:
            return _of_recovery(rule, event, change)
        case Course.NONE:
            return _of_the_rest(rule, event)


def _of_failure(rule: Rule, change: Change) -> Verdict:
    number = change.incident.failures if change.incident else 1
    name = f"incident {change.incident.id}" if change.incident else "an incident"
    if "every_failure" in rule.notify_on:
        return Verdict(
            Kind.FAILURE, f"rule {rule.name!r} notifies on every failure; number {number} of {name}"
        )
    if "first_failure" not in rule.notify_on:
        return Verdict(None, f"rule {rule.name!r} does not notify on failures")
    if change.course is Course.OPENED:
        return Verdict(Kind.OPENED, f"rule {rule.name!r}: the first failure, opens {name}")
    if change.course is Course.REOPENED and (rule.flapping is None or change.is_told_over):
        return Verdict(Kind.OPENED, f"rule {rule.name!r}: failure {number}, opens {name} again")
    return Verdict(Kind.FOLLOW_UP, f"rule {rule.name!r}: failure {number} of {name}")


def _of_recovery(rule: Rule, event: Event, change: Change) -> Verdict:
    name = f"incident {change.incident.id}" if change.incident else "an incident"
    if "recovered" in rule.notify_on:
        return Verdict(Kind.RECOVERED, f"rule {rule.name!r}: closes {name}")
    return _of_the_rest(rule, event)


def _of_the_rest(rule: Rule, event: Event) -> Verdict:
    if event.type in SUCCESSES:
        if "success" in rule.notify_on:
            return Verdict(Kind.SUCCESS, f"rule {rule.name!r} notifies on every success")
        return Verdict(None, "a success, and nothing was wrong", is_noted=False)
    if "notice" in rule.notify_on:
        return Verdict(Kind.NOTICE, f"rule {rule.name!r}: {event.type}")
    return Verdict(None, f"rule {rule.name!r} does not notify on notices", is_noted=False)
