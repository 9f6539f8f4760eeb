"""Airflow's database against the event log: which terminal states were told, lost, doubled.

A hook may report an end that Airflow then takes back, because the scheduler died before its commit. So the
log is read as what it says of each thing, in its order: the same end twice in a row is a telling too many,
the same end after another one is a correction, and the last word must be what the database holds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.e2e.truth import RUN_ENDS, TASK_ENDS, Alternatives

WORDS = {*RUN_ENDS, *TASK_ENDS, "up_for_retry"}
"""The ends of runs and tasks; of a try that failed, up_for_retry is one."""


@dataclass
class States:
    """The account of all terminal states. Each list holds them in words."""

    held: int = 0
    told: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    contradicted: list[str] = field(default_factory=list)
    """Told, but the log's last word on them is another."""
    by: Counter[str] = field(default_factory=Counter)
    """Who told them: listener or reconciler."""
    taken_back: list[str] = field(default_factory=list)
    """Ends that a hook reported and Airflow did not commit. The log tells them: they are reports."""


@dataclass(frozen=True)
class _Word:
    """One end that the log tells of one thing."""

    event_id: str
    thing: str
    by: str
    text: str

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> "_Word":
        plain = base(event["id"])
        data = event["data"]
        return cls(plain, _thing(plain), data["reported_by"], f"{event['subject']} {data['state']}")


def base(event_id: str) -> str:
    """The id without the number of its telling: `run:…:failed:2` is `run:…:failed` once more."""
    return ":".join(event_id.split(":")[:3])


def _thing(event_id: str) -> str:
    """The run or try that an id is about."""
    return event_id.rpartition(":")[0]


def compare(held: Mapping[str, Alternatives], events: Iterable[Mapping[str, Any]]) -> States:
    """Weigh what the log tells, oldest first, against what the database holds (tests/e2e/truth.py)."""
    names = {_thing(event_id): _thing(ids[0]) for ids in held.values() for event_id in ids}
    words: dict[str, list[_Word]] = {}
    for word in (_Word.of(event) for event in events if event["data"].get("state") in WORDS):
        words.setdefault(names.get(word.thing, word.thing), []).append(word)
    account, known = States(), set[str]()
    for what, ids in held.items():
        known |= set(ids)
        _weigh(account, what, ids, words.get(_thing(ids[0]), []))
    account.taken_back = [
        f"{word.text} ({word.by})"
        for said in words.values()
        for word in said
        if word.event_id not in known and not word.event_id.endswith(":up_for_retry")  # no end of a task
    ]
    return account


def _weigh(account: States, what: str, ids: Sequence[str], said: Sequence[_Word]) -> None:
    account.held += 1
    telling = [word.event_id in ids for word in said]
    if not any(telling):
        account.lost.append(what)
        return
    account.told += 1
    account.by[said[telling.index(True)].by] += 1
    if any(one and other for one, other in pairwise(telling)):
        account.doubled.append(f"{what}: the log says {[word.event_id for word in said]}")
    if not telling[-1]:
        account.contradicted.append(f"{what}: the log's last word is {said[-1].event_id}")
