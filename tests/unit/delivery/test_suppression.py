"""What speaks against a delivery at the last moment, each with its reason; and reports that Airflow takes
back.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.delivery.channels.errors import TryLater
from monitor.delivery.channels.mailbox import Mailbox
from monitor.delivery.settle import settle_delivery
from monitor.errors import AirflowUnreachable
from monitor.notifications import incidents, silences
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import decisions, queue
from monitor.notifications.outbox.records import DeliveryOutcome, NotificationKind, State
from monitor.rules.model import Config, Group, Match, Receiver, Rule
from tests.sample import run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.delivery.test_worker import Moody
from tests.unit.delivery_support import GRACE, TO, Office, ScriptedAirflow, airflow_run, failed_run, texts

LATER = "451 4.3.0 Later"


@pytest.fixture
def database(tmp_path: Path) -> Any:
    database = Database(f"sqlite:///{tmp_path / 'windsock.db'}")
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def mailbox(tmp_path: Path, clock: FakeClock) -> Mailbox:
    return Mailbox(tmp_path / "mailbox", clock)


def of_rule(**changes: Any) -> Config:
    rule = {
        "name": "r",
        "to": (TO,),
        "notify_on": ("first_failure", "recovered"),
        "match": Match(type=("airflow.*",)),
    }
    return Config(receivers={"ops": Receiver(email=(TO,))}, rules=(Rule(**{**rule, **changes}),))


def silence(office: Office, match: Match) -> None:
    now, end = office.clock(), office.clock() + timedelta(hours=1)
    office.town.write(lambda connection: silences.add(connection, match, "ada", "deploying", now, end, now))


def test_a_silence_made_after_the_event_holds(database: Database, clock: FakeClock, mailbox: Mailbox) -> None:
    office = Office(database, clock, mailbox)
    failed_run(office)
    silence(office, Match(dag_id=("etl",)))
    office.deliver()
    assert office.only().state is State.SUPPRESSED
    assert office.only().reason == "suppressed by silence 1 of ada until 2026-11-22 11:00 UTC: deploying"
    assert texts(mailbox) == []


def test_a_silence_of_one_leaves_the_others_of_the_group(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    office = Office(database, clock, mailbox, config=of_rule(group=Group(by=("deployment",), wait="1m")))
    for dag_id in ("etl", "other"):
        office.tell(run_event("failed", dag_id))
    silence(office, Match(dag_id=("etl",)))
    clock.forward(60)
    office.deliver()
    [text] = texts(mailbox)
    assert "other" in text
    assert "etl" not in text


def test_an_acknowledgement_ends_follow_ups_and_not_the_recovery(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    office = Office(database, clock, mailbox, config=of_rule(group=Group(interval="1m")))
    office.tell(run_event("failed", run_id="1"))
    office.deliver()
    office.tell(run_event("failed", run_id="2", start=1))
    office.town.write(lambda connection: incidents.acknowledge(connection, 1, "ada", "on it", clock()))
    clock.forward(60)
    office.deliver()
    assert office.latest().kind is NotificationKind.FOLLOW_UP
    assert office.latest().state is State.SUPPRESSED
    assert office.latest().reason == "suppressed: incident 1 is acknowledged by ada: on it"
    office.tell(run_event("success", run_id="3", start=40))
    office.deliver()
    assert [office.latest().kind, office.latest().state] == [NotificationKind.RECOVERED, State.SENT]


def test_a_follow_up_is_sent_once_the_acknowledgement_has_lapsed(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    office = Office(database, clock, mailbox, config=of_rule(group=Group(interval="1m")))
    office.tell(run_event("failed", run_id="1"))
    office.deliver()
    office.tell(run_event("failed", run_id="2", start=1))
    until = clock() + timedelta(seconds=30)
    office.town.write(lambda connection: incidents.acknowledge(connection, 1, "ada", "on it", clock(), until))
    clock.forward(60)
    office.deliver()
    assert [office.latest().kind, office.latest().state] == [NotificationKind.FOLLOW_UP, State.SENT]
    assert "ada" not in texts(mailbox)[-1]


def test_a_follow_up_of_what_is_over_is_not_told(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    """Of a rule that tells no recoveries: nothing else takes it back."""
    office = Office(
        database, clock, mailbox, config=of_rule(notify_on=("first_failure",), group=Group(interval="1m"))
    )
    office.tell(run_event("failed", run_id="1"))
    office.deliver()
    office.tell(run_event("failed", run_id="2", start=1))
    office.tell(run_event("success", run_id="3", start=40))
    clock.forward(60)
    office.deliver()
    assert office.latest().kind is NotificationKind.FOLLOW_UP
    assert office.latest().state is State.SUPERSEDED
    assert "is over" in office.latest().reason


def test_who_has_unsubscribed_since_is_left_alone(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    office = Office(database, clock, mailbox)
    failed_run(office)
    office.town.write(lambda connection: silences.unsubscribe(connection, TO.upper(), "failures", clock()))
    office.deliver()
    assert office.only().state is State.SUPPRESSED
    assert office.only().reason == "suppressed: a@example.com has unsubscribed from the rule 'failures'"


def test_a_recovery_waits_for_its_failure_and_follows_it_in_the_conversation(
    database: Database, clock: FakeClock
) -> None:
    mailer = Moody([TryLater(LATER)])
    office = Office(database, clock, mailer)
    failed_run(office)
    office.deliver()
    office.tell(run_event("success", run_id="2", start=20))
    office.deliver()
    recovery = office.latest()
    assert (recovery.kind, recovery.state) == (NotificationKind.RECOVERED, State.PENDING)
    assert "waits" in recovery.reason
    for _ in range(4):
        clock.forward(5)
        office.deliver()
    assert [delivery.state for delivery in office.deliveries()] == [State.SENT, State.SENT]
    opening, ending = mailer.sent
    assert ending["References"] == ending["In-Reply-To"] == opening["Message-ID"]
    assert ending["Subject"] == opening["Subject"]


def test_a_recovery_of_what_nobody_was_told_is_not_told(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    airflow = ScriptedAirflow(airflow_run("success"), runs={"2": airflow_run("success", start=20)})
    office = Office(database, clock, mailbox, airflow)
    office.tell(run_event("failed"), run_event("success", run_id="2", start=20))
    office.deliver()
    clock.forward(60)
    office.deliver()
    recovery, opening = office.deliveries()
    assert opening.state is State.SUPERSEDED
    assert (recovery.state, recovery.reason) == (
        State.SUPERSEDED,
        "superseded: nobody was notified of this failure",
    )


def incident(office: Office) -> Incident:
    found = office.town.read(lambda connection: incidents.find(connection, 1))
    assert isinstance(found, Incident)
    return found


def test_an_incident_whose_only_failure_is_taken_back_was_none(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    office = Office(database, clock, mailbox, ScriptedAirflow(airflow_run("success")))
    failed_run(office)
    office.deliver()
    assert office.only().state is State.SUPERSEDED
    assert incident(office).closed_because == "superseded: Airflow says success"


def test_an_incident_that_has_another_failure_stays_open(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    runs: dict[str, Any] = {"2": airflow_run("failed", start=1)}
    office = Office(database, clock, mailbox, ScriptedAirflow(airflow_run("success"), runs=runs))
    office.tell(run_event("failed"), run_event("failed", run_id="2", start=1))
    office.deliver()
    assert office.only().state is State.SENT
    assert incident(office).is_open


def taken_back(office: Office, airflow: ScriptedAirflow, *then: dict[str, Any]) -> None:
    """The first failure is asked about again and again, and was none; meanwhile there is a second."""
    office.tell(run_event("failed", run_id="1"))
    office.deliver()
    assert {one.state for one in office.deliveries()} == {State.PENDING}
    office.clock.forward(30)
    office.tell(run_event("failed", run_id="2", start=30), *then)
    airflow.runs["1"] = airflow_run("success")
    office.clock.forward(60)
    office.deliver()


def second_is_true() -> ScriptedAirflow:
    runs: dict[str, Any] = {"1": airflow_run("running"), "2": airflow_run("failed", start=30)}
    return ScriptedAirflow(airflow_run("success", start=60), runs=runs)


def test_a_failure_after_one_that_was_none_is_told_at_once(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    """It was to follow in hours what was never told."""
    airflow = second_is_true()
    office = Office(database, clock, mailbox, airflow)
    taken_back(office, airflow)
    second, first = office.deliveries()
    assert (first.state, second.state) == (State.SUPERSEDED, State.SENT)
    assert incident(office).is_open
    office.tell(run_event("success", run_id="3", start=60))
    office.deliver()
    assert (office.latest().kind, office.latest().state) == (NotificationKind.RECOVERED, State.SENT)


def test_the_same_for_everybody_who_was_to_be_told(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    airflow = second_is_true()
    office = Office(database, clock, mailbox, airflow, of_rule(to=(TO, "b@example.com")))
    taken_back(office, airflow)
    found = [(one.run_id, one.kind, one.state) for one in office.deliveries()]
    assert (
        found
        == [("2", NotificationKind.OPENED, State.SENT)] * 2
        + [("1", NotificationKind.OPENED, State.SUPERSEDED)] * 2
    )
    assert (incident(office).is_open, incident(office).failures) == (True, 1)


def test_two_that_were_none_make_no_incident(database: Database, clock: FakeClock, mailbox: Mailbox) -> None:
    airflow = second_is_true()
    airflow.runs["2"] = airflow_run("success", start=30)
    office = Office(database, clock, mailbox, airflow)
    taken_back(office, airflow)
    assert {one.state for one in office.deliveries()} == {State.SUPERSEDED}
    assert incident(office).closed_because == "superseded: Airflow says success"


def test_a_failure_after_one_that_was_none_is_told_with_its_recovery(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    airflow = second_is_true()
    office = Office(database, clock, mailbox, airflow)
    taken_back(office, airflow, run_event("success", run_id="3", start=60))
    office.clock.forward(60)
    office.deliver()
    states = {one.kind: one.state for one in office.deliveries()}
    assert states == {
        NotificationKind.OPENED: State.SUPERSEDED,
        NotificationKind.FOLLOW_UP: State.SUPERSEDED,  # told in the recovered
        NotificationKind.RECOVERED: State.SENT,
    }
    [text] = texts(mailbox)
    assert "failed" in text


def test_a_recovery_of_failures_that_were_all_none_is_not_told(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    airflow = second_is_true()
    airflow.runs["2"] = airflow_run("success", start=30)
    office = Office(database, clock, mailbox, airflow)
    taken_back(office, airflow, run_event("success", run_id="3", start=60))
    office.clock.forward(60)
    office.deliver()
    assert {one.state for one in office.deliveries()} == {State.SUPERSEDED}
    assert texts(mailbox) == []


def test_an_incident_that_a_failure_joins_at_the_last_moment_stays_open(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    """After Airflow was asked about the others, and before that is written down."""
    office = Office(database, clock, mailbox)
    failed_run(office)
    claimed = office.town.write(lambda connection: queue.claim(connection, clock(), GRACE))
    office.tell(run_event("failed", run_id="2", start=30))
    outcome = DeliveryOutcome(State.SUPERSEDED, "superseded: Airflow says success")
    untrue = frozenset({claimed.event_seq})
    office.town.write(
        lambda connection: settle_delivery(connection, claimed, outcome, untrue, clock(), "example.com")
    )
    assert incident(office).is_open
    office.deliver()
    assert [one.state for one in office.deliveries()] == [State.SENT, State.SUPERSEDED]


def grouped(office: Office, *run_ids: str) -> None:
    for number, run_id in enumerate(run_ids):
        office.tell(run_event("failed", run_id=run_id, start=number))
    office.clock.forward(60)


EVERY = {"notify_on": ("every_failure",), "group": Group(wait="1m")}


def test_of_a_group_what_airflow_contradicts_is_left_out(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    runs: dict[str, Any] = {
        "good": airflow_run("failed"),
        "bad": airflow_run("success", start=1),
        "fine": airflow_run("failed", start=2),
    }
    airflow = ScriptedAirflow(airflow_run(), runs=runs)
    office = Office(database, clock, mailbox, airflow, of_rule(**EVERY))
    grouped(office, "good", "bad", "fine")
    office.deliver()
    [text] = texts(mailbox)
    assert "2 failures; the first, in full" in text


def test_one_that_stays_open_is_waited_for_and_then_told_with_the_others_marked(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    runs: dict[str, Any] = {"ended": airflow_run("failed"), "open": airflow_run("running", start=1)}
    airflow = ScriptedAirflow(airflow_run(), runs=runs)
    office = Office(database, clock, mailbox, airflow, of_rule(**EVERY))
    grouped(office, "ended", "open")
    office.deliver()
    assert office.only().state is State.PENDING
    clock.forward(GRACE.total_seconds())
    office.deliver()
    [text] = texts(mailbox)
    assert "2 failures; the first, in full" in text
    assert "Airflow still says running" in text


def test_a_silent_airflow_counts_from_when_the_mail_was_due(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    airflow = ScriptedAirflow(AirflowUnreachable("down"))
    office = Office(
        database, clock, mailbox, airflow, of_rule(notify_on=("every_failure",), group=Group(wait="2h"))
    )
    office.tell(run_event("failed"))
    clock.forward(7_200)
    office.deliver()
    assert "waiting for Airflow to confirm: down" in office.only().reason
    clock.forward(GRACE.total_seconds())
    office.deliver()
    assert office.only().state is State.SENT


@pytest.mark.parametrize(
    ("rows", "state", "reason"),
    [
        ([{"state": "failed"}], State.SENT, "sent"),
        ([{"state": "up_for_retry"}], State.SUPERSEDED, "Airflow says up_for_retry"),
        ([{"state": "running"}], State.PENDING, "Airflow still says running"),
        ([{"state": "success", "try_number": 2, "id": "b"}], State.SUPERSEDED, "try 2 is success"),
        ([], State.SUPERSEDED, "does not know this task"),
    ],
)
def test_a_tasks_failure_is_confirmed_too(
    database: Database, clock: FakeClock, mailbox: Mailbox, rows: Any, state: State, reason: str
) -> None:
    told = task_event("failed", ti_id="7c9e6679-7425-40de-944b-e07fc1f90ae7")
    row = {"task_id": "load", "map_index": -1, "try_number": 1, "id": told["data"]["ti_id"]}
    airflow = ScriptedAirflow(airflow_run(), tasks=[{**row, **one} for one in rows])
    office = Office(
        database, clock, mailbox, airflow, of_rule(match=Match(type=("airflow.task_instance.*",)))
    )
    office.tell(told)
    office.deliver()
    assert office.only().state is state
    assert reason in office.only().reason


def test_the_ledger_of_a_delivery_that_was_not_sent_has_no_attempt(
    database: Database, clock: FakeClock, mailbox: Mailbox
) -> None:
    office = Office(database, clock, mailbox)
    failed_run(office)
    silence(office, Match(dag_id=("etl",)))
    office.deliver()
    assert office.ledger() == []
    decided = office.town.read(lambda connection: decisions.decisions_of_notification(connection, 1))
    assert [one.outcome for one in decided] == ["notified"]
