"""Several monitors on one PostgreSQL: what one commits wakes the others, and who has which turn."""

import asyncio
from functools import partial
from pathlib import Path

from sqlalchemy.exc import OperationalError

from monitor.clock import utc_now
from monitor.concurrency import end
from monitor.database.leader_election import LOOK_SECONDS, FailedWorks, SingleNode, holders, run_as_leader
from monitor.database.postgresql import LOCK_TIMEOUT, PEER_GONE
from monitor.database.pubsub import ANSWER_SECONDS
from monitor.observability.metrics import Metrics
from monitor.settings import Settings
from tests import wait
from tests.postgres_server import PostgresServer
from tests.sample import START, run_event
from tests.unit.event_log.test_ingest import NUDGE
from tests.unit.replicas_support import WORKS, Replica, replicas
from tests.unit.web_support import FeedReader, SignInAirflow, with_sign_in

COMPARING = {"auth": "none"}
CUT_TURNS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'windsock % leader'"
)


def test_what_one_commits_wakes_the_other(settings: Settings, postgres_url: str, tmp_path: Path) -> None:
    with (
        replicas(settings, postgres_url, tmp_path, 2) as (one, other),
        FeedReader(other.url) as reader,
    ):
        one.post([run_event("running")])
        reader.wait_for(1)
        assert other.sample("windsock_notifications_received_total", topic="feed") >= 1


def test_a_replica_that_stops_gives_its_turns_back(
    settings: Settings, postgres_url: str, tmp_path: Path
) -> None:
    with replicas(settings, postgres_url, tmp_path, 2) as (one, other):
        assert other.turns == set()
        one.stop()
        wait.until(lambda: other.turns == WORKS, "the turns to move")
        database = other.app.state.services.database
        assert database.read_now(lambda connection: holders(connection, list(WORKS))).keys() == WORKS


def test_a_nudge_reaches_the_replica_that_compares(
    settings: Settings, postgres_url: str, tmp_path: Path
) -> None:
    """The asset is asked for long before the next comparison, though another replica was told of it."""
    with SignInAirflow().serving() as airflow:
        own = with_sign_in(settings, airflow).model_copy(update=COMPARING | {"reconcile_interval": 3600})
        with replicas(own, postgres_url, tmp_path, 2) as (one, other):
            wait.until(lambda: one.sample("windsock_leader", work="reconciler local"), "the turn")
            other.post([NUDGE])
            polls = {"deployment": "local", "result": "ok"}
            wait.until(lambda: one.sample("windsock_reconcile_polls_total", **polls), "Airflow to be asked")
            assert other.sample("windsock_reconcile_polls_total", **polls) == 0


def test_a_runs_end_reaches_the_replica_that_compares(
    settings: Settings, postgres_url: str, tmp_path: Path
) -> None:
    """Its tasks are asked for long before the next comparison, though another replica took the report."""

    def looked(monitor: Replica) -> float:
        results = ("complete", "left", "failed")
        name = "windsock_reconcile_ended_runs_total"
        return sum(monitor.sample(name, deployment="local", result=result) for result in results)

    with SignInAirflow().serving() as airflow:
        own = with_sign_in(settings, airflow).model_copy(update=COMPARING | {"reconcile_interval": 3600})
        with replicas(own, postgres_url, tmp_path, 2) as (one, other):
            wait.until(lambda: one.sample("windsock_leader", work="reconciler local"), "the turn")

            def reported() -> bool:
                # Again and again: what ended before the turn was taken is left to the polls.
                ago = (utc_now() - START).total_seconds()
                other.post([run_event(run_id=f"manual__{ago}", start=ago - 10)])
                return looked(one) > 0

            wait.until(reported, "Airflow to be asked")
            assert looked(other) == 0


def test_who_compares_is_known_to_all(settings: Settings, postgres_url: str, tmp_path: Path) -> None:
    def part(monitor: Replica, name: str) -> dict[str, str]:
        return dict(monitor.client.get("/health").json()["parts"].get(name, {"status": "", "detail": ""}))

    with SignInAirflow().serving() as airflow:
        own = with_sign_in(settings, airflow).model_copy(update=COMPARING | {"reconcile_interval": 0.2})
        with replicas(own, postgres_url, tmp_path, 2) as (one, other):
            wait.until(lambda: part(other, "reconciler local")["status"] == "ok", "the comparison")
            assert part(other, "reconciler local")["detail"] == "compared with the log by another replica"
            assert part(one, "reconciler local")["detail"] == "compared with the log"
            assert other.client.get("/health").status_code == 200
            replica, _, works = part(other, "replicas")["detail"].partition(": ")
            assert replica == one.app.state.services.settings.replica
            assert works == "retention, reminders, recoveries, reconciler local, watches"
            assert "compared with the log by another replica" in other.client.get("/").text
            airflow.away = True
            for each in (one, other):
                wait.until(lambda: part(each, "airflow local")["status"] == "down", "the failure")  # noqa: B023 (awaited here)
                assert each.client.get("/readyz").status_code == 200
            assert "its log says why" in part(other, "airflow local")["detail"]
            one.stop()
            airflow.away = False
            wait.until(lambda: part(other, "reconciler local")["detail"] == "compared with the log", "it")
            assert other.sample("windsock_leader", work="reconciler local") == 1


def test_a_lost_lock_ends_the_work_and_it_begins_anew(
    settings: Settings, postgres: PostgresServer, tmp_path: Path
) -> None:
    with replicas(settings, postgres.create(), tmp_path, 2) as pair:
        for _ in range(3):
            wait.until(partial(cut, postgres, pair, losses(pair)), "the loss to be noticed")
            wait.until(lambda: sorted(WORKS) == sorted([*pair[0].turns, *pair[1].turns]), "the turns")
        assert [each.fatal for each in pair] == [[], []]


def cut(postgres: PostgresServer, pair: list[Replica], before: float) -> bool:
    """Again and again: at a moment when both are just connecting anew there is nothing to cut."""
    postgres.query(CUT_TURNS)
    return losses(pair) > before


def losses(pair: list[Replica]) -> float:
    return sum(each.sample("windsock_dedicated_connections_lost_total", purpose="leader") for each in pair)


def test_work_that_ends_by_an_error_is_begun_again_and_a_defect_is_told() -> None:
    begun: list[str] = []
    metrics = Metrics()
    failed = FailedWorks(metrics, utc_now)
    at_work: asyncio.Event

    async def work() -> None:
        begun.append("")
        if len(begun) < 3:
            raise OperationalError("SELECT", {}, Exception("the database is gone"))
        if len(begun) < 5:
            assert len(failed.lately()) == len(begun) - 3
            raise ValueError("a defect")
        at_work.set()
        await asyncio.Event().wait()

    async def lead() -> None:
        nonlocal at_work
        at_work = asyncio.Event()
        turns = SingleNode(["work"], metrics)
        leading = asyncio.ensure_future(run_as_leader(turns, "work", work, failed, pause=0)())
        await at_work.wait()
        await end([leading])
        assert leading.cancelled()

    asyncio.run(asyncio.wait_for(lead(), 60))
    assert failed.lately()["work"].error == "ValueError: a defect"
    assert metrics.registry.get_sample_value("windsock_work_failures_total", {"work": "work"}) == 2


def test_the_holder_stops_before_the_server_gives_its_turn_away() -> None:
    """Of a host that vanishes, or a network that is cut, by the bounds of both sides."""
    assert LOOK_SECONDS + ANSWER_SECONDS < PEER_GONE
    assert LOCK_TIMEOUT > PEER_GONE
