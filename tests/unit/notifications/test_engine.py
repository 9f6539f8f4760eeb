"""Who hears what, and how often: each feature of the rules, with a clock that is set by hand."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.notifications import incidents, silences
from monitor.notifications.decision import NotificationWindow
from monitor.notifications.engine import Engine, Reminders
from monitor.notifications.outbox import decisions, queue
from monitor.notifications.outbox.records import State
from monitor.rules.loader import default_config
from monitor.rules.model import Config, Match
from tests.sample import asset_event, moment, run_event, task_event
from tests.unit.conftest import NOW, FakeClock
from tests.unit.notify_support import Town, reraise

OPS, DATA = "ops@example.com", "data@example.com"
HOUR = 3600.0
CONTRACT = Path(__file__).parents[2] / "contract"


def rule(**fields: Any) -> dict[str, Any]:
    known = {"name": "r", "to": [OPS], "match": {"type": ["airflow.dag_run.*"]}}
    return known | fields


def town(database: Database, clock: FakeClock, *rules: dict[str, Any], **config: Any) -> Town:
    return Town(database, Config.model_validate({"rules": list(rules), **config}), clock)


def test_the_first_failure_at_once_and_what_follows_gathered(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule())
    here.fail()
    assert here.mail() == [f"opened r {OPS} 1"]
    for _ in range(3):
        clock.forward(60)
        here.fail()
    assert here.mail() == []
    clock.forward(4 * HOUR)
    assert here.mail() == [f"follow_up r {OPS} 3"]
    clock.forward(HOUR)
    assert here.mail() == []
    (incident,) = here.incidents()
    assert (incident.failures, incident.state) == (4, "open")


def test_every_failure(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(notify_on=["every_failure"]))
    here.fail()
    here.fail()
    here.succeed()
    assert here.mail() == [f"failure r {OPS} 1"] * 2


def test_recovered_is_told_once_and_only_after_a_failure(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule())
    here.succeed()
    assert here.mail() == []
    clock.forward(60)
    here.fail()
    here.mail()
    clock.forward(60)
    here.succeed()
    here.succeed()
    assert here.mail() == [f"recovered r {OPS} 1"]
    (incident,) = here.incidents()
    assert incident.state == "closed"
    assert incident.closed_at == clock()


def test_a_follow_up_that_waits_is_told_in_the_recovered(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule())
    here.fail()
    here.mail()
    failures = [here.fail() for _ in range(2)]
    clock.forward(60)
    here.succeed()
    assert here.mail() == [f"recovered r {OPS} 3"]
    clock.forward(10 * HOUR)
    assert here.mail() == []
    assert [here.why(event)[0].outcome for event in failures] == ["grouped", "grouped"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_success_that_is_told_as_recovered_is_not_told_twice(
    database: Database, clock: FakeClock, order: int
) -> None:
    successes = rule(name="s", notify_on=["success"], to=[OPS, DATA])
    here = town(database, clock, *[rule(), successes][::order])
    here.fail()
    here.mail()
    clock.forward(60)
    here.succeed()
    assert sorted(here.mail()) == [f"recovered r {OPS} 1", f"success s {DATA} 1"]
    clock.forward(60)
    here.succeed()
    assert sorted(here.mail()) == [f"success s {DATA} 1", f"success s {OPS} 1"]


def test_nothing_is_recovered_for_whom_nothing_was_wrong(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule())
    here.fail()
    here.mail(State.SUPERSEDED)  # Airflow took it back
    clock.forward(60)
    event = here.succeed()
    assert here.mail() == []
    assert "nobody was notified" in here.why(event)[0].reason


def test_the_next_failure_opens_where_nobody_heard_of_the_first(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule())
    here.fail()
    here.mail(State.SUPERSEDED)
    clock.forward(60)
    here.fail()
    assert here.mail() == [f"opened r {OPS} 1"]


def flap(here: Town, clock: FakeClock, times: int) -> list[str]:
    """The kinds of what is told while a DAG fails and recovers every four minutes."""
    told = []
    for _ in range(times):
        clock.forward(120)
        here.fail()
        told += here.mail()
        clock.forward(120)
        here.succeed()
        told += here.mail()
    return [one.split()[0] for one in told]


FLAPPING = {"openings": 3, "within": "1h"}  # so it is over after 20 minutes without a failure


def test_flapping_is_told_once_and_its_end_when_it_lasts(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(flapping=FLAPPING))
    assert flap(here, clock, 8) == ["opened", "recovered", "opened", "recovered", "flapping"]
    clock.forward(19 * 60)
    assert here.mail() == []
    clock.forward(120)
    assert here.mail() == [f"recovered r {OPS} 6"]
    assert [(one.failures, one.flapping) for one in here.incidents()] == [(6, True), (1, False), (1, False)]
    here.fail()
    assert here.mail() == [f"flapping r {OPS} 1"], "the last message was that all is well"
    here.succeed()
    clock.forward(2 * HOUR)
    assert here.mail() == [f"recovered r {OPS} 1"]
    here.fail()
    assert here.mail() == [f"opened r {OPS} 1"]


def test_a_failure_that_lasts_is_told_though_it_flapped(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(flapping=FLAPPING))
    flap(here, clock, 7)
    clock.forward(600)
    here.fail()
    assert here.mail() == []
    clock.forward(21 * 60)
    assert here.mail() == [f"follow_up r {OPS} 5"], "with the failures since it was told as flapping"
    here.succeed()
    clock.forward(21 * 60)
    assert here.mail() == [f"recovered r {OPS} 1"]


def test_each_opening_is_told_by_a_rule_that_knows_no_flapping(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(flapping=FLAPPING), rule(name="each", to=[DATA], flapping=None))
    told = []
    for _ in range(6):
        clock.forward(120)
        here.fail()
        told += here.mail()
        clock.forward(120)
        here.succeed()
        told += here.mail()
    assert [one.split()[0] for one in told if "each" in one] == ["opened", "recovered"] * 6


def test_who_was_told_of_an_end_too_early_is_told_at_once(database: Database, clock: FakeClock) -> None:
    """The failure was reported late: by then the end had been told."""
    here = town(database, clock, rule(flapping=FLAPPING))
    flap(here, clock, 3)
    clock.forward(21 * 60)
    assert here.mail() == [f"recovered r {OPS} 1"]
    here.fail(ago=600)
    assert here.mail() == [f"flapping r {OPS} 1"]
    assert here.incidents()[0].failures == 2, "it is the same incident"


def test_a_silence_covers_and_ends(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule())
    until = NOW + timedelta(hours=1)
    match = Match(deployment=("local",), dag_id=("etl",))
    silence = here.write(
        lambda connection: silences.add(connection, match, "ann", "repairs", NOW, until, NOW)
    )
    event = here.fail()
    here.fail("other")
    assert here.mail() == [f"opened r {OPS} 1"]
    (decision,) = here.why(event)
    assert decision.silence_id == silence.id
    assert "ann" in decision.reason
    assert "repairs" in decision.reason
    clock.forward(2 * HOUR)
    here.fail()
    assert here.mail() == [f"opened r {OPS} 1"]


def test_an_acknowledged_incident_is_quiet_until_it_recovers(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(repeat="1h"))
    here.fail()
    here.mail()
    (incident,) = here.incidents()
    here.write(lambda connection: incidents.acknowledge(connection, incident.id, "bob", "on it", NOW))
    clock.forward(5 * HOUR)
    event = here.fail()
    assert here.mail() == []
    assert "bob" in here.why(event)[0].reason
    clock.forward(60)
    here.succeed()
    assert here.mail() == [f"recovered r {OPS} 1"]


def test_an_acknowledgement_that_has_lapsed_stops_nothing(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(repeat="1h"))
    reminders = Reminders(database, here.engine, WakeSignal(), clock, reraise)
    here.fail()
    here.mail()
    until = clock() + timedelta(hours=3)
    here.write(lambda connection: incidents.acknowledge(connection, 1, "bob", "on it", clock(), until))
    clock.forward(3 * HOUR - 1)
    asyncio.run(reminders.look())
    here.fail()
    assert here.mail() == []
    assert here.incidents()[0].drop_lapsed(clock()).status == incidents.ACKNOWLEDGED
    clock.forward(1)
    assert here.incidents()[0].drop_lapsed(clock()).status == incidents.OPEN
    asyncio.run(reminders.look())
    assert here.mail() == [f"reminder r {OPS} 1"]
    event = here.fail()
    assert here.why(event)[0].notification_id is not None


def test_a_reminder_of_what_is_still_wrong(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(repeat="6h"), rule(name="quiet", to=[DATA]))
    reminders = Reminders(database, here.engine, WakeSignal(), clock, reraise)
    here.fail()
    here.mail()
    for _ in range(3):
        asyncio.run(reminders.look())
    assert here.mail() == []
    clock.forward(6 * HOUR)
    for _ in range(3):
        asyncio.run(reminders.look())
    assert here.mail() == [f"reminder r {OPS} 1"]
    clock.forward(6 * HOUR)
    asyncio.run(reminders.look())
    assert here.mail() == [f"reminder r {OPS} 1"]
    here.succeed()
    here.mail()
    clock.forward(12 * HOUR)
    asyncio.run(reminders.look())
    assert here.mail() == []


def test_group_wait_gathers_what_fails_together(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(group={"by": ["deployment"], "wait": "30s", "interval": "10m"}))
    for dag_id in ("a", "b", "c"):
        here.fail(dag_id)
        clock.forward(5)
    assert here.mail() == []
    clock.forward(30)
    assert here.mail() == [f"opened r {OPS} 3"]
    here.fail("d")
    clock.forward(60)
    assert here.mail() == []
    clock.forward(600)
    assert here.mail() == [f"opened r {OPS} 1"]
    here.succeed("a")
    here.succeed("b")
    clock.forward(600)
    assert here.mail() == [f"recovered r {OPS} 2"]


def test_every_failure_of_replicas_whose_clocks_differ(database: Database, clock: FakeClock) -> None:
    """What one replica has just told does not wait for what another tells a second earlier, as it has it."""
    here = town(database, clock, rule(notify_on=["every_failure"]))
    clock.forward(1)
    here.fail()
    clock.forward(-1)
    here.fail()
    clock.forward(1)
    assert here.mail() == [f"failure r {OPS} 1"] * 2


def test_group_interval_of_every_failure(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(notify_on=["every_failure"], group={"interval": "10m"}))
    here.fail()
    assert here.mail() == [f"failure r {OPS} 1"]
    here.fail()
    here.fail()
    assert here.mail() == []
    clock.forward(600)
    assert here.mail() == [f"failure r {OPS} 2"]


def test_those_who_are_told_different_things_are_not_grouped(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(group={"by": ["deployment"], "wait": "30s"}))
    here.know("a", tags=[f"notify:{DATA}"])
    here.know("b")
    here.fail("a")
    here.fail("b")
    clock.forward(30)
    assert sorted(here.mail()) == [f"opened r {DATA} 1", f"opened r {OPS} 1", f"opened r {OPS} 1"]


def test_quiet_hours_gather_until_they_end(database: Database, clock: FakeClock) -> None:
    hours = {"night": {"start": "09:00", "end": "12:30", "timezone": "UTC"}}
    here = town(database, clock, rule(notify_on=["every_failure"], quiet_hours=["night"]), quiet_hours=hours)
    for _ in range(3):
        here.fail()
        clock.forward(60)
    assert here.mail() == []
    assert here.due() == [NOW.replace(hour=12, minute=30)]
    clock.forward(3 * HOUR)
    assert here.mail() == [f"failure r {OPS} 3"]


def test_a_dag_routes_by_its_tags_and_owners(database: Database, clock: FakeClock) -> None:
    receivers = {"team": {"email": ["team@example.com"]}}
    here = town(database, clock, rule(to=[]), rule(name="no", route=False), receivers=receivers)
    here.know("etl", tags=["notify:team", "prod"], owners=["airflow", DATA])
    here.fail()
    assert sorted(here.mail()) == [
        f"opened no {OPS} 1",
        f"opened r {DATA} 1",
        "opened r team@example.com 1",
    ]


def test_who_has_unsubscribed_is_told_no_more(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(to=[OPS, DATA]))
    here.write(lambda connection: silences.unsubscribe(connection, OPS.upper(), "r", NOW))
    here.fail()
    assert here.mail() == [f"opened r {DATA} 1"]
    here.write(lambda connection: silences.unsubscribe(connection, DATA, "r", NOW))
    event = here.fail("other")
    assert "unsubscribed" in here.why(event)[0].reason


def test_what_is_too_old_is_noted_and_opens_nothing(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule())
    event = here.fail(ago=25 * HOUR)
    assert here.mail() == []
    assert here.incidents() == []
    (decision,) = here.why(event)
    assert decision.outcome == "suppressed"
    assert here.why(here.succeed(ago=25 * HOUR)) == []


def test_a_success_that_is_older_than_the_failure_ends_nothing(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule())
    here.fail()
    here.mail()
    here.succeed(ago=30)
    assert here.mail() == []
    assert here.incidents()[0].state == "open"


def test_rules_for_tasks(database: Database, clock: FakeClock) -> None:
    match = {"type": ["airflow.task_instance.*"], "task_id": ["load*"]}
    here = town(database, clock, rule(match=match))
    here.task("failed", "load_a")
    here.task("failed", "other")
    assert here.mail() == [f"opened r {OPS} 1"]
    clock.forward(60)
    here.task("success", "load_a")
    assert here.mail() == [f"recovered r {OPS} 1"]
    assert [one.title for one in here.incidents()] == ["etl/load_a fails"]


def test_a_rule_that_is_the_last(database: Database, clock: FakeClock) -> None:
    first = rule(name="mine", match={"type": ["airflow.dag_run.*"], "dag_id": ["etl"]}, to=[DATA], last=True)
    here = town(database, clock, first, rule())
    here.fail("etl")
    here.fail("other")
    assert sorted(here.mail()) == [f"opened mine {DATA} 1", f"opened r {OPS} 1"]


def test_notices(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(match={"type": ["airflow.asset.updated"]}, notify_on=["notice"]))
    here.tell(asset_event(1))
    here.fail()
    assert here.mail() == [f"notice r {OPS} 1"]


def test_a_word_that_is_under_way_is_not_joined(database: Database, clock: FakeClock) -> None:
    """A mail that a worker has in its hand tells what it told when it was claimed."""
    here = town(database, clock, rule(group={"by": ["deployment"], "wait": "30s"}))
    here.fail("a")
    clock.forward(30)
    claimed = here.write(lambda connection: queue.claim(connection, clock(), timedelta(minutes=1)))
    here.fail("b")
    assert here.read(lambda connection: decisions.event_seqs(connection, claimed.notification_id, 10)) == [1]
    clock.forward(30)
    assert here.mail() == [f"opened r {OPS} 1"]


def test_a_thousand_failures_of_fifty_dags_in_a_minute(database: Database, clock: FakeClock) -> None:
    here = Town(database, default_config([OPS], []), clock)
    events = []
    mails = []
    for number in range(1_000):
        events.append(here.fail(f"dag_{number % 50}"))
        clock.forward(0.06)
        if number % 100 == 99:
            mails += here.mail()
    assert len(mails) == 50
    assert {one.split()[0] for one in mails} == {"opened"}
    clock.forward(5 * HOUR)
    later = here.mail()
    assert len(later) == 50
    assert sum(int(one.split()[-1]) for one in mails + later) == 1_000
    for event in events:
        (decision,) = here.why(event)
        assert decision.notification_id is not None
        assert decision.reason


def watch_event(kind: str, dag_id: str) -> dict[str, Any]:
    """As the watches tell it (tests/contract/windsock.run.missing.json)."""
    raw: dict[str, Any] = json.loads((CONTRACT / f"windsock.run.{kind}.json").read_text())["event"]
    return raw | {"id": f"{raw['id']}:{dag_id}", "data": raw["data"] | {"dag_id": dag_id}, "time": moment()}


def test_what_one_look_of_the_watches_finds_is_one_mail(database: Database, clock: FakeClock) -> None:
    here = Town(database, default_config([OPS], []), clock)
    here.tell(*(watch_event("missing", f"dag_{number}") for number in range(20)))
    clock.forward(10)
    assert here.mail() == [f"opened watches {OPS} 20"]


@pytest.mark.parametrize(("run_type", "state"), [("scheduled", "closed"), ("manual", "open")])
def test_a_run_that_begins_is_no_longer_missing(
    database: Database, clock: FakeClock, run_type: str, state: str
) -> None:
    here = Town(database, default_config([OPS], []), clock)
    here.tell(watch_event("missing", "etl"))
    clock.forward(60)
    here.succeed(run_type=run_type)
    assert here.incidents()[0].state == state


def test_a_key_is_never_longer_than_its_column(database: Database, clock: FakeClock) -> None:
    here = town(database, clock, rule(match={"type": ["windsock.asset.*"]}))
    raw = json.loads((CONTRACT / "windsock.asset.stale.json").read_text())["event"]
    raw["data"]["asset"]["uri"] = raw["subject"] = "s3://bucket/" + "x" * 1_200
    raw["time"] = moment()
    here.tell(raw)
    assert len(here.incidents()[0].key) <= 300


@pytest.mark.parametrize("trouble", ["a program's", "the database's"])
def test_an_event_at_which_the_rules_fail_stops_no_other(
    database: Database, clock: FakeClock, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    here = town(database, clock, rule(match={"type": ["airflow.dag_run.*"]}))

    def choose(_rule: object, _kind: object, _event_type: str) -> str:
        if trouble == "a program's":
            raise KeyError("no such template")
        return "x" * 200 if database.engine.dialect.name == "postgresql" else None  # type: ignore[return-value]

    telling, well = NotificationWindow(timedelta(hours=24)), here.engine
    here.engine = Engine(lambda: here.rules, telling, choose, "example.com", here.metrics)
    event = here.fail()
    here.engine = well
    here.fail("other")

    (decision,) = here.why(event)
    assert "the rules failed" in decision.reason
    assert here.mail() == [f"opened r {OPS} 1"]
    assert here.metrics.undecided._value.get() == 1
    assert event.id in caplog.text


def test_an_opening_is_news_and_joins_no_follow_up(database: Database, clock: FakeClock) -> None:
    """A follow-up may be due in hours; without `recovered` it waits past the incident's end."""
    here = town(database, clock, rule(notify_on=["first_failure"]))
    here.fail()
    here.mail()
    here.fail()
    clock.forward(60)
    here.succeed()
    clock.forward(60)
    here.fail()
    assert here.mail() == [f"opened r {OPS} 1"]


@pytest.mark.parametrize("of", ["run", "task"])
def test_a_test_of_a_dag_is_logged_and_changes_nothing(database: Database, clock: FakeClock, of: str) -> None:
    """`airflow dags test` and `airflow tasks test`: no mail, no incident opened, none closed."""
    notify_on = ["first_failure", "recovered", "success", "notice"]
    here = town(database, clock, rule(match={"type": ["airflow.*"]}, notify_on=notify_on))
    tested: dict[str, Any] = {"run_id": "manual__test", "run_type": "test"}
    if of == "task":  # which says of no run type: its run does
        here.tell(run_event("running", **tested))
        del tested["run_type"]
    make = run_event if of == "run" else task_event
    here.tell(make("failed", **tested))
    assert (here.mail(), here.incidents()) == ([], [])
    here.tell(make("failed"))
    assert here.mail() == [f"opened r {OPS} 1"]
    clock.forward(60)
    ended = here.tell(make("success", **tested))
    here.tell(task_event("success", run_id="__airflow_temporary_run_2026-11-22T10:00:00+00:00__"))
    assert here.mail() == []
    [incident] = here.incidents()
    assert incident.is_open
    assert {one.reason for one in here.why(*ended)} == {
        "suppressed: a test (airflow dags test, airflow tasks test) is no production"
    }
