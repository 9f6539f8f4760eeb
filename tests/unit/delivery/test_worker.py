"""From the outbox to a mailbox: confirmed or marked, sent once, and each end with its reason."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from prometheus_client import generate_latest

from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.delivery.channels.errors import SendError, SendReceipt, TryLater, Unavailable
from monitor.delivery.channels.mailbox import Mailbox
from monitor.delivery.retry import GIVE_UP_AFTER, PARKED_FOR
from monitor.delivery.worker import LEASE
from monitor.errors import AirflowNotFound, AirflowRefused, AirflowUnreachable
from monitor.event_log import append
from monitor.notifications.outbox import queries, queue
from monitor.notifications.outbox.queries import ChannelOutage
from monitor.notifications.outbox.records import State
from monitor.rules.loader import default_config
from monitor.rules.ruleset import Rules
from tests.sample import asset_event, moment, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.delivery_support import (
    GRACE,
    TO,
    Office,
    ScriptedAirflow,
    airflow_run,
    airflow_task,
    failed_run,
    texts,
)
from tests.unit.mail_support import DROP, HANG, MailServer, ca_file, mailer_for


@pytest.fixture
def database(tmp_path: Path) -> Any:
    """SQLite only: what differs on PostgreSQL is tested with the outbox."""
    database = Database(f"sqlite:///{tmp_path / 'windsock.db'}")
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def mailbox(tmp_path: Path, clock: FakeClock) -> Mailbox:
    return Mailbox(tmp_path / "mailbox", clock)


def test_a_failure_is_confirmed_enriched_and_sent_once(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    airflow = ScriptedAirflow(
        airflow_run(),
        tasks=[
            airflow_task(),
            airflow_task("killed", end_date=moment(3), map_index=4),
            airflow_task("fine", "success"),
        ],
        log=["Killed by signal 9"],
    )
    office = Office(database, clock, mailbox, airflow)
    failed_run(office)
    office.deliver()
    [text] = texts(mailbox)
    assert text.startswith("etl · killed[4] · Killed by SIGKILL, says the log")
    for fact in (
        "failed at killed[4] and 1 more",
        "ValueError: no such table",
        "  boom",
        "Killed by signal 9",
        "worker-1",
    ):
        assert fact in text
    assert "fine" not in text
    assert "nconfirmed" not in text
    sent = office.only()
    assert (sent.state, sent.remaining, sent.attempts) == (State.SENT, (), 1)
    assert sent.subject is not None
    assert text.startswith(sent.subject)
    assert office.counted("sent") == 1
    office.deliver()
    assert len(texts(mailbox)) == 1


def test_a_success_tells_the_metrics_of_its_assets(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    late = {
        "id": 2,
        "uri": "file:///m",
        "name": "m",
        "group": "g",
        "extra": {"accuracy": 0.98, "rows": 569, "metrics": {"f1": 0.97}},
        "source_dag_id": "etl",
        "source_run_id": "manual__1",
        "timestamp": moment(9),
        "created_dagruns": [{"dag_id": "release", "run_id": "asset_1"}],
    }
    other = {**late, "id": 3, "source_run_id": "manual__2", "extra": {"accuracy": 0.11}}
    airflow = ScriptedAirflow(
        airflow_run("success"), tasks=[airflow_task("load", "success")], assets=[late, other]
    )
    office = Office(database, clock, mailbox, airflow)
    office.tell(run_event("success"))
    office.deliver()
    [text] = texts(mailbox)
    for fact in ("Accuracy 0.9800 · F1 0.9700", "load", "rows", "569", "release / asset_1"):
        assert fact in text
    assert "0.11" not in text


@pytest.mark.parametrize("airflow", [None, AirflowUnreachable("down")], ids=["no Airflow", "no answer"])
def test_where_airflow_does_not_say_the_log_does(
    database: Database, clock: FakeClock, mailbox: Mailbox, airflow: Exception | None
) -> None:
    api = None
    if airflow:
        api = ScriptedAirflow(airflow_run("success"), tasks=airflow, assets=airflow)
    office = Office(database, clock, mailbox, api)
    office.tell(task_event("success"), asset_event(1), run_event("success"))
    office.deliver()
    [text] = texts(mailbox)
    assert "Accuracy 0.9700" in text
    assert "load" in text
    assert "nconfirmed" not in text


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (airflow_run("success"), "Airflow says success"),
        (airflow_run("failed", start=60), "cleared and began anew"),
        ({**airflow_run("queued"), "start_date": None, "queued_at": moment(70)}, "cleared and began anew"),
        (AirflowNotFound("404"), "does not know this run"),
    ],
    ids=["other end", "ran again", "will run again", "deleted"],
)
def test_what_airflow_contradicts_is_superseded(
    database: Database, clock: FakeClock, mailbox: Mailbox, answer: Any, reason: str
) -> None:
    office = Office(database, clock, mailbox, ScriptedAirflow(answer))
    failed_run(office)
    office.deliver()
    assert office.only().state is State.SUPERSEDED
    assert reason in office.only().reason
    assert texts(mailbox) == []
    assert office.ledger() == []


def test_a_report_before_the_commit_is_asked_about_again(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    airflow = ScriptedAirflow(airflow_run("running"))
    office = Office(database, clock, mailbox, airflow)
    failed_run(office)
    office.deliver()
    assert office.only().state is State.PENDING
    assert "still says running" in office.only().reason
    assert airflow.asked == 1
    airflow.run = airflow_run("failed")
    clock.forward(1)
    office.deliver()
    assert office.only().state is State.SENT
    assert len(texts(mailbox)) == 1


@pytest.mark.parametrize(("end", "state"), [("failed", State.SENT), ("success", State.SUPERSEDED)])
def test_a_report_that_was_rolled_back_waits_for_the_true_end(
    database: Database, clock: FakeClock, mailbox: Mailbox, end: str, state: State
) -> None:
    airflow = ScriptedAirflow(airflow_run("running"))
    office = Office(database, clock, mailbox, airflow)
    failed_run(office)
    for _ in range(20):
        office.deliver()
        clock.forward(60)
    assert office.only().state is State.PENDING
    airflow.run = airflow_run(end)
    office.deliver()
    assert office.only().state is state


def test_a_report_of_nothing_is_superseded_in_the_end(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    office = Office(database, clock, mailbox, ScriptedAirflow(airflow_run("running")))
    failed_run(office)
    clock.forward(86_400)
    office.deliver()
    assert office.only().state is State.SUPERSEDED
    assert "still says running" in office.only().reason


@pytest.mark.parametrize("silence", [AirflowUnreachable("no answer"), AirflowRefused("403"), ValueError("?")])
def test_an_airflow_that_cannot_be_asked_is_waited_for_and_then_the_mail_is_marked(
    database: Database, clock: FakeClock, mailbox: Mailbox, silence: Exception
) -> None:
    office = Office(database, clock, mailbox, ScriptedAirflow(silence))
    failed_run(office)
    for _ in range(23):
        clock.forward(13)
        office.deliver()
    assert office.only().state is State.PENDING
    assert str(silence) in office.only().reason
    assert office.only().next_attempt_at <= office.only().created_at + GRACE
    clock.forward(1)
    office.deliver()
    [text] = texts(mailbox)
    assert "UNCONFIRMED" in text
    assert str(silence) in text
    assert "ValueError: no such table" in text


def test_a_log_that_cannot_be_read_stops_no_mail(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    airflow = ScriptedAirflow(airflow_run(), tasks=[airflow_task()], log=AirflowUnreachable("no log"))
    office = Office(database, clock, mailbox, airflow)
    office.tell(run_event("failed"))
    office.deliver()
    [text] = texts(mailbox)
    assert "failed at load" in text


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


Story = Callable[[Office, MailServer], Coroutine[Any, Any, None]]


@pytest.fixture
def over_smtp(
    database: Database, clock: FakeClock, ca: trustme.CA, tmp_path: Path
) -> Callable[[Story], None]:
    """Run a story with deliveries that go to a scripted SMTP server."""

    def run(story: Story) -> None:
        async def whole() -> None:
            server = MailServer(ca)
            async with server.running():
                mailer = mailer_for(server, ca_file(ca, tmp_path))
                try:
                    await story(Office(database, clock, mailer), server)
                finally:
                    await mailer.close()

        asyncio.run(whole())

    return run


def test_it_goes_out_over_smtp(over_smtp: Callable[[Story], None]) -> None:
    async def story(office: Office, server: MailServer) -> None:
        failed_run(office)
        await office.work()
        [message] = server.taken
        assert server.envelopes == [(TO,)]
        assert message["Message-ID"] == office.only().message_id
        assert office.ledger() == [("sent", "250 2.0.0 OK")]

    over_smtp(story)


OF_THE_SERVER = ("MAIL", "AUTH")
"""Where these go wrong below, no mail at all would pass."""


@pytest.mark.parametrize(
    ("verb", "reply", "state"),
    [
        ("DATA", "451 4.3.0 Later", State.PENDING),
        ("MAIL", "421 4.7.0 Later", State.PENDING),
        ("AUTH", "454 4.7.0 Later", State.PENDING),
        ("AUTH", "535 5.7.8 Wrong password", State.PENDING),
        ("DATA", "550 5.7.1 Spam", State.DEAD),
        ("DATA", "550 5.4.5 Daily user sending limit exceeded", State.PARKED),
        ("DATA", DROP, State.UNCERTAIN),
        ("DATA", HANG, State.UNCERTAIN),
        ("RCPT", HANG, State.PENDING),
    ],
)
def test_each_answer_has_its_state_its_reason_and_its_line(
    over_smtp: Callable[[Story], None], verb: str, reply: str, state: State
) -> None:
    async def story(office: Office, server: MailServer) -> None:
        server.say(verb, reply)
        failed_run(office)
        await office.work()
        assert office.only().state is state
        [(outcome, answer)] = office.ledger()
        assert outcome == ("unavailable" if verb in OF_THE_SERVER else state.value)
        if reply not in (DROP, HANG):
            assert reply in answer
            assert reply in office.only().reason
        assert server.taken == []
        office.clock.forward(3600)
        await office.work()
        assert len(server.taken) == (1 if state is State.PENDING else 0)

    over_smtp(story)


def test_what_is_parked_goes_out_the_next_day(over_smtp: Callable[[Story], None]) -> None:
    async def story(office: Office, server: MailServer) -> None:
        server.say("MAIL", "550 5.4.5 Daily user sending limit exceeded")
        failed_run(office)
        await office.work()
        office.clock.now += PARKED_FOR - timedelta(seconds=1)
        await office.work()
        assert office.only().state is State.PARKED
        office.clock.forward(1)
        await office.work()
        assert office.only().state is State.SENT
        assert office.only().attempts == 2

    over_smtp(story)


def test_each_recipient_has_a_delivery_of_their_own(over_smtp: Callable[[Story], None]) -> None:
    async def story(office: Office, server: MailServer) -> None:
        office.town.rules = Rules(default_config(("a@example.com", "b@example.com", "c@example.com"), []))
        server.say("RCPT", "550 5.1.1 No such user", "450 4.2.1 Greylisted")
        failed_run(office)
        await office.work()
        states = sorted(delivery.state.value for delivery in office.deliveries())
        assert states == ["dead", "pending", "sent"]
        office.clock.forward(60)
        await office.work()
        assert [len(envelope) for envelope in server.envelopes] == [1, 1]
        assert sorted(delivery.state.value for delivery in office.deliveries()) == ["dead", "sent", "sent"]

    over_smtp(story)


def test_a_poisoned_mail_does_not_stop_the_next(over_smtp: Callable[[Story], None]) -> None:
    async def story(office: Office, server: MailServer) -> None:
        server.say("DATA", "554 5.6.0 Poison", "451 4.3.0 Later")
        for dag_id in ("a", "b", "c"):
            office.tell(run_event("failed", dag_id))
        await office.work()
        states = sorted(delivery.state.value for delivery in office.deliveries())
        assert states == ["dead", "pending", "sent"]

    over_smtp(story)


def test_what_is_tried_for_days_is_given_up(over_smtp: Callable[[Story], None]) -> None:
    async def story(office: Office, server: MailServer) -> None:
        server.say("DATA", *["451 4.3.0 Later"] * 3)
        failed_run(office)
        await office.work()
        office.clock.now += GIVE_UP_AFTER - timedelta(seconds=1)
        await office.work()
        assert office.only().state is State.PENDING
        office.clock.forward(3_600)
        await office.work()
        assert office.only().state.value == "dead"
        assert "given up 4 days after" in office.only().reason
        assert "451 4.3.0 Later" in office.only().reason
        assert office.only().attempts == 3

    over_smtp(story)


class DeadServer:
    """A mail server that cannot be reached; counts who tries."""

    at_once = 1
    tried = 0

    async def open(self) -> None:
        self.tried += 1
        raise Unavailable("connection refused")

    async def send(self, message: EmailMessage, recipients: Sequence[str]) -> SendReceipt:
        raise AssertionError("nothing is sent to a server that is not there")

    async def close(self) -> None: ...


def test_a_dead_server_is_not_asked_for_every_mail(database: Database, clock: FakeClock) -> None:
    server = DeadServer()
    office = Office(database, clock, server)
    for number in range(20):
        office.tell(run_event("failed", f"dag {number}"))
    office.deliver()
    assert server.tried == 1
    for _ in range(600):
        clock.forward(1)
        office.deliver()
    assert 3 < server.tried < 12
    assert {delivery.state for delivery in office.deliveries()} == {State.PENDING}


def test_every_replica_knows_since_when_no_mail_goes_out(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    def trouble() -> ChannelOutage | None:
        return database.read_now(queries.find_outage)

    cut_off, other = Office(database, clock, DeadServer()), Office(database, clock, mailbox)
    assert trouble() is None
    cut_off.tell(run_event("failed", "first"))
    cut_off.deliver()
    since = clock.now
    for _ in range(3):
        assert trouble() == ChannelOutage(since, "connection refused")
        clock.forward(3_600)
        cut_off.deliver()
    assert {attempt.outcome for attempt in cut_off.attempts()} == {"unavailable"}
    clock.forward(3_600)
    other.deliver()
    assert trouble() is None


class Killed(BaseException):
    """The process is gone: nothing after it runs."""


class Killing:
    """A mailer under which the monitor is killed, at a given moment of the conversation."""

    at_once = 1

    def __init__(self, moment: str) -> None:
        self.moment = moment

    async def open(self) -> None:
        if self.moment == "open":
            raise Killed

    async def send(self, message: EmailMessage, recipients: Sequence[str]) -> SendReceipt:
        raise Killed

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("moment", "state", "mails"), [("open", State.SENT, 1), ("send", State.UNCERTAIN, 0)]
)
def test_after_a_crash_only_what_no_server_can_have_is_sent(
    database: Database, clock: FakeClock, mailbox: Mailbox, moment: str, state: State, mails: int
) -> None:
    office = Office(database, clock, Killing(moment))
    failed_run(office)
    with pytest.raises(Killed):
        office.deliver()
    after = Office(database, clock, mailbox)
    after.deliver()
    assert after.only().state is State.SENDING
    clock.now += LEASE + timedelta(seconds=1)
    after.deliver()
    assert after.only().state is state
    assert len(texts(mailbox)) == mails
    assert after.counted(state.value) == 1


def test_what_is_uncertain_can_be_sent_again_by_a_person(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    office = Office(database, clock, Killing("send"))
    failed_run(office)
    with pytest.raises(Killed):
        office.deliver()
    clock.now += LEASE + timedelta(seconds=1)
    after = Office(database, clock, mailbox)
    after.deliver()
    database.write_now(lambda connection: queue.requeue(connection, after.only().id, clock()))
    after.deliver()
    assert after.only().state is State.SENT
    assert [outcome for outcome, _ in after.ledger()] == ["uncertain", "requeued", "sent"]


@dataclass
class Confused:
    """A mailer with a mistake in it."""

    where: str
    at_once: int = 1

    async def open(self) -> None:
        if self.where == "open":
            raise KeyError("open")

    async def send(self, message: EmailMessage, recipients: Sequence[str]) -> SendReceipt:
        raise KeyError("send")

    async def close(self) -> None: ...


@pytest.mark.parametrize(("where", "state"), [("open", State.PENDING), ("send", State.UNCERTAIN)])
def test_a_mistake_of_our_own_never_sends_twice(
    database: Database, clock: FakeClock, where: str, state: State
) -> None:
    office = Office(database, clock, Confused(where))
    failed_run(office)
    office.deliver()
    assert office.only().state is state
    assert "KeyError" in office.only().reason


@dataclass
class Slow:
    """A mailer whose server takes its time."""

    began: asyncio.Event
    go_on: asyncio.Event
    taken: int = 0
    closed: bool = False
    at_once: int = 1

    async def open(self) -> None: ...

    async def send(self, message: EmailMessage, recipients: Sequence[str]) -> SendReceipt:
        self.began.set()
        await self.go_on.wait()
        self.taken += 1
        return SendReceipt("250 OK", tuple(recipients))

    async def close(self) -> None:
        self.closed = True


def test_the_loop_wakes_and_a_mail_under_way_outlives_the_stop(database: Database, clock: FakeClock) -> None:
    async def story() -> None:
        mailer = Slow(asyncio.Event(), asyncio.Event())
        office = Office(database, clock, mailer)
        running = asyncio.create_task(office.deliverer.run())
        failed_run(office)
        office.wake.set()
        await asyncio.wait_for(mailer.began.wait(), 5)
        running.cancel()
        asyncio.get_running_loop().call_soon(mailer.go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (mailer.taken, mailer.closed) == (1, True)
        assert office.only().state is State.SENT

    asyncio.run(story())


@dataclass
class Moody:
    """Raises what it is told to, then sends."""

    moods: list[SendError]
    sent: list[EmailMessage] = field(default_factory=list)
    at_once: int = 1

    async def open(self) -> None: ...

    async def send(self, message: EmailMessage, recipients: Sequence[str]) -> SendReceipt:
        if self.moods:
            raise self.moods.pop()
        self.sent.append(message)
        return SendReceipt("250 OK", tuple(recipients))

    async def close(self) -> None: ...


def test_pauses_grow_between_attempts_and_the_metrics_tell(database: Database, clock: FakeClock) -> None:
    office = Office(database, clock, Moody([TryLater("451")] * 3))
    failed_run(office)
    pauses = []
    for _ in range(3):
        office.deliver()
        pauses.append((office.only().next_attempt_at - clock()).total_seconds())
        clock.now = office.only().next_attempt_at
    assert pauses == sorted(pauses)
    assert pauses[2] > 3 * pauses[0]
    waiting = office.metrics.registry.get_sample_value("windsock_deliveries_waiting")
    assert waiting == 1
    office.deliver()
    assert office.only().state is State.SENT
    assert (office.counted("retry"), office.counted("sent")) == (3, 1)
    assert b'windsock_delivery_delay_seconds_count{channel="email"} 1.0' in generate_latest(
        office.metrics.registry
    )
    assert office.metrics.registry.get_sample_value("windsock_deliveries_waiting") == 0


def test_an_event_that_the_log_has_forgotten_is_told_of_no_more(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    office = Office(database, clock, mailbox)
    failed_run(office)
    database.write_now(lambda connection: append.prune(connection, clock() + timedelta(days=1)))
    office.deliver()
    assert office.only().state is State.DEAD
    assert "no longer in the log" in office.only().reason
