"""What the monitor's own ledger says of each mail, read from its database."""

from dataclasses import dataclass

from sqlalchemy import NullPool, create_engine

from monitor import outbox
from monitor.outbox import Delivery, State

ALL = 1_000_000  # deliveries: more than any run makes


@dataclass(frozen=True)
class Entry:
    """One delivery and what was tried."""

    delivery: Delivery
    answers: tuple[str, ...]
    """The mail server's words, oldest first."""

    def verdict(self, recipient: str) -> str:
        """What the ledger says of one recipient's mail: a state's name, or `dead` where refused for good."""
        if self.delivery.state in (State.SENT, State.PENDING, State.UNCERTAIN) and self._refused(recipient):
            return State.DEAD.value
        return self.delivery.state.value

    def _refused(self, recipient: str) -> bool:
        """Whether the last word on this recipient was a permanent refusal while others had the mail."""
        words = [said for said in self.answers if f"{recipient}: " in said]
        return bool(words) and words[-1].partition(f"{recipient}: ")[2].startswith("55")


def read(database_url: str) -> list[Entry]:
    """Every delivery in a monitor's database, oldest first."""
    engine = create_engine(database_url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return [
                Entry(found, tuple(attempt.answer for attempt in outbox.attempts(connection, found.id)))
                for found in reversed(outbox.deliveries(connection, ALL))
            ]
    finally:
        engine.dispose()
