"""The match of an event against a rule, or against a silence.

`takes` says whether a match takes an event, and `mismatch` says in words why it does not. Both ask
`_find_mismatch`, so the engine (`Rules.find_matching`), `windsock explain` (`Rules.explain`) and silences can
never disagree.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from monitor.events.data import AssetRef
from monitor.events.event import Event
from monitor.rules.field_types import matches_any
from monitor.rules.model import Match


@dataclass(frozen=True)
class MatchSubject:
    """An event and what the read model knows of its DAG."""

    event: Event
    tags: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()

    @classmethod
    def from_event(cls, event: Event, dag: Mapping[str, Any] | None) -> "MatchSubject":
        """Return the subject of an event. `dag` is the read model's row of the event's DAG, if it has one."""
        dag_row = dag or {}
        return cls(event, tuple(dag_row.get("tags") or ()), tuple(dag_row.get("owners") or ()))


SHOWN_VALUES = 3  # of what an event has, and of what is wanted: the reason is read by people
SHOWN_CHARACTERS = 80

_Values = tuple[str, ...]
_Reason = Callable[[], str]
"""A reason that is put into words only on demand."""


def mismatch(match: Match, facts: MatchSubject) -> str | None:
    """Return the first field that does not fit, with the event's value, or None if all fields fit."""
    against = _find_mismatch(match, facts)
    return against() if against else None


def takes(match: Match, facts: MatchSubject) -> bool:
    """Return True if the event matches. No words are made, because most rules do not take most events."""
    return _find_mismatch(match, facts) is None


def _find_mismatch(match: Match, facts: MatchSubject) -> _Reason | None:
    for name, values in _FIELDS:
        globs: Sequence[str] = getattr(match, name)
        if globs and globs != ("*",):
            found = values(facts)
            if not any(matches_any(globs, value) for value in found):
                return partial(_describe_mismatch, name, found, globs)
    return _attempt(match, facts) or _any_of(match, facts) or _none_of(match, facts)


def _attempt(match: Match, facts: MatchSubject) -> _Reason | None:
    number = facts.event.get("try_number")
    if not match.attempt or number in match.attempt:
        return None
    found = () if number is None else (str(number),)
    return partial(_describe_mismatch, "attempt", found, [str(attempt) for attempt in match.attempt])


def _any_of(match: Match, facts: MatchSubject) -> _Reason | None:
    against = []
    for inner in match.any_of:
        reason = _find_mismatch(inner, facts)
        if reason is None:
            return None
        against.append(reason)
    return partial(_each, against) if against else None


def _each(against: Sequence[_Reason]) -> str:
    return "any_of: " + "; ".join(reason() for reason in against[:SHOWN_VALUES])


def _none_of(match: Match, facts: MatchSubject) -> _Reason | None:
    for number, inner in enumerate(match.none_of, 1):
        if takes(inner, facts):
            return partial("none_of: the event matches number {} of them".format, number)
    return None


def _describe_mismatch(name: str, found: Sequence[str], expected: Sequence[str]) -> str:
    if not found:
        return f"{name}: the event has none, and {_list(expected)} is wanted"
    return f"{name}: {_list(found)} is not {_list(expected)}"


def _list(values: Sequence[str]) -> str:
    texts = [repr(value[:SHOWN_CHARACTERS]) for value in values[:SHOWN_VALUES]]
    left = len(values) - len(texts)
    return " or ".join([*texts, f"{left} more"] if left > 0 else texts)


def _field(name: str, other: str | None = None) -> Callable[[MatchSubject], _Values]:
    def values(facts: MatchSubject) -> _Values:
        value = facts.event.get(name) or (facts.event.get(other) if other else None)
        return (str(value),) if value else ()

    return values


def _asset(event: Event) -> _Values:
    """Return both names of an asset."""
    asset = event.get("asset")
    return (asset.name, asset.uri) if isinstance(asset, AssetRef) else ()


_FIELDS: tuple[tuple[str, Callable[[MatchSubject], _Values]], ...] = (
    ("type", lambda facts: (facts.event.type,)),
    ("deployment", lambda facts: (facts.event.deployment,)),
    ("dag_id", _field("dag_id", "source_dag_id")),
    ("task_id", _field("task_id", "source_task_id")),
    ("run_type", _field("run_type")),
    ("asset", lambda facts: _asset(facts.event)),
    ("tags", lambda facts: facts.tags),
    ("owners", lambda facts: facts.owners),
)
