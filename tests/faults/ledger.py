"""What the monitor's own ledger says of each mail, read from its database."""

from dataclasses import dataclass

from sqlalchemy import NullPool, create_engine

from monitor.notifications.outbox import queries
from monitor.notifications.outbox.records import Delivery, State

ALL = 1_000_000  # deliveries: more than any run makes
REFUSED = "refused"


@dataclass(frozen=True)
class Entry:
    """One delivery and what was tried."""

    delivery: Delivery
    answers: tuple[str, ...]
    """The mail server's words, oldest first."""

    @property
    def verdict(self) -> str:
        """What the ledger says of it: `refused` for good, or the name of a state."""
        dead_of_an_answer = self.delivery.state is State.DEAD and self.delivery.reason.startswith(REFUSED)
        return REFUSED if dead_of_an_answer else self.delivery.state.value


def read(database_url: str) -> list[Entry]:
    """Every delivery in a monitor's database, oldest first."""
    engine = create_engine(database_url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return [
                Entry(found, tuple(attempt.answer for attempt in queries.attempts(connection, found.id)))
                for found in reversed(queries.deliveries(connection, ALL))
            ]
    finally:
        engine.dispose()
