"""Airflow that does not answer, mail that does not go out; and whatever else may go wrong in a look."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitor.airflow.client import COMPONENTS
from monitor.database.engine import Database
from monitor.database.schema import watch_findings
from monitor.events.identity import stamp
from monitor.notifications.outbox.queries import ChannelOutage
from monitor.rules.model import Watch
from monitor.watches.observation import MAX_RUNS, SETTLING
from tests.unit.airflow_api_fake import FakeAirflow, serving
from tests.unit.conftest import NOW, FakeClock
from tests.unit.watch_support import Scene, kinds, play, run, told_run, told_update

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


def test_airflow_that_does_not_answer_is_told_and_that_it_does_again(
    fake: FakeAirflow, database: Database
) -> None:
    async def act(on: Scene) -> None:
        await on.look()
        since = on.silent_since = on.fake.clock()
        assert await on.look_for(4 * MINUTE) == []
        (told,) = await on.look()
        assert (told["type"], told["subject"]) == ("windsock.airflow.unreachable", "local")
        assert told["data"]["since"] == stamp(since)
        assert told["data"]["error"] == "no answer from Airflow"
        assert await on.look_for(HOUR) == []
        on.start()
        on.silent_since, on.known = None, False  # the next process has not asked yet
        assert await on.look() == []
        on.silent_since = on.fake.clock()  # and counts from its own start
        assert await on.look_for(HOUR) == []
        on.silent_since, on.known = None, True
        (over,) = await on.look()
        assert (over["type"], over["id"]) == ("windsock.airflow.recovered", told["id"] + ":recovered")
        assert over["data"]["lasted_seconds"] == (on.fake.clock() - since).total_seconds()
        assert await on.look_for(HOUR) == []

    play(fake, database, act)


def test_a_short_silence_is_nothing(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        for _ in range(5):
            on.silent_since = on.fake.clock()
            assert await on.look_for(4 * MINUTE) == []
            on.silent_since = None
            assert await on.look() == []

    play(fake, database, act)


def component(status: str | None, heartbeat: datetime | None) -> dict[str, Any]:
    beats = {f"latest_{name}_heartbeat": stamp(heartbeat) if heartbeat else None for name in COMPONENTS}
    return {"status": status, **beats}


def test_a_dead_component_is_told_and_that_it_runs_again(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        beat = on.fake.clock()
        fake.health = {
            "metadatabase": {"status": "healthy"},
            "scheduler": component("healthy", beat),
            "triggerer": component("unhealthy", beat),
            "dag_processor": component(None, None),  # never started
        }
        assert await on.look() == []
        (told,) = await on.look_for(3 * MINUTE)
        assert (told["type"], told["subject"]) == ("airflow.component.unhealthy", "triggerer")
        data = told["data"]
        assert (data["component"], data["status"], data["latest_heartbeat"]) == (
            *("triggerer", "unhealthy"),
            stamp(beat),
        )
        assert "the triggerer is unhealthy since 2026-11-22" in data["what"]
        on.start()  # in another replica, or after a restart
        assert await on.look_for(10 * MINUTE) == []
        fake.health_status = 503  # no answer is none
        assert await on.look_for(10 * MINUTE) == []
        assert on.count("windsock_watch_errors_total", watch="component") == 10
        fake.health_status = 200
        fake.health["triggerer"] = component(None, None)  # its row was cleaned away
        assert await on.look_for(10 * MINUTE) == []
        fake.health["triggerer"] = component("healthy", on.fake.clock())
        (over,) = await on.look()
        assert (over["type"], over["id"]) == ("airflow.component.recovered", told["id"] + ":recovered")
        assert over["data"]["lasted_seconds"] == (on.fake.clock() - beat).total_seconds()
        assert await on.look_for(HOUR) == []

    play(fake, database, act)


def test_each_death_of_a_component_is_another_one(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        ids = set()
        for _ in range(2):
            fake.health = {name: component("unhealthy", on.fake.clock()) for name in COMPONENTS}
            told = await on.look_for(3 * MINUTE)
            assert sorted(one["subject"] for one in told) == sorted(COMPONENTS)
            ids |= {one["id"] for one in told}
            fake.health = {name: component("healthy", on.fake.clock()) for name in COMPONENTS}
            assert len(await on.look()) == 3
        assert len(ids) == 6

    play(fake, database, act)


def test_a_component_without_a_heartbeat_counts_from_the_first_look(
    fake: FakeAirflow, database: Database
) -> None:
    async def act(on: Scene) -> None:
        fake.health = {"scheduler": component("unhealthy", None)}
        assert await on.look_for(2 * MINUTE) == []
        (told,) = await on.look()
        assert told["data"]["latest_heartbeat"] is None
        assert await on.look_for(10 * MINUTE) == []

    play(fake, database, act)


@pytest.mark.parametrize("health", [{}, {"scheduler": None}, {"scheduler": "healthy"}, {"triggerer": {}}])
def test_an_odd_answer_about_components_is_nothing(
    fake: FakeAirflow, database: Database, health: dict[str, Any]
) -> None:
    async def act(on: Scene) -> None:
        fake.health = health
        assert await on.look_for(10 * MINUTE) == []

    play(fake, database, act)


def test_mail_that_does_not_go_out(fake: FakeAirflow, database: Database) -> None:
    error = "535 5.7.8 Username and Password not accepted"

    async def act(on: Scene) -> None:
        on.trouble = ChannelOutage(NOW, error)
        told = await on.look_for(10 * MINUTE)
        assert kinds(told) == ["mail.failing"]
        assert told[0]["data"]["error"] == error
        on.start()  # in another replica, or after a restart
        assert await on.look_for(10 * MINUTE) == []
        on.trouble = None
        assert kinds(await on.look_for(10 * MINUTE)) == ["mail.recovered"]

    play(fake, database, act)


def test_a_watch_that_is_off_or_of_another_airflow_tells_nothing(
    fake: FakeAirflow, database: Database
) -> None:
    config = [
        Watch(name="unreachable", watch="unreachable", off=True),
        Watch(name="mail", watch="mail", deployment=("other",)),
        Watch(name="component", watch="component", deployment=("other",)),
    ]

    async def act(on: Scene) -> None:
        fake.health = {"scheduler": component("unhealthy", NOW)}
        assert await on.look_for(HOUR) == []
        on.silent_since, on.trouble = NOW, ChannelOutage(NOW, "no")
        assert await on.look_for(HOUR) == []

    play(fake, database, act, config)


def test_more_runs_than_are_looked_at_are_no_reason_to_tell_or_to_end_anything(
    fake: FakeAirflow, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(on: Scene) -> None:
        on.know("etl", NOW)
        assert kinds(await on.look_for(HOUR)) == ["run.missing"]
        fake.runs = [run(f"dag_{number}", "queued", NOW) for number in range(MAX_RUNS + 1)]
        assert await on.look_for(3 * MINUTE) == []
        assert on.count("windsock_watch_errors_total", watch="missing") == 3
        assert on.count("windsock_watch_checks_total", result="error") == 3
        assert len([one for one in caplog.messages if f"more than {MAX_RUNS} runs are queued" in one]) == 1
        fake.runs = []
        assert await on.look_for(3 * MINUTE) == []
        assert on.count("windsock_watch_open_findings", watch="missing") == 1

    play(fake, database, act)


def test_a_database_that_fails_ends_no_loop_and_loses_nothing(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        on.know("etl", NOW)
        await on.look()
        database.write_now(watch_findings.drop)
        assert await on.look_for(30 * MINUTE) == []
        assert on.count("windsock_watch_checks_total", result="error") == 30
        database.write_now(watch_findings.create)
        assert kinds(await on.look_for(30 * MINUTE)) == ["run.missing"]

    play(fake, database, act)


def test_what_the_log_has_and_the_watches_forgot_is_told_once(fake: FakeAirflow, database: Database) -> None:
    """A crash between the two."""

    async def act(on: Scene) -> None:
        on.know("etl", NOW)
        assert kinds(await on.look_for(HOUR)) == ["run.missing"]
        database.write_now(lambda connection: connection.execute(watch_findings.delete()))
        on.start()
        assert await on.look_for(HOUR) == []
        assert on.count("windsock_watch_open_findings", watch="missing") == 1

    play(fake, database, act)


def test_every_watch_on_each_database(fake: FakeAirflow, database: Database) -> None:
    uri = "file:///model.pkl"
    fake.asset_rows = [{"id": 7, "uri": uri, "name": uri, "scheduled_dags": [{"dag_id": "release"}]}]
    fake.conditions = {"release": {"all": [{"asset": {"id": 7}}]}}
    fake.waiting = {"release": [7]}

    async def act(on: Scene) -> None:
        for dag_id in ("waits", "runs", "release", "train"):
            on.know(dag_id)
        on.know("absent", NOW + HOUR)
        await on.look_for(SETTLING)
        for number in range(6):
            at = NOW - (6 - number) * HOUR
            await on.take(told_run(run("runs", "success", at, at, 20 * MINUTE), at), told_update(number, at))
        await on.take(told_update(7, NOW + MINUTE))
        fake.runs = [run("waits", "queued", NOW + MINUTE), run("runs", "running", NOW, NOW)]
        told = await on.look_for(3 * HOUR)
        assert sorted(kinds(told)) == [
            *("asset.stale", "asset.unconsumed", "run.late", "run.missing", "run.stuck"),
        ]
        on.start()
        assert await on.look_for(HOUR) == []
        began = on.fake.clock()
        row = run("release", "running", began, began, run_type="asset_triggered")
        await on.take(told_run(row, began), told_update(8, began, created=["release"]))
        assert kinds(await on.look_for(2 * MINUTE)) == ["asset.recovered"]
        assert [on.count("windsock_watch_open_findings", watch=one) for one in ("stale", "late")] == [0, 1]

    play(fake, database, act)
