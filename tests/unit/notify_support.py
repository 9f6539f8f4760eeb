"""A log whose events go through the rules, with a clock that is set by hand and a postman who never fails."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert

from monitor.database.engine import Database
from monitor.database.schema import dags
from monitor.delivery.messages.renderer import choose
from monitor.event_log.append import append
from monitor.event_log.deployments import origin_of
from monitor.event_log.projections.apply import apply
from monitor.events.event import Event, parse_event
from monitor.notifications import incidents as notifications_incidents
from monitor.notifications.decision import NotificationWindow
from monitor.notifications.engine import Engine
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import decisions, queries, queue
from monitor.notifications.outbox.records import Decision, Delivery, DeliveryOutcome, NotificationKind, State
from monitor.observability.metrics import Metrics
from monitor.rules.loader import default_config
from monitor.rules.model import Config, Rule
from monitor.rules.ruleset import Rules
from monitor.rules.targets import ChannelName
from tests.sample import START, run_event, task_event
from tests.unit.conftest import FakeClock

LEASE = timedelta(minutes=1)
TOOK = 10.0  # seconds: as run_event has it


def engine_of(
    recipients: Sequence[str] = (),
    successes: Sequence[str] = (),
    within: timedelta = timedelta(days=1),
    config: Config | None = None,
) -> Engine:
    """The engine of a monitor: of the default rules, or of a file."""
    rules = Rules(config or default_config(recipients, successes))
    return Engine(lambda: rules, NotificationWindow(within), choose, "example.com", Metrics())


def reraise(error: Exception) -> None:
    """A defect in a loop that a test goes through by hand."""
    raise error


def by_kind(_rule: Rule, kind: NotificationKind, _event_type: str) -> str:
    return kind.value


class Town:
    """Everything between an event and a delivery that is due."""

    def __init__(self, database: Database, config: Config, clock: FakeClock) -> None:
        self.database = database
        self.clock = clock
        self.rules = Rules(config)
        telling = NotificationWindow(timedelta(hours=24))
        self.metrics = Metrics()
        self.engine = Engine(lambda: self.rules, telling, by_kind, "example.com", self.metrics)
        self._runs = 0
        database.write_now(lambda connection: origin_of(connection, "local", START - timedelta(days=1)))

    def know(self, dag_id: str, tags: Sequence[str] = (), owners: Sequence[str] = ()) -> None:
        """As if Airflow's list of DAGs had been read."""
        row = {"deployment": "local", "dag_id": dag_id, "is_paused": False, "times_paused": 0}
        row |= {"times_unpaused": 0, "tags": list(tags), "owners": list(owners)}
        self.database.write_now(lambda connection: connection.execute(insert(dags).values(row)))

    def tell(self, *raw: dict[str, Any]) -> list[Event]:
        events = [parse_event(one) for one in raw]

        def write(connection: Connection) -> None:
            seqs = append(connection, events, self.clock())
            for seq, event in zip(seqs, events, strict=True):
                if seq is not None:
                    apply(connection, seq, event)
                    self.engine.notify(connection, seq, event, self.clock())

        self.database.write_now(write)
        return events

    def end(self, state: str, dag_id: str = "etl", ago: float = 0, **data: Any) -> Event:
        """A run's end at this moment, or some seconds ago."""
        self._runs += 1
        start = (self.clock() - START).total_seconds() - TOOK - ago
        return self.tell(run_event(state, dag_id, f"run_{self._runs}", start, **data))[0]

    def fail(self, dag_id: str = "etl", ago: float = 0, **data: Any) -> Event:
        return self.end("failed", dag_id, ago, **data)

    def succeed(self, dag_id: str = "etl", ago: float = 0, **data: Any) -> Event:
        return self.end("success", dag_id, ago, **data)

    def task(self, state: str, task_id: str = "load", **data: Any) -> Event:
        self._runs += 1
        raw = task_event(state, task_id, run_id=f"run_{self._runs}", **data)
        raw["time"] = self.clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return self.tell(raw)[0]

    def mail(self, state: State = State.SENT) -> list[str]:
        """What is due is sent; answers each as `kind rule recipient events`."""
        return [self._said(delivery) for delivery in self.deliver(state)]

    def deliver(self, state: State = State.SENT) -> list[Delivery]:
        return self.database.write_now(lambda connection: self._deliver(connection, state))

    def _deliver(self, connection: Connection, state: State) -> list[Delivery]:
        found, now = [], self.clock()
        for channel in ChannelName:
            while delivery := queue.claim(connection, now, LEASE, channel):
                remaining = () if state is State.SENT else None
                queue.settle(connection, delivery, DeliveryOutcome(state, "test", remaining=remaining), now)
                found.append(delivery)
        return found

    def _said(self, delivery: Delivery) -> str:
        seqs = self.read(
            lambda connection: decisions.event_seqs(connection, delivery.notification_id, 10_000)
        )
        return f"{delivery.kind.value} {delivery.rule} {delivery.recipient} {len(seqs)}"

    def why(self, event: Event) -> list[Decision]:
        return self.database.read_now(lambda connection: decisions.decisions_of_event(connection, event.id))

    def incidents(self) -> list[Incident]:
        """Newest first."""
        return self.database.read_now(lambda connection: notifications_incidents.page(connection, 1_000))

    def read(self, function: Callable[[Connection], Any]) -> Any:
        return self.database.read_now(function)

    def write(self, function: Callable[[Connection], Any]) -> Any:
        return self.database.write_now(function)

    def due(self) -> list[datetime]:
        """When what waits is due."""
        waiting = self.read(lambda connection: queries.deliveries(connection, 1_000))
        return sorted(one.next_attempt_at for one in waiting if one.state is State.PENDING)
