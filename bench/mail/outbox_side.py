"""Windsock's side of the bench: a log with failures, and a deliverer that empties its outbox, or is raced by
events.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from monitor.clock import utc_now
from monitor.concurrency import WakeSignal, end
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.delivery.channels.base import OutgoingMessage
from monitor.delivery.channels.errors import Mailer, SendReceipt
from monitor.delivery.channels.smtp import MailChannel
from monitor.delivery.messages.links import Links
from monitor.delivery.messages.mime import Envelope
from monitor.delivery.messages.model import MessageContext
from monitor.delivery.messages.renderer import RenderedMessage, Renderer, choose
from monitor.delivery.sent_journal import SentJournal
from monitor.delivery.services import DeliveryServices
from monitor.delivery.suppression import DeliveryBudget
from monitor.delivery.worker import DeliveryWorker
from monitor.event_log.append import append
from monitor.event_log.deployments import origin_of
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.event_log.projections.apply import apply
from monitor.events.event import Event, parse_event
from monitor.events.identity import run_id_of, stamp
from monitor.notifications.decision import NotificationWindow
from monitor.notifications.engine import Engine
from monitor.notifications.outbox.queries import counts
from monitor.notifications.outbox.records import State
from monitor.observability.metrics import Metrics
from monitor.rules.loader import default_config
from monitor.rules.model import Budget as Limits
from monitor.rules.model import Config
from monitor.rules.ruleset import Rules
from monitor.rules.targets import ChannelName

SENDER = "windsock@example.com"
TO = "ops@example.com"
KEPT = timedelta(days=1)  # of the journal


class Collecting:
    """A mailer that keeps the mails: what the peers are given to send."""

    at_once = 2

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def open(self) -> None: ...

    async def send(self, message: EmailMessage, recipients: Sequence[str]) -> SendReceipt:
        self.mails.append(message)
        return SendReceipt("250 OK", tuple(recipients))

    async def close(self) -> None: ...


@dataclass
class Timed(MailChannel):
    """Notes when each mail was taken, by its recipient's delivery."""

    mailer: Mailer
    taken: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.mailer)
        self._told = asyncio.Condition()

    async def send(self, message: OutgoingMessage) -> SendReceipt:
        receipt = await super().send(message)
        [event] = message.payload["data"]["events"]
        self.taken[event["id"]] = time.perf_counter()
        async with self._told:
            self._told.notify_all()
        return receipt

    async def until(self, number: int) -> None:
        async with self._told:
            await self._told.wait_for(lambda: len(self.taken) >= number)


class Written(Renderer):
    """A renderer whose mails are written already: what is left is the outbox itself."""

    def __init__(self, mails: Sequence[EmailMessage]) -> None:
        self._mails = iter(mails)

    def is_overridden(self, template: str, message_context: MessageContext) -> bool:
        return False

    def render(self, template: str, message_context: MessageContext, envelope: Envelope) -> RenderedMessage:
        return RenderedMessage(next(self._mails), "subject", "title", "", "", None)


class Side:
    """A monitor's outbox on SQLite in a folder, as durable as it is in service."""

    def __init__(self, folder: Path, mailer: Mailer, written: Sequence[EmailMessage] = ()) -> None:
        """`written`: mails that are sent instead of writing them."""
        folder.mkdir(parents=True, exist_ok=True)
        self.database = Database(f"sqlite:///{folder / 'windsock.db'}")
        migrate(self.database)
        config = default_config((TO,), ()).model_copy(update={"budget": Limits(daily=10**9, reserve=0)})
        rules = Rules(Config.model_validate(config))
        self.database.write_now(lambda c: origin_of(c, "local", utc_now() - timedelta(days=1)))
        metrics = Metrics()
        self.engine = Engine(
            lambda: rules, NotificationWindow(timedelta(hours=24)), choose, "example.com", metrics
        )
        self.wakes = Wakeups(WakeSignal(), WakeSignal(), {})
        self.sender = Timed(mailer)
        services = DeliveryServices(
            database=self.database,
            apis={},
            renderer=Written(written) if written else Renderer(SENDER, "http://monitor", {}, utc_now),
            links=Links("http://monitor", ["a key"], utc_now),
            rules=lambda: rules,
            wake=self.wakes.delivery,
            metrics=metrics,
            clock=utc_now,
            host="example.com",
            confirm_grace=timedelta(seconds=300),
            budget=DeliveryBudget(lambda: rules),
            journal=SentJournal(folder / "journal", utc_now, KEPT),
        )
        self.deliverer = DeliveryWorker(services, {ChannelName.EMAIL: self.sender})
        self.ingest = Ingest(self.database, self.engine.notify_all, self.wakes, metrics, utc_now)

    def fail(self, number: int) -> None:
        """As many runs of as many DAGs have failed; their mails wait."""

        def write(connection: Connection) -> None:
            for event in failures(number):
                [seq] = append(connection, [event], utc_now())
                assert seq is not None
                apply(connection, seq, event)
                self.engine.notify(connection, seq, event, utc_now())

        self.database.write_now(write)

    async def emptied(self, number: int) -> float:
        """Seconds until every mail has been taken, and its row says so."""
        began = time.perf_counter()
        running = asyncio.create_task(self.deliverer.run())
        await self.sender.until(number)
        while self.database.read_now(counts)[State.SENT] < number:  # noqa: ASYNC110 (the last are settled)
            await asyncio.sleep(0.001)
        took = time.perf_counter() - began
        await ended(running)
        return took

    async def raced(self, number: int, pause: float) -> list[float]:
        """Seconds from handing an event to ingest to the server's 250, for events that come one by one."""
        tasks = [asyncio.create_task(self.deliverer.run()), asyncio.create_task(self.ingest.run())]
        began: dict[str, float] = {}
        for event in failures(number):
            began[event.id] = time.perf_counter()
            await self.ingest.take([event])
            await asyncio.sleep(pause)
        await self.sender.until(number)
        for task in tasks:
            await ended(task)
        return [self.sender.taken[event_id] - at for event_id, at in began.items()]


async def ended(task: "asyncio.Task[Any]") -> None:
    await end([task])


def failures(number: int) -> list[Event]:
    now = utc_now()
    return [parse_event(_failure(f"etl_{index}", now)) for index in range(number)]


def _failure(dag_id: str, now: Any) -> dict[str, Any]:
    start = now - timedelta(seconds=90)
    run_id = f"scheduled__{start:%Y-%m-%dT%H:%M:%S}+00:00"
    return {
        "specversion": "1.0",
        "id": run_id_of(dag_id, run_id, start, None, "failed"),
        "source": "/airflow/local",
        "type": "airflow.dag_run.failed",
        "subject": f"{dag_id}/{run_id}",
        "time": stamp(now),
        "datacontenttype": "application/json",
        "data": {
            "dag_id": dag_id,
            "run_id": run_id,
            "state": "failed",
            "run_type": "scheduled",
            "start_date": stamp(start),
            "end_date": stamp(now),
            "reported_by": "listener",
        },
    }
