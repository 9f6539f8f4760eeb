"""Events of DAGs that Airflow has paused by itself."""

from dataclasses import dataclass
from datetime import datetime

from monitor.events.identity import digest, stamp
from monitor.events.model import Event
from monitor.events.watched import RECOVERED, Told, own_event

REMEDY = (
    "It makes no runs, and no other watch looks at it, until somebody mends the cause and unpauses it "
    "in Airflow"
)


@dataclass(frozen=True)
class Cause:
    """Why a DAG is taken to be paused by Airflow."""

    failed_runs: int
    """Its max_consecutive_failed_dag_runs: so many of its last runs failed."""
    is_certain: bool
    """Whether Airflow's audit log says so. Otherwise it was not to be read."""


def auto_paused_id(dag_id: str, pause: int) -> str:
    return f"dag_auto_paused:{digest(dag_id, str(pause))}"


def auto_paused(told: Told, dag_id: str, pause: int, cause: Cause) -> Event:
    """`pause`: the number of the DAG's pauses that the log knows."""
    who = "Airflow itself" if cause.is_certain else "Airflow itself, most likely"
    runs = "run" if cause.failed_runs == 1 else f"{cause.failed_runs} runs"
    why = f"its last {runs} failed, which is its max_consecutive_failed_dag_runs"
    data = {
        "what": f"{dag_id} was paused by {who}: {why}",
        "remedy": REMEDY,
        "since": stamp(told.now),
        "dag_id": dag_id,
        "failed_runs": cause.failed_runs,
        "is_certain": cause.is_certain,
    }
    return own_event(told, auto_paused_id(dag_id, pause), "windsock.dag.auto_paused", dag_id, data)


def dag_recovered(told: Told, what: str, dag_id: str, pause: int, since: datetime) -> Event:
    """A DAG is no longer paused by Airflow."""
    data = {
        "what": what,
        "since": stamp(since),
        "dag_id": dag_id,
        "lasted_seconds": (told.now - since).total_seconds(),
    }
    event_id = auto_paused_id(dag_id, pause) + RECOVERED
    return own_event(told, event_id, "windsock.dag.recovered", dag_id, data)
