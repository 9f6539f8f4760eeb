"""The objects that the delivery of all channels shares.

app.py builds one `DeliveryServices`, and worker.py and attempt.py use it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import SystemRandom

from monitor.clock import Clock
from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.delivery.confirm import AirflowReader
from monitor.delivery.context import DeliveryContext, load_contexts
from monitor.delivery.messages.links import Links
from monitor.delivery.messages.renderer import Renderer
from monitor.delivery.messages.templates import FailedTemplates
from monitor.delivery.retry import Jitter
from monitor.delivery.sent_journal import SentJournal
from monitor.delivery.settle import Log
from monitor.delivery.suppression import DeliveryBudget
from monitor.notifications.decision import NotificationWindow
from monitor.notifications.outbox.records import Delivery, State
from monitor.observability.metrics import Metrics
from monitor.observability.tracing import OFF, Traces
from monitor.rules.ruleset import Rules

HoldEnd = Callable[[datetime], datetime | None]
"""A function that returns until when nothing may be delivered, or None, as of a moment."""
DeliveryContexts = Mapping[int, DeliveryContext]
"""The contexts of deliveries, by the delivery's id."""

_random = SystemRandom().random


def free(_now: datetime) -> datetime | None:
    """Return None: nothing is held."""
    return None


@dataclass(frozen=True, kw_only=True)
class DeliveryServices:
    """The objects that all attempts share."""

    database: Database
    apis: Mapping[str, AirflowReader]
    """The Airflows that can be asked, by deployment."""
    renderer: Renderer
    links: Links
    rules: Callable[[], Rules]
    wake: WakeSignal
    metrics: Metrics
    clock: Clock
    host: str
    """The right side of Message-IDs."""
    confirm_grace: timedelta
    budget: DeliveryBudget | None = None
    """None if mails are not limited."""
    window: NotificationWindow | None = None
    """The rule of what is too old to be notified of, by Airflow's dates. None if nothing is."""
    failed_templates: FailedTemplates | None = None
    log: Log | None = None
    """`Ingest.log`, for the events about deliveries."""
    journal: SentJournal | None = None
    """The record of sent messages, for a database that is restored from a backup."""
    jitter: Jitter = _random
    traces: Traces = OFF
    held_until: HoldEnd = free
    origins: dict[str, datetime] = field(init=False, default_factory=dict)
    """The moment since which each deployment is known."""

    def count(self, delivery: Delivery, state: State) -> None:
        """Count the outcome of a delivery."""
        outcome = "retry" if state is State.PENDING else state.value
        self.metrics.deliveries.labels(delivery.channel.value, outcome).inc()

    async def load(self, deliveries: Sequence[Delivery]) -> DeliveryContexts:
        """Read the contexts of deliveries in one go."""
        rules, now = self.rules(), self.clock()
        return await self.database.read(
            lambda connection: load_contexts(connection, deliveries, rules, now, self.apis)
        )
