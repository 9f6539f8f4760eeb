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
from tests.sample import moment, run_event
from tests.unit.conftest import FakeClock
from tests.unit.delivery_support import TO, Office, ScriptedAirflow, airflow_run
from tests.unit.notify_support import reraise

HOUR = 3600.0
FORGED = AirflowNotFound("Airflow does not know this run")


def of_rule(**changes: Any) -> Config:
    rule = {"name": "r", "to": (TO,), "match": Match(type=("airflow.dag_run.*",))}
    return Config(rules=(Rule(**{**rule, **changes}),))


class Scene:
    """A DAG that failed once, which was mailed, and once more, which waits to be mailed."""

    def __init__(
        self, database: Database, clock: FakeClock, tmp_path: Path, has_api: bool = True, **rule: Any
    ) -> None:
        self.clock = clock
        self.airflow = ScriptedAirflow(FORGED)
        for run_id, start in (("one", 0), ("two", 60)):
            self.airflow.runs[run_id] = airflow_run("failed", start)
        mailbox = Mailbox(tmp_path / "mailbox", clock)
        airflow = self.airflow if has_api else None
        self.office = Office(database, clock, mailbox, airflow, of_rule(**rule))
        apis = {"local": self.airflow} if has_api else {}
        self.recoveries = Recoveries(
            *(database, apis, self.office.town.engine, self.office.wake, clock), on_defect=reraise
        )
        self.office.tell(run_event("failed", run_id="one"))
        self.office.deliver()
        clock.forward(90)
        self.office.tell(run_event("failed", run_id="two", start=60))

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


def test_a_forged_run_does_not_end_what_a_watch_found(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    scene = Scene(database, clock, tmp_path)
    scene.office.tell(
        {
            **run_event("running", run_id="x", start=85),
            "id": "run_missing:1",
            "type": "windsock.run.missing",
            "subject": "etl",
            "time": moment(86),
            "data": {
                "what": "etl has no run",
                "dag_id": "etl",
                "expected_at": moment(0),
                "after_seconds": 900.0,
                "reported_by": "monitor",
            },
        }
    )
    scene.office.tell(run_event("running", run_id="forged", start=90, run_type="scheduled"))
    assert scene.incidents()[0] == ("closed", 1)
    scene.look()
    assert scene.incidents()[0] == ("open", 1)
