"""The states of a delivery, and which may follow which."""

from collections.abc import Mapping
from enum import Enum

from monitor.errors import WindsockError


class State(str, Enum):
    """Where a delivery stands (DESIGN: `claim → confirm → render → send → settle`)."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    PARKED = "parked"
    DEAD = "dead"
    UNCERTAIN = "uncertain"
    SUPPRESSED = "suppressed"
    SUPERSEDED = "superseded"


ALLOWED: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.SENDING, State.PENDING}),  # to itself: a person asks for it now
    State.PARKED: frozenset({State.SENDING, State.PENDING}),
    State.SENDING: frozenset(set(State) - {State.SENDING}),
    # Every end can be taken up again, by a person (`requeue`), and in no other way.
    State.SENT: frozenset({State.PENDING}),
    State.DEAD: frozenset({State.PENDING}),
    State.UNCERTAIN: frozenset({State.PENDING}),
    State.SUPPRESSED: frozenset({State.PENDING}),
    State.SUPERSEDED: frozenset({State.PENDING}),
}

WAITING = (State.PENDING, State.PARKED)
"""What is claimed once its next attempt is due."""


class TransitionError(WindsockError):
    """A delivery cannot go from the state that it is in to the one that was asked for."""


def check(old: State, new: State) -> None:
    """Raises TransitionError unless the one may follow the other."""
    if new not in ALLOWED[old]:
        raise TransitionError(f"a delivery that is {old.value} cannot become {new.value}")
