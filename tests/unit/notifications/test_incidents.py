"""What names an incident, and which success ends it."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from monitor.database.engine import Database
from monitor.delivery.settle import settle_delivery
from monitor.notifications import incident_transitions
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import queue
from monitor.notifications.outbox.records import DeliveryOutcome, State
from monitor.rules.model import Config
from monitor.rules.targets import ChannelName
from tests.sample import START, moment, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.notify_support import Town

OPS = "ops@example.com"
CONTRACT = Path(__file__).parents[2] / "contract"
DAY = 86_400.0


def town(database: Database, clock: FakeClock, *types: str) -> Town:
    rule = {"name": "r", "to": [OPS], "match": {"type": list(types or ["airflow.dag_run.*"])}}
    return Town(database, Config.model_validate({"rules": [rule]}), clock)


def day(number: float) -> str:
    """The days before the tests' own: a run is for a time that is over."""
    return moment((number - 30) * DAY)


def states(here: Town) -> list[tuple[str, str]]:
    return [(one.key, one.state) for one in reversed(here.incidents())]


def test_a_backfill_of_an_old_day_does_not_end_todays_failure(database: Database, clock: FakeClock) -> None:
    here = town(database, clock)
    here.fail(logical_date=day(9), run_type="scheduled")
    clock.forward(60)
    here.succeed(logical_date=day(3), run_type="backfill")
    here.succeed(logical_date=day(8), run_type="manual")
    assert states(here) == [("dag:etl", "open")]
    here.succeed(logical_date=day(9), run_type="scheduled")
    assert states(here) == [("dag:etl", "closed")]


def test_a_backfill_of_twenty_days_is_one_conversation(database: Database, clock: FakeClock) -> None:
    here = town(database, clock)
    told = []
    for number in range(1, 21):
        clock.forward(30)
        end = here.fail if number % 5 == 0 else here.succeed
        end(logical_date=day(number), run_type="backfill")
        told += here.mail()
    assert told == [f"opened r {OPS} 1"]
    clock.forward(60)
    here.succeed(logical_date=day(21), run_type="scheduled")
    assert here.mail() == [f"recovered r {OPS} 4"]


def test_what_a_backfill_broke_it_mends_itself(database: Database, clock: FakeClock) -> None:
    here = town(database, clock)
    here.fail(logical_date=day(5), run_type="backfill")
    clock.forward(60)
    here.succeed(logical_date=day(5), run_type="backfill")
    assert states(here) == [("dag:etl", "closed")]


def test_without_a_logical_date_the_start_counts(database: Database, clock: FakeClock) -> None:
    here = town(database, clock)
    clock.forward(600)
    here.tell(run_event("failed", run_id="b", start=300))
    clock.forward(600)
    # It began before the one that failed, and ended after it: a parallel run.
    here.tell(run_event("success", run_id="a", start=200) | {"time": moment(900)})
    assert states(here) == [("dag:etl", "open")]
    here.tell(run_event("success", run_id="c", start=400))
    assert states(here) == [("dag:etl", "closed")]


def test_a_run_without_a_logical_date_beside_those_with_one(database: Database, clock: FakeClock) -> None:
    here = town(database, clock)
    clock.forward(10 * DAY)
    here.fail(logical_date=day(9), run_type="scheduled")
    here.fail(ago=-20)
    clock.forward(60)
    here.succeed(ago=60, logical_date=day(10), run_type="scheduled")
    assert states(here) == [("dag:etl", "open")], "the run by hand began later, and failed"
    here.succeed(logical_date=day(10), run_type="scheduled")
    assert states(here) == [("dag:etl", "closed")]


def test_a_run_of_the_schedule_is_of_the_end_of_its_interval(database: Database, clock: FakeClock) -> None:
    here = town(database, clock)
    here.fail(logical_date=day(1.5))  # by hand, at noon of that day
    clock.forward(60)
    here.succeed(logical_date=day(1), data_interval_end=day(2), run_type="scheduled")
    assert states(here) == [("dag:etl", "closed")]


FAR = "2999-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("forged", "true"),
    [
        ({"logical_date": FAR}, {"logical_date": moment(30)}),
        ({"logical_date": day(29), "data_interval_end": FAR}, {"logical_date": day(30)}),
        ({"logical_date": FAR, "run_type": "manual"}, {}),
        ({"start_date": FAR}, {}),
        ({"start_date": None, "queued_at": FAR}, {}),
        ({"start_date": FAR}, {"logical_date": day(29)}),
    ],
)
def test_no_date_that_is_to_come_keeps_an_incident_open(
    database: Database, clock: FakeClock, forged: dict[str, Any], true: dict[str, Any]
) -> None:
    here = town(database, clock)
    here.fail(**forged)
    clock.forward(60)
    here.succeed(**true)
    assert states(here) == [("dag:etl", "closed")]


def test_a_run_for_a_day_that_is_to_come_mends_itself(database: Database, clock: FakeClock) -> None:
    here = town(database, clock)
    here.fail(logical_date=day(60))
    clock.forward(60)
    here.succeed(logical_date=day(29))
    assert states(here) == [("dag:etl", "open")], "an older day answers no later one"
    here.succeed(logical_date=day(60))
    assert states(here) == [("dag:etl", "closed")]


@pytest.mark.parametrize("forged", [{"start_date": FAR}, {}])
def test_no_task_is_the_latest_by_a_date_that_is_to_come(
    database: Database, clock: FakeClock, forged: dict[str, Any]
) -> None:
    here = town(database, clock, "airflow.task_instance.*")
    here.tell(run_event("running", run_id="one", logical_date=None if forged else FAR))
    here.tell(task("failed", -1, "one", 5, **forged))
    here.tell(run_event("running", run_id="two", logical_date=None if forged else moment(7)))
    here.tell(task("success", -1, "two", 9, start_date=moment(8)))
    assert states(here) == [("task:etl/load", "closed")]


def task(state: str, index: int, run_id: str, at: float, **data: Any) -> dict[str, Any]:
    return task_event(state, run_id=run_id, map_index=index, **data) | {"time": moment(at)}


def test_a_mapped_task_recovers_for_itself_only(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, "airflow.task_instance.*")
    here.tell(task("failed", 1, "one", 5), task("failed", -1, "one", 5))
    here.tell(task("success", 0, "two", 9), task("success", -1, "two", 9))
    assert states(here) == [("task:etl/load[1]", "open"), ("task:etl/load", "closed")]
    assert here.incidents()[1].title == "etl/load[1] fails"
    here.tell(task("success", 1, "two", 9))
    assert states(here)[0] == ("task:etl/load[1]", "closed")


def test_a_task_of_an_old_day_does_not_end_todays_failure(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, "airflow.task_instance.*")
    for run_id, number in (("today", 9), ("old", 3)):
        here.tell(run_event("running", run_id=run_id, logical_date=day(number)))
    here.tell(task("failed", -1, "today", 5))
    here.tell(task("success", -1, "old", 9))
    assert states(here) == [("task:etl/load", "open")]
    here.tell(task("success", -1, "today", 9))
    assert states(here) == [("task:etl/load", "closed")]


def watched(kind: str, **data: Any) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((CONTRACT / f"windsock.run.{kind}.json").read_text())["event"]
    event_id = f"{raw['id']}{data.get('run_id', '')}"
    return raw | {"id": event_id, "data": raw["data"] | data, "time": moment()}


@pytest.mark.parametrize("kind", ["stuck", "late"])
def test_another_run_does_not_answer_for_one_that_is_stuck_or_late(
    database: Database, clock: FakeClock, kind: str
) -> None:
    here = town(database, clock, "windsock.run.*")
    here.tell(watched(kind, run_id="one"))
    clock.forward(60)
    here.succeed()
    key = f"windsock.run.{kind}:etl/one"
    assert states(here) == [(key, "open")]
    here.tell(run_event("success", run_id="one", start=20))
    assert states(here) == [(key, "closed")]


BY_NOBODYS_SCHEDULE = (
    *("manual", "operator_triggered", "asset_triggered", "asset_materialization", "backfill"),
)


def test_only_a_run_of_the_schedule_answers_for_one_that_is_missing(
    database: Database, clock: FakeClock
) -> None:
    here = town(database, clock, "windsock.run.*")
    here.tell(watched("missing", expected_at=moment()))
    clock.forward(60)
    for run_type in BY_NOBODYS_SCHEDULE:
        here.succeed(run_type=run_type, run_after=moment(30))
    here.succeed(run_type="scheduled", run_after=moment(-60))
    assert states(here) == [("windsock.run.missing:etl", "open")], "the last one was due before"
    here.succeed(run_type="scheduled", run_after=moment())
    assert states(here) == [("windsock.run.missing:etl", "closed")]


def test_deployments_have_incidents_of_their_own(database: Database, clock: FakeClock) -> None:
    here = town(database, clock)
    here.fail()
    other = run_event("success", start=30) | {"source": "/airflow/other"}
    here.tell(other)
    assert states(here) == [("dag:etl", "open")]


def test_a_failure_that_was_none_counts_no_longer(database: Database, clock: FakeClock) -> None:
    """Its place in the order is not kept either, or nothing could ever end the incident."""
    here = town(database, clock)
    here.fail(logical_date=moment(900 * DAY))
    clock.forward(1)
    real = here.fail(logical_date=day(1))
    incident: Incident = here.incidents()[0]
    assert incident.latest_moment == START

    def take_back(connection: Connection) -> None:
        delivery = queue.claim(connection, clock(), timedelta(minutes=1), ChannelName.EMAIL)
        assert delivery is not None
        untrue = frozenset({incident.opened_seq})
        outcome = DeliveryOutcome(State.SUPERSEDED, "untrue")
        settle_delivery(connection, delivery, outcome, untrue, clock(), "example.com")

    here.write(take_back)
    left = here.incidents()[0]
    assert (left.failures, left.opened_at, left.latest_moment) == (1, real.time, START - timedelta(days=29))


def test_a_finding_that_is_over_ends_its_incident_and_no_other_airflows(
    database: Database, clock: FakeClock
) -> None:
    here = town(database, clock, "windsock.run.*")
    stuck = watched("stuck", run_id="one")
    here.tell(stuck, stuck | {"source": "/airflow/other"})
    clock.forward(60)
    here.write(lambda connection: incident_transitions.close_found(connection, "local", stuck["id"], clock()))
    assert [(one.deployment, one.state) for one in here.incidents()] == [
        ("other", "open"),
        ("local", "closed"),
    ]
