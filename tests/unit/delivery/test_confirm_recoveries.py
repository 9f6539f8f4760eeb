"""A success that Airflow does not confirm: the incident is open again, with all that it had gathered."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from monitor.database.engine import Database
from monitor.delivery.channels.mailbox import Mailbox
from monitor.delivery.confirm import Recoveries
from monitor.errors import AirflowNotFound, AirflowUnreachable
from monitor.notifications.outbox import decisions
from monitor.notifications.outbox.records import State
from monitor.rules.model import Config, Match, Rule
from tests.sample import moment, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.delivery_support import TO, Office, ScriptedAirflow, airflow_run, airflow_task
from tests.unit.notify_support import reraise

HOUR = 3600.0
FORGED = AirflowNotFound("Airflow does not know this run")


def of_rule(**changes: Any) -> Config:
    rule = {"name": "r", "to": (TO,), "match": Match(type=("airflow.dag_run.*",))}
    return Config(rules=(Rule(**{**rule, **changes}),))


def dated(seconds: float) -> dict[str, Any]:
    return {"logical_date": moment(seconds)}


class Scene:
    """A DAG that failed once, which was mailed, and once more, which waits to be mailed."""

    def __init__(
        self,
        database: Database,
        clock: FakeClock,
        tmp_path: Path,
        has_api: bool = True,
        is_dated: bool = False,
        **rule: Any,
    ) -> None:
        """`is_dated`: the runs have logical dates."""
        self.clock = clock
        self.airflow = ScriptedAirflow(FORGED)
        one, two = (dated(start) if is_dated else {} for start in (0, 60))
        self.airflow.runs["one"] = airflow_run("failed", 0) | one
        self.airflow.runs["two"] = airflow_run("failed", 60) | two
        mailbox = Mailbox(tmp_path / "mailbox", clock)
        airflow = self.airflow if has_api else None
        self.office = Office(database, clock, mailbox, airflow, of_rule(**rule))
        apis = {"local": self.airflow} if has_api else {}
        self.recoveries = Recoveries(
            *(database, apis, self.office.town.engine, self.office.wake, clock), on_defect=reraise
        )
        self.office.tell(run_event("failed", run_id="one", **one))
        self.office.deliver()
        clock.forward(90)
        self.office.tell(run_event("failed", run_id="two", start=60, **two))

    def succeed(self, run_id: str = "forged", start: float = 80) -> None:
        self.office.tell(run_event("success", run_id=run_id, start=start))

    def look(self) -> None:
        asyncio.run(self.recoveries.look())

    def incidents(self) -> list[tuple[str, int]]:
        return [(one.state, one.failures) for one in self.office.town.incidents()]

    def deliveries(self) -> list[tuple[str, State]]:
        return [(one.kind.value, one.state) for one in reversed(self.office.deliveries())]

    def mails(self) -> list[str]:
        """What is sent by the end of the group's interval."""
        self.clock.forward(5 * HOUR)
        before = len(self.sent())
        self.office.deliver()
        return self.sent()[before:]

    def sent(self) -> list[str]:
        town, kinds = self.office.town, []
        for one in reversed(self.office.deliveries()):
            if one.state is State.SENT:
                seqs = town.read(partial(_seqs, notification_id=one.notification_id))
                kinds.append((one.settled_at, f"{one.kind.value} {len(seqs)}"))
        return [kind for _, kind in sorted(kinds)]


def _seqs(connection: Connection, notification_id: int) -> list[int]:
    return decisions.event_seqs(connection, notification_id, 100)


def test_a_forged_success_takes_nothing_with_it(database: Database, clock: FakeClock, tmp_path: Path) -> None:
    scene = Scene(database, clock, tmp_path)
    scene.succeed()
    assert scene.incidents() == [("closed", 2)]
    scene.look()
    assert scene.incidents() == [("open", 2)]
    assert scene.office.town.incidents()[0].closed_because is None
    assert scene.mails() == ["follow_up 1"]
    scene.airflow.runs["three"] = airflow_run("success", 4 * HOUR)
    scene.succeed("three", 4 * HOUR)
    scene.office.deliver()
    scene.look()
    assert scene.incidents() == [("closed", 2)]
    assert scene.sent() == ["opened 1", "follow_up 1", "recovered 1"]
    scene.look()
    assert scene.incidents() == [("closed", 2)]


def test_the_mail_that_is_refused_first_changes_nothing(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    """The delivery of the recovery asks Airflow too, and may come first."""
    scene = Scene(database, clock, tmp_path)
    scene.succeed()
    scene.office.deliver()
    assert scene.deliveries()[-1] == ("recovered", State.SUPERSEDED)
    scene.look()
    assert scene.incidents() == [("open", 2)]
    assert scene.mails() == ["follow_up 1"]


@pytest.mark.parametrize("notify_on", [("first_failure",), ("every_failure",)])
def test_where_no_recovery_is_told_it_is_confirmed_all_the_same(
    database: Database, clock: FakeClock, tmp_path: Path, notify_on: tuple[str, ...]
) -> None:
    scene = Scene(database, clock, tmp_path, notify_on=notify_on)
    scene.succeed()
    clock.forward(5 * HOUR)
    if notify_on == ("first_failure",):
        scene.office.deliver()  # the follow-up is due before Airflow has answered: it waits
        assert scene.deliveries()[-1] == ("follow_up", State.PENDING)
    scene.look()
    assert scene.incidents() == [("open", 2)]
    scene.mails()
    first = ["opened 1", "follow_up 1"]
    assert scene.sent() == (first if notify_on == ("first_failure",) else ["failure 1"] * 2)


def test_a_failure_that_came_meanwhile_goes_on_with_it(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    scene = Scene(database, clock, tmp_path)
    scene.succeed()
    clock.forward(60)
    scene.airflow.runs["three"] = airflow_run("failed", 120)
    scene.office.tell(run_event("failed", run_id="three", start=120))
    assert scene.incidents() == [("open", 1), ("closed", 2)]
    scene.look()
    assert scene.incidents() == [("open", 3), ("closed", 2)]
    newer, older = scene.office.town.incidents()
    assert older.closed_because == f"it was not over, and goes on as incident {newer.id}"
    assert newer.opened_at == older.opened_at
    assert sorted(scene.mails()) == ["follow_up 1", "opened 1"]
    assert scene.sent().count("opened 1") == 2


def test_who_was_told_too_early_is_told_that_it_is_not_over(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    """Airflow did not answer for longer than the grace, so the recovery went out unconfirmed."""
    scene = Scene(database, clock, tmp_path)
    scene.airflow.run = AirflowUnreachable("no route")
    scene.succeed()
    for _ in range(10):
        clock.forward(60)
        scene.look()
        scene.office.deliver()
    assert scene.sent()[-1] == "recovered 2"
    assert scene.incidents() == [("closed", 2)]
    scene.airflow.run = FORGED
    clock.forward(120)
    scene.look()
    scene.office.deliver()
    assert scene.incidents() == [("open", 2)]
    assert scene.sent()[-1] == "reminder 1"


def test_what_is_not_committed_yet_is_asked_about_again(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    scene = Scene(database, clock, tmp_path)
    scene.airflow.run = airflow_run("running", 80)
    scene.succeed()
    scene.look()
    assert scene.incidents() == [("closed", 2)]
    scene.airflow.run = airflow_run("success", 80)
    clock.forward(60)
    scene.look()
    asked = scene.airflow.asked
    clock.forward(60)
    scene.look()
    assert scene.airflow.asked == asked
    assert scene.office.town.incidents()[0].confirm_at is None


def test_without_an_airflow_to_ask_the_success_stands(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    scene = Scene(database, clock, tmp_path, has_api=False)
    scene.succeed()
    scene.look()
    assert scene.incidents() == [("closed", 2)]
    assert scene.mails() == ["recovered 2"]


def missing_run(expected_at: str) -> dict[str, Any]:
    return {
        **run_event("running", run_id="x", start=85),
        "id": "run_missing:1",
        "type": "windsock.run.missing",
        "subject": "etl",
        "time": moment(83),
        "data": {
            "what": "etl has no run",
            "dag_id": "etl",
            "expected_at": expected_at,
            "after_seconds": 900.0,
            "reported_by": "monitor",
        },
    }


def test_a_forged_run_does_not_end_what_a_watch_found(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    scene = Scene(database, clock, tmp_path)
    scene.office.tell(missing_run(moment(0)))
    scene.office.tell(run_event("running", run_id="forged", start=90, run_type="scheduled"))
    assert scene.incidents()[0] == ("closed", 1)
    scene.look()
    assert scene.incidents()[0] == ("open", 1)


LONG_AGO = -5 * HOUR
CLAIMED = {"logical_date": moment(80), "end_date": moment(85), "run_type": "scheduled"}
"""Of a run that ended well long before the failures, by whoever may report."""


@pytest.mark.parametrize("is_mailed_first", [False, True])
@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({"logical_date": moment(LONG_AGO)}, "open"),
        ({"logical_date": moment(LONG_AGO), "data_interval_end": moment(LONG_AGO + HOUR)}, "open"),
        ({"end_date": moment(LONG_AGO + 10)}, "open"),
        ({"run_type": "backfill"}, "open"),
        ({"logical_date": None}, "open"),
        ({}, "closed"),
    ],
    ids=["logical date", "its interval", "end", "a backfill", "undated", "as it was reported"],
)
def test_airflows_own_dates_say_whether_a_true_success_came_later(
    database: Database,
    clock: FakeClock,
    tmp_path: Path,
    said: dict[str, Any],
    state: str,
    is_mailed_first: bool,
) -> None:
    scene = Scene(database, clock, tmp_path, is_dated=True)
    scene.airflow.runs["old"] = airflow_run("success", LONG_AGO) | CLAIMED | said
    told = run_event("success", run_id="old", start=LONG_AGO, **CLAIMED)
    scene.office.tell(told | {"time": CLAIMED["end_date"]})
    assert scene.incidents() == [("closed", 2)]
    if is_mailed_first:
        scene.office.deliver()
    scene.look()
    assert scene.incidents() == [(state, 2)]
    assert scene.mails() == (["follow_up 1"] if state == "open" else ["recovered 2"] * (not is_mailed_first))


def test_a_start_that_differs_a_little_is_airflows(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    """A task's process takes its own start, and a hook that has no end takes the moment of its call."""
    scene = Scene(database, clock, tmp_path, match=Match(type=("airflow.task_instance.*",)))
    scene.airflow.run = airflow_run("running", 0)
    scene.office.tell(task_event("failed", run_id="a", start_date=moment(80), end_date=moment(85)))
    good = task_event("success", run_id="b", start_date=moment(80.1), end_date=moment(85.1))
    row = airflow_task(state="success", start_date=moment(79.9), end_date=moment(84.9))
    scene.airflow.tasks = [row | {"id": good["data"]["ti_id"]}]
    scene.office.tell(good | {"time": moment(85.1)})
    assert scene.incidents()[0] == ("closed", 1)
    scene.look()
    assert scene.incidents()[0] == ("closed", 1)


@pytest.mark.parametrize(
    ("run", "task"),
    [
        ({"logical_date": moment(LONG_AGO)}, {}),
        ({"logical_date": None}, {"start_date": moment(LONG_AGO)}),
        ({"logical_date": moment(80)}, {"end_date": moment(LONG_AGO)}),
        ({"logical_date": moment(80), "run_type": "backfill"}, {}),
    ],
    ids=["logical date of its run", "start", "end", "a backfill"],
)
def test_of_a_task_too(
    database: Database, clock: FakeClock, tmp_path: Path, run: dict[str, Any], task: dict[str, Any]
) -> None:
    """Whoever may report may report its run as well, with any date."""
    scene = Scene(database, clock, tmp_path, match=Match(type=("airflow.task_instance.*",)))
    for run_id, date in (("a", 60), ("old", 80)):
        scene.office.tell(run_event("running", run_id=run_id, start=date, logical_date=moment(date)))
    scene.office.tell(task_event("failed", run_id="a", start_date=moment(62), end_date=moment(66)))
    dates = {"start_date": moment(82), "end_date": moment(86)}
    old = task_event("success", run_id="old", **dates)
    scene.airflow.runs["old"] = airflow_run("success", LONG_AGO) | run
    row = airflow_task(state="success", **dates) | {"id": old["data"]["ti_id"]}
    scene.airflow.tasks = [row | task]
    scene.office.tell(old | {"time": moment(86)})
    assert scene.incidents()[0] == ("closed", 1)
    scene.look()
    assert scene.incidents()[0] == ("open", 1)


@pytest.mark.parametrize("said", [{"run_after": moment(LONG_AGO)}, {"run_type": "manual"}])
def test_an_old_run_is_not_the_one_that_the_schedule_lacks(
    database: Database, clock: FakeClock, tmp_path: Path, said: dict[str, Any]
) -> None:
    scene = Scene(database, clock, tmp_path)
    scene.office.tell(missing_run(moment(80)))
    claimed = {"run_type": "scheduled", "run_after": moment(80), "logical_date": moment(80)}
    scene.airflow.runs["old"] = airflow_run("success", 84) | claimed | said
    scene.office.tell(run_event("running", run_id="old", start=84, **claimed))
    assert scene.incidents()[0] == ("closed", 1)
    scene.look()
    assert scene.incidents()[0] == ("open", 1)
    scene.airflow.runs["true"] = airflow_run("success", 88) | claimed
    scene.office.tell(run_event("running", run_id="true", start=88, **claimed))
    scene.look()
    assert scene.incidents()[0] == ("closed", 1)
