"""The delivery of one monitor, with its clock in a test's hand. The database, the rules and what takes the
mails are real; Airflow is a scripted object, which stands for the network.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any, TypeVar

from sqlalchemy import Connection

from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.delivery.channels.base import Channel
from monitor.delivery.channels.errors import Mailer
from monitor.delivery.channels.mailbox import Mailbox
from monitor.delivery.channels.smtp import MailChannel
from monitor.delivery.confirm import AirflowReader
from monitor.delivery.messages.links import Links
from monitor.delivery.messages.renderer import Renderer, choose
from monitor.delivery.sent_journal import SentJournal
from monitor.delivery.services import DeliveryServices, HoldEnd, free
from monitor.delivery.settle import Log
from monitor.delivery.suppression import DeliveryBudget
from monitor.delivery.worker import DeliveryWorker
from monitor.events.event import Event
from monitor.notifications.decision import NotificationWindow
from monitor.notifications.engine import Engine
from monitor.notifications.outbox import queries
from monitor.notifications.outbox.records import AttemptRecord, Delivery
from monitor.observability.metrics import Metrics
from monitor.rules.loader import default_config
from monitor.rules.model import Config
from monitor.rules.targets import ChannelName
from tests.sample import moment, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.notify_support import Town

T = TypeVar("T")
TO = "a@example.com"
GRACE = timedelta(seconds=300)
ERROR = {"type": "ValueError", "message": "no such table", "traceback": "Traceback\n  boom"}


@dataclass
class ScriptedAirflow:
    """Says what it is told to say, of each run or of all; an exception is raised."""

    run: dict[str, Any] | Exception
    tasks: list[dict[str, Any]] | Exception = field(default_factory=list)
    log: list[str] | Exception = field(default_factory=list)
    assets: list[dict[str, Any]] | Exception = field(default_factory=list)
    runs: dict[str, dict[str, Any] | Exception] = field(default_factory=dict)
    asked: int = 0

    async def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        self.asked += 1
        return _said(self.runs.get(run_id, self.run))

    async def task_instances(
        self, dag_id: str, run_id: str, state: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        return [task for task in _said(self.tasks) if not state or task["state"] in state]

    async def log_tail(
        self, dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int, lines: int
    ) -> list[str]:
        return _said(self.log)

    async def runs_of(
        self, dag_id: str, until: datetime, state: Sequence[str], limit: int
    ) -> list[dict[str, Any]]:
        return []

    async def asset_events_of(self, dag_id: str, run_id: str, limit: int) -> list[dict[str, Any]]:
        return [row for row in _said(self.assets) if row["source_run_id"] == run_id]


def _said(answer: T | Exception) -> T:
    if isinstance(answer, Exception):
        raise answer
    return answer


def airflow_run(state: str = "failed", start: float = 0) -> dict[str, Any]:
    return {"state": state, "start_date": moment(start), "queued_at": moment(-1), "dag_run_id": "manual__1"}


def airflow_task(task_id: str = "load", state: str = "failed", **changes: Any) -> dict[str, Any]:
    row = {"task_id": task_id, "map_index": -1, "state": state, "try_number": 1, "max_tries": 0}
    return {**row, "start_date": moment(1), "end_date": moment(5), "hostname": "worker-1", **changes}


class Office:
    """`senders` are by channel; a mailer is the channel email's."""

    def __init__(
        self,
        database: Database,
        clock: FakeClock,
        mailer: Mailer | None = None,
        airflow: AirflowReader | None = None,
        config: Config | None = None,
        senders: Mapping[ChannelName, Channel] | None = None,
        is_counted: bool = False,
        log: Log | None = None,
        journal: SentJournal | None = None,
        held_until: HoldEnd = free,
    ) -> None:
        self.database, self.clock, self.wake, self.metrics = database, clock, WakeSignal(), Metrics()
        self.town = Town(database, config or default_config((TO,), ["*"]), clock)
        apis = {"local": airflow} if airflow else {}
        telling = NotificationWindow(timedelta(hours=24), frozenset(apis))
        self.town.engine = Engine(lambda: self.town.rules, telling, choose, "example.com", self.metrics)
        self.news: list[Event] = []
        renderer = Renderer("windsock@example.com", "http://monitor", {"local": "http://airflow"}, clock)
        links = Links("http://monitor", ["a key"], clock)
        budget = DeliveryBudget(lambda: self.town.rules) if is_counted else None
        services = DeliveryServices(
            database=database,
            apis=apis,
            renderer=renderer,
            links=links,
            rules=lambda: self.town.rules,
            wake=self.wake,
            metrics=self.metrics,
            clock=clock,
            host="example.com",
            confirm_grace=GRACE,
            budget=budget,
            window=telling,
            log=log or self._log,
            jitter=lambda: 0.999,
            journal=journal,
            held_until=held_until,
        )
        mail = {ChannelName.EMAIL: MailChannel(mailer)} if mailer else {}
        self.deliverer = DeliveryWorker(services, {**mail, **(senders or {})})

    def _log(self, connection: Connection, events: Sequence[Event]) -> Callable[[], None]:
        return lambda: self.news.extend(events)

    def tell(self, *raw: dict[str, Any]) -> list[Event]:
        return self.town.tell(*raw)

    async def work(self) -> None:
        """Until nothing is due any more."""
        while await self.deliverer.work():
            pass

    def deliver(self) -> None:
        asyncio.run(self.work())

    def deliveries(self) -> list[Delivery]:
        """Newest first."""
        return self.database.read_now(lambda connection: queries.deliveries(connection, 1_000))

    def only(self) -> Delivery:
        [delivery] = self.deliveries()
        return delivery

    def latest(self) -> Delivery:
        return self.deliveries()[0]

    def attempts(self, delivery: Delivery | None = None) -> list[AttemptRecord]:
        of = (delivery or self.only()).id
        return self.database.read_now(lambda connection: queries.attempts(connection, of))

    def ledger(self) -> list[tuple[str, str]]:
        return [(line.outcome, line.answer) for line in self.attempts()]

    def counted(self, outcome: str, channel: str = "email") -> float:
        value = self.metrics.registry.get_sample_value(
            "windsock_delivery_outcomes_total", {"outcome": outcome, "channel": channel}
        )
        return value or 0.0


def failed_run(office: Office, **data: Any) -> None:
    office.tell(task_event("failed", error=ERROR), run_event("failed", **data))


def texts(mailbox: Mailbox) -> list[str]:
    """What arrived, newest first: the subject and the text."""
    found = []
    for summary in mailbox.mails(100):
        message = mailbox.get(summary.id)
        assert isinstance(message, EmailMessage)
        body = message.get_body(("plain",))
        assert body is not None
        found.append(f"{message['Subject']}\n{body.get_content()}")
    return found
