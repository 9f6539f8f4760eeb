"""What fails when, derived from the seed alone.

Each stream of faults has a generator of its own, named in its seed: how many requests pass through one
proxy changes nothing about the kills. The n-th kill, the n-th request of a proxy and the n-th reply of the
SMTP server come out the same for the same seed, whatever real processes do in between.
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TypeVar

from tests.faults.proxy import Choose, Cut
from tests.smtp_server import Drop, Step

T = TypeVar("T")


class Victim(str, Enum):
    """What is killed."""

    MONITOR = "monitor"
    SCHEDULER = "scheduler alone"
    SCHEDULER_TREE = "scheduler and all below"
    API_SERVER = "api-server"
    TASK = "task"
    SUPERVISOR = "supervisor"
    TASK_AND_SUPERVISOR = "task and supervisor"
    SMTP = "SMTP server"
    SMTP_CONNECTIONS = "SMTP connections"


KILLS: Mapping[Victim, float] = {
    Victim.MONITOR: 24,
    Victim.TASK: 20,
    Victim.SUPERVISOR: 9,
    Victim.TASK_AND_SUPERVISOR: 9,
    Victim.SMTP: 10,
    Victim.SMTP_CONNECTIONS: 8,
    Victim.SCHEDULER: 7,
    Victim.SCHEDULER_TREE: 5,
    Victim.API_SERVER: 8,
}
"""Weights. Airflow's own components take ten seconds to come back: killed as often, nothing would run."""

GAP_SECONDS = (1.5, 5.5)  # between two kills: now and then while the last one is still coming back
DOWN_SECONDS = (0.0, 5.0)  # until what was killed is started again

CUTS: Mapping[Cut, float] = {
    Cut.NONE: 78,
    Cut.REFUSED: 5,
    Cut.HALF_REQUEST: 4,
    Cut.LOST_ANSWER: 6,
    Cut.HALF_ANSWER: 3,
    Cut.DELAYED: 4,
}
DELAY_SECONDS = (0.2, 3.0)  # both sides of the budget that a task has for sending

Reply = str | Drop | None
REPLIES: Mapping[Step, Mapping[Reply, float]] = {
    "AUTH": {
        None: 78,
        "454 4.7.0 Temporary authentication failure": 10,
        "535 5.7.8 Username and password not accepted": 10,
        "421 4.3.2 Service shutting down": 2,
    },
    "RCPT": {
        None: 91,
        "451 4.2.1 Greylisted, try again later": 4,
        "550 5.1.1 No such user": 3,
        "421 4.3.2 Service shutting down": 1,
        Drop.BEFORE: 1,
    },
    "DATA": {
        None: 72,
        "421 4.3.2 Service shutting down": 5,
        "451 4.3.0 Temporary failure, try again later": 6,
        "550 5.7.1 Message refused by policy": 4,
        Drop.BEFORE: 6,
        Drop.AFTER: 7,
    },
}


@dataclass(frozen=True)
class Kill:
    """One kill, some seconds after the one before it."""

    gap: float
    victim: Victim
    down: float
    """Seconds until it is started again; tasks and supervisors are Airflow's to start."""
    choice: float
    """Which of several candidates, from 0 up to 1."""


def kills(seed: int) -> Iterator[Kill]:
    """All the kills there will ever be."""
    random = Random(f"{seed} kills")  # noqa: S311 (to be repeated, not to be secret)
    while True:
        gap, down, choice = random.uniform(*GAP_SECONDS), random.uniform(*DOWN_SECONDS), random.random()
        yield Kill(gap, _pick(random, KILLS), down, choice)


def cuts(seed: int, edge: str) -> Choose:
    """What becomes of the requests over one edge of the network, in their order."""
    random = Random(f"{seed} cuts {edge}")  # noqa: S311
    return lambda: (_pick(random, CUTS), random.uniform(*DELAY_SECONDS))


class Replies:
    """The SMTP server's script; `counts` what it came to. Nothing is refused once it is `healed`."""

    def __init__(self, seed: int) -> None:
        self.healed = False
        self.counts: dict[str, int] = {}
        self._random = {step: Random(f"{seed} {step}") for step in REPLIES}  # noqa: S311
        self._lock = threading.Lock()

    def __call__(self, step: Step, about: str) -> Reply:
        with self._lock:
            reply = None if self.healed else _pick(self._random[step], REPLIES[step])
            name = f"{step} {_short(reply)}"
            self.counts[name] = self.counts.get(name, 0) + 1
            return reply


def _short(reply: Reply) -> str:
    if isinstance(reply, Drop):
        return f"cut {reply.value}"
    return "as it should" if reply is None else reply.partition(" ")[0]


def _pick(random: Random, weights: Mapping[T, float]) -> T:
    return random.choices(list(weights), list(weights.values()))[0]
