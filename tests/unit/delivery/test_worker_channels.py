"""Each channel has its own way out: none waits for another, and in each what takes long holds up nobody."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from monitor.clock import utc_now
from monitor.concurrency import WakeSignal, end
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.delivery.channels.base import OutgoingMessage
from monitor.delivery.channels.errors import OverLimit, SendError, SendReceipt, SendRefused, Unavailable
from monitor.delivery.channels.mailbox import Mailbox
from monitor.delivery.channels.smtp import SmtpMailer
from monitor.delivery.channels.smtp_connection import SmtpServer
from monitor.delivery.settle import Log
from monitor.delivery.worker import AHEAD, LEASE
from monitor.errors import AirflowUnreachable
from monitor.event_log import read
from monitor.event_log.filters import Filter
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.events.event import Event
from monitor.notifications.outbox import queries
from monitor.notifications.outbox.queries import DeliveryFilter
from monitor.notifications.outbox.records import Delivery, State
from monitor.observability.metrics import Metrics
from monitor.rules.model import Config, Match, Receiver, Rule, Webhook
from monitor.rules.targets import ChannelName
from tests import wait
from tests.sample import run_event
from tests.unit.conftest import FakeClock, make_secret
from tests.unit.delivery_support import TO, Office, ScriptedAirflow
from tests.unit.hostile_smtp import MUTE, HostileServer

LONG = 20.0  # seconds: a bound that only a hang reaches


@pytest.fixture
def database(tmp_path: Path) -> Any:
    database = Database(f"sqlite:///{tmp_path / 'windsock.db'}")
    migrate(database)
    yield database
    database.close()


def config(*to: str) -> Config:
    hooks = tuple(Webhook(url=f"http://127.0.0.1:1/{number}", secret=make_secret()) for number in range(2))
    return Config(
        receivers={"hooks": Receiver(webhook=hooks), "chat": Receiver(apprise=("json://127.0.0.1:1",))},
        rules=(
            Rule(name="r", match=Match(type=("airflow.dag_run.failed",)), to=to, notify_on="every_failure"),
        ),
    )


class Post:
    """A channel that does with each recipient what a test says."""

    at_once = 2
    is_one_server = False

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.asked: list[str] = []
        self.held: set[str] = set()
        self.errors: dict[str, list[SendError]] = {}
        self.told = asyncio.Condition()

    async def open(self) -> None: ...

    async def send(self, parcel: OutgoingMessage) -> SendReceipt:
        self.asked.append(parcel.recipient)
        async with self.told:
            self.told.notify_all()
        if parcel.recipient in self.held:
            await asyncio.Event().wait()
        if waiting := self.errors.get(parcel.recipient):
            raise waiting.pop(0)
        self.taken.append(parcel.recipient)
        async with self.told:
            self.told.notify_all()
        return SendReceipt("taken", (parcel.recipient,))

    async def close(self) -> None: ...

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self.told:
            await asyncio.wait_for(self.told.wait_for(condition), LONG)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), LONG))


def test_a_deadlocked_mail_server_stops_no_webhook_no_other_mail_and_no_event(
    database: Database, clock: FakeClock
) -> None:
    async def story() -> None:
        post = Post()
        # Once, not in the first connection: two may be open, and one of them do all the work.
        async with HostileServer(once={"RCPT": MUTE}).running() as server:
            mailer = SmtpMailer(SmtpServer("127.0.0.1", server.port, "none", "w@example.com", timeout=LONG))
            office = Office(
                *(database, clock, mailer),
                config=config(TO, "hooks"),
                senders={ChannelName.WEBHOOK: post},
            )
            running = asyncio.create_task(office.deliverer.run())
            for number in range(4):
                office.tell(run_event("failed", f"dag {number}"))
                office.wake.set()
            await post.until(lambda: len(post.taken) == 8)
            await server.until_taken(3)
            while _states(database) != ["sending", "sent", "sent", "sent"]:  # noqa: ASYNC110 (the last is settled)
                await asyncio.sleep(0.01)
            await end([running])

    run(story)


def _states(database: Database) -> list[str]:
    return sorted(delivery.state.value for delivery in _of(database, ChannelName.EMAIL))


def test_one_that_holds_the_line_holds_up_no_other_recipient(database: Database, clock: FakeClock) -> None:
    async def story() -> None:
        post = Post()
        post.held = {"hooks#1"}
        office = Office(database, clock, config=config("hooks"), senders={ChannelName.WEBHOOK: post})
        office.tell(run_event("failed", "a"))
        running = asyncio.create_task(office.deliverer.run())
        await post.until(lambda: post.taken == ["hooks#2"])
        await end([running])

    run(story)


def test_a_recipient_that_is_away_is_left_alone_and_the_others_are_not(
    database: Database, clock: FakeClock
) -> None:
    async def story() -> None:
        post = Post()
        post.errors = {"hooks#1": [Unavailable("connection refused")] * 9}
        office = Office(database, clock, config=config("hooks"), senders={ChannelName.WEBHOOK: post})
        for number in range(12):
            office.tell(run_event("failed", f"dag {number}"))
        await office.work()
        assert post.asked.count("hooks#1") <= post.at_once
        assert post.taken == ["hooks#2"] * 12
        away = [one for one in office.deliveries() if one.recipient == "hooks#1"]
        assert {one.state for one in away} == {State.PENDING}
        assert {one.reason for one in away} == {"to be tried again: connection refused"}

    run(story)


def test_what_waits_a_moment_is_looked_at_again_after_that_moment(database: Database, tmp_path: Path) -> None:
    """By the machine's clock: the loop itself must wake."""

    class Clock(FakeClock):
        def __call__(self) -> Any:
            return utc_now()

    async def story() -> None:
        airflow = ScriptedAirflow(AirflowUnreachable("away"))
        office = Office(database, Clock(), Mailbox(tmp_path / "mailbox", utc_now), airflow)
        office.town.end("failed")
        event = office.only()
        running = asyncio.create_task(office.deliverer.run())
        await asyncio.to_thread(wait.until, lambda: airflow.asked > 1, "Airflow to be asked again")
        assert office.only().id == event.id
        await end([running])

    run(story)


def test_no_more_is_claimed_than_there_is_room_for(database: Database, clock: FakeClock) -> None:
    async def story() -> None:
        post = Post()
        post.held = {"hooks#1", "hooks#2"}
        office = Office(database, clock, config=config("hooks"), senders={ChannelName.WEBHOOK: post})
        for number in range(20):
            office.tell(run_event("failed", f"dag {number}"))
        running = asyncio.create_task(office.deliverer.run())
        await post.until(lambda: len(post.asked) == post.at_once)
        states = [one.state for one in office.deliveries()]
        assert states.count(State.SENDING) == post.at_once + AHEAD
        handed = [one for one in office.deliveries() if one.handed_at]
        assert len(handed) == post.at_once
        await end([running])

    run(story)


def test_a_crash_leaves_uncertain_only_what_was_on_the_wire(database: Database, clock: FakeClock) -> None:
    test_no_more_is_claimed_than_there_is_room_for(database, clock)
    clock.now += LEASE + LEASE
    office = Office(database, clock, config=config("hooks"), senders={ChannelName.WEBHOOK: Post()})
    office.deliver()
    states = [one.state for one in office.deliveries()]
    assert (states.count(State.UNCERTAIN), states.count(State.SENT)) == (Post.at_once, 40 - Post.at_once)


@pytest.mark.parametrize(
    ("error", "state"), [(SendRefused("410 gone"), State.DEAD), (OverLimit("550 5.4.5"), State.PARKED)]
)
def test_what_cannot_be_delivered_is_an_event_but_not_of_itself(
    database: Database, clock: FakeClock, error: SendError, state: State
) -> None:
    async def story() -> None:
        post = Post()
        post.errors = {"hooks#1": [error, error]}
        office = Office(database, clock, config=config("hooks"), senders={ChannelName.WEBHOOK: post})
        office.tell(run_event("failed", "etl"))
        await office.work()
        [event] = office.news
        assert event.type == f"windsock.delivery.{state.value}"
        assert event.get("dag_id") == "etl"
        assert str(error) in event.get("what")
        rule = Rule(name="own", match=Match(type=("windsock.*",)), to=("hooks",), notify_on="notice")
        office.town.rules = type(office.town.rules)(config().model_copy(update={"rules": (rule,)}))
        office.tell(json.loads(event.body))
        await office.work()
        assert [one.state for one in office.deliveries()].count(state) == 2
        assert len(office.news) == 1

    run(story)


def test_a_receiver_that_the_file_names_no_more(database: Database, clock: FakeClock) -> None:
    office = Office(database, clock, config=config("hooks"), senders={ChannelName.WEBHOOK: Post()})
    office.tell(run_event("failed", "etl"))
    office.town.rules = type(office.town.rules)(Config())
    office.deliver()
    assert {one.state for one in office.deliveries()} == {State.DEAD}
    assert "the rules file names no hooks#1 any more" in office.deliveries()[-1].reason


def _of(database: Database, channel: ChannelName) -> list[Delivery]:
    wanted = DeliveryFilter(channel=channel)
    return database.read_now(lambda connection: queries.deliveries(connection, 100, delivery_filter=wanted))


def test_what_cannot_be_delivered_and_the_event_of_it_are_written_as_one(
    database: Database, clock: FakeClock
) -> None:
    async def story(log: Log) -> set[State]:
        post = Post()
        post.errors = {"hooks#1": [SendRefused("410 gone")]}
        office = Office(database, clock, config=config("hooks"), senders={ChannelName.WEBHOOK: post}, log=log)
        office.tell(run_event("failed", f"etl{len(office.deliveries())}"))
        await office.work()
        return {one.state for one in office.deliveries() if one.recipient == "hooks#1"}

    engine = Office(database, clock, config=config("hooks")).town.engine
    ingest = Ingest(
        database, engine.notify_all, Wakeups(WakeSignal(), WakeSignal(), {}), Metrics(), clock
    )  # which runs in nobody's task
    assert asyncio.run(story(ingest.log)) == {State.DEAD}
    last = database.read_now(lambda connection: read.read_before(connection, None, 1, Filter()))
    assert [one.type for one in last] == ["windsock.delivery.dead"]

    def full(connection: Connection, events: Sequence[Event]) -> Callable[[], None]:
        raise OSError("no space left on device")

    assert asyncio.run(story(full)) == {State.DEAD, State.SENDING}, "what is not told is not settled"
