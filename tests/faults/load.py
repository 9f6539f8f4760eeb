"""The load: runs of every DAG, in turn, so many at once, for as long as the faults go on."""

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from random import Random
from types import TracebackType

import httpx

from tests.airflow_server import AirflowServer

DAGS = ("succeeds", "fails", "retries", "skips", "maps", "fragile")
IN_FLIGHT = 12  # runs: some wait for Airflow to find what died, and the executor still has something to do
LOOK_SECONDS = 0.5
STOP_SECONDS = 60.0  # a request that hangs on a dying api-server ends by its own timeout
ENDED = "SELECT count(*) FROM dag_run WHERE state IN ('success', 'failed')"
UNFINISHED = ENDED.replace(" IN ", " NOT IN ")

logger = logging.getLogger(__name__)


class Load:
    """`with Load(airflow, seed): …` triggers runs from a thread of its own.

    A trigger that fails is no matter: the next one comes.
    """

    def __init__(self, airflow: AirflowServer, seed: int) -> None:
        order = list(DAGS)
        Random(f"{seed} load").shuffle(order)  # noqa: S311 (to be repeated, not to be secret)
        self._dags = cycle(order)
        self._airflow = airflow
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1, "load")
        self._work: Future[None] | None = None

    def __enter__(self) -> "Load":
        """Wait until every DAG is known, then begin."""
        for dag_id in DAGS:
            self._airflow.wait_for_dag(dag_id)
        self._work = self._thread.submit(self._run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Trigger no more. Raises what the thread died of."""
        self._stop.set()
        assert self._work is not None
        self._work.result(STOP_SECONDS)

    def unfinished(self) -> int:
        """How many runs have not ended."""
        return int(self._airflow.query(UNFINISHED)[0][0])

    def ended(self) -> int:
        """How many runs have."""
        return int(self._airflow.query(ENDED)[0][0])

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            for _ in range(self.unfinished(), IN_FLIGHT):
                if self._stop.is_set():
                    return
                self._trigger(next(self._dags))

    def _trigger(self, dag_id: str) -> None:
        try:
            self._airflow.api("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None})
        except httpx.HTTPError as error:
            logger.debug("%s was not triggered: %r", dag_id, error)
