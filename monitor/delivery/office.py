"""What every channel's deliveries share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from monitor.clock import Clock
from monitor.database import Database
from monitor.delivery.clerk import Clerk
from monitor.delivery.desk import Desk
from monitor.delivery.news import News
from monitor.delivery.retry import Jitter
from monitor.journal import Journal
from monitor.metrics import Metrics
from monitor.outbox import Delivery, State
from monitor.tracing import OFF, Traces
from monitor.wake import Wake

Held = Callable[[datetime], datetime | None]
"""Until when nothing may be delivered, by the moment at which it is asked; None: it may be."""


def free(_now: datetime) -> datetime | None:
    return None


@dataclass(frozen=True)
class Office:
    database: Database
    desk: Desk
    wake: Wake
    metrics: Metrics
    clock: Clock
    news: News
    host: str
    """The right side of Message-IDs."""
    jitter: Jitter
    journal: Journal | None = None
    """None: nobody could tell after a restore what was sent."""
    traces: Traces = OFF
    held_until: Held = free
    clerk: Clerk = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "clerk", Clerk(self.database))

    def count(self, delivery: Delivery, state: State) -> None:
        outcome = "retry" if state is State.PENDING else state.value
        self.metrics.deliveries.labels(delivery.channel.value, outcome).inc()
