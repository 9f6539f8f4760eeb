"""Who hears what: an event in, the mails it calls for out, each with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from monitor.events import Event


@dataclass(frozen=True)
class Rule:
    """Events of one type, of DAGs whose id matches a glob, told to these people in this form."""

    name: str
    type: str
    dag_id: tuple[str, ...]
    template: str
    recipients: tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """One mail that is called for."""

    rule: str
    template: str
    recipients: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Rules:
    """The rules in force, in their order."""

    rules: tuple[Rule, ...]

    def decide(self, event: Event) -> list[Decision]:
        """Every mail that an event calls for; nothing where nobody asked to hear of it."""
        return [_decision(rule, event) for rule in self.rules if rule.recipients and _matches(rule, event)]


def default_rules(recipients: Sequence[str], notify_success: Sequence[str]) -> Rules:
    """Without a file: each failed run of any DAG, and each success of the DAGs named for it."""
    to = tuple(recipients)
    return Rules(
        (
            Rule("failures", "airflow.dag_run.failed", ("*",), "run_failed", to),
            Rule("successes", "airflow.dag_run.success", tuple(notify_success), "run_success", to),
        )
    )


def _matches(rule: Rule, event: Event) -> bool:
    dag_id = event.get("dag_id") or ""
    return event.type == rule.type and any(fnmatchcase(dag_id, glob) for glob in rule.dag_id)


def _decision(rule: Rule, event: Event) -> Decision:
    return Decision(rule.name, rule.template, rule.recipients, f"rule {rule.name!r}: {event.type}")
