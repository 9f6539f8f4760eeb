"""What dies while runs are in flight, on `celery` and `scale`: nothing is lost and nothing doubled.

WINDSOCK_CHAOS_RUNS: how many runs (make test-chaos: 20). The short form, in make test-compose, has a few.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests import wait
from tests.compose.account import amiss_in_feeds, amiss_in_log, amiss_in_mails
from tests.compose.engine import docker
from tests.compose.reader import Reader
from tests.compose.stack import Stack

RUNS = int(os.environ.get("WINDSOCK_CHAOS_RUNS", "3"))
IN_FLIGHT = min(RUNS, int(os.environ.get("WINDSOCK_TRAINING_RUNS", "2")))
CUT_SECONDS = float(os.environ.get("WINDSOCK_CHAOS_CUT_SECONDS", "20"))
AWAY_SECONDS = float(os.environ.get("WINDSOCK_CHAOS_AWAY_SECONDS", "8"))  # before what was killed is back
READERS = 3
MORE_SECONDS = 180.0  # for the log to grow: a task or a comparison with Airflow is due before
RUNS_SECONDS = 300.0 + 60.0 * RUNS  # a dead worker's task holds its run for a minute or two
SETTLE_SECONDS = 240.0  # comparisons with Airflow, leases, retries, mails' grouping

pytestmark = pytest.mark.skipif(
    not {"celery", "scale"} <= set(os.environ.get("COMPOSE_PROFILES", "").split(",")),
    reason="the profiles celery and scale are not up",
)


@contextmanager
def dead(stack: Stack, service: str) -> Iterator[None]:
    """Killed without a word, and back at the end."""
    container = stack.engine.containers()[service]["Id"]
    docker("kill", "--signal=KILL", container)
    try:
        yield
    finally:
        docker("start", container)


@contextmanager
def cut_off(stack: Stack, service: str) -> Iterator[None]:
    """It reaches the load balancer no more; Airflow's own network stays."""
    container = stack.engine.containers()[service]["Id"]
    network = f"{os.environ['COMPOSE_PROJECT_NAME']}_events"
    docker("network", "disconnect", network, container)
    try:
        yield
    finally:
        docker("network", "connect", network, container)


def restarted(stack: Stack, service: str) -> None:
    docker("restart", stack.engine.containers()[service]["Id"])


def grown(stack: Stack, reader: Reader) -> None:
    """Something happens between two blows: the feed gets further than it was."""
    before = len(reader.events)
    wait.until(lambda: len(reader.events) > before or ended(stack), "the feed to go on", MORE_SECONDS)


def ended(stack: Stack) -> bool:
    """Every run: the training runs, and what starts from them."""
    return all(state in ("success", "failed") for _, state in stack.runs_by_id().values())


def running(stack: Stack) -> int:
    return [state for _, state in stack.runs_by_id().values()].count("running")


def blows(stack: Stack, reader: Reader) -> None:
    """One after the other; between them the feed goes on."""
    for service in ("monitor-1", "load-balancer"):
        with dead(stack, service):
            time.sleep(AWAY_SECONDS)  # it is away for as long, whatever happens meanwhile
        grown(stack, reader)
    restarted(stack, "monitor-postgres")
    grown(stack, reader)
    with cut_off(stack, "airflow-worker-2"):
        time.sleep(CUT_SECONDS)
    grown(stack, reader)
    with dead(stack, "airflow-worker-1"):
        time.sleep(AWAY_SECONDS)


def test_nothing_is_lost_or_doubled_whatever_dies(stack: Stack) -> None:
    with ExitStack() as beside:
        readers = [beside.enter_context(Reader(stack)) for _ in range(READERS)]
        wait.until(lambda: all(reader.connected for reader in readers), "the feeds", MORE_SECONDS)
        for _ in range(RUNS):
            stack.trigger("Airflow_Lab2", stack.bearer).raise_for_status()
        wait.until(lambda: running(stack) >= IN_FLIGHT, f"{IN_FLIGHT} runs in flight", MORE_SECONDS)
        blows(stack, readers[0])
        wait.until(lambda: ended(stack), "the runs' ends", RUNS_SECONDS)
        for amiss in (
            lambda: amiss_in_log(stack),
            lambda: amiss_in_mails(stack),
            lambda: amiss_in_feeds(stack, readers),
        ):
            wait.settled(amiss, SETTLE_SECONDS)
    assert all(reader.resumed for reader in readers)  # through the load balancer's death, if nothing else
    print(f"{RUNS} runs, {len(readers[0].events)} events, resumed {[r.resumed for r in readers]} times")  # noqa: T201


def test_both_workers_have_worked_and_told_it_themselves(stack: Stack) -> None:
    hosts = {
        event["data"]["hostname"]
        for event in stack.log()
        if event["type"] == "airflow.task_instance.success" and event["data"]["reported_by"] == "listener"
    }
    assert hosts == {"airflow-worker-1", "airflow-worker-2"}
