"""Airflow's own services killed while runs are in flight, one after the other. dags/held.py.

What is told of a try that a dead scheduler left comes half a minute later. The next story does not wait for
it: test_scenarios.py does.
"""

from collections.abc import Callable

from tests.scenarios.scenario import Scenario
from tests.scenarios.stage import QUICK_TO_TAKE_OVER, Stage

RUNS = 2
HEARTBEAT_SECONDS = 120.0  # Airflow takes 10 to 30 s to call a component unhealthy


def in_flight(stage: Stage, dag_id: str) -> None:
    """Begin runs and wait until the first task of each is running."""
    for _ in range(RUNS):
        stage.trigger(dag_id)
    until_first_tasks(stage, dag_id, "running")


def until_first_tasks(stage: Stage, dag_id: str, state: str) -> None:
    query = "SELECT 1 FROM task_instance WHERE dag_id = ? AND task_id = 'one' AND state = ?"
    stage.until(
        lambda: len(stage.airflow.query(query, dag_id, state)) == RUNS, 60, f"{dag_id}'s first tasks {state}"
    )


def goes_on(stage: Stage, dag_id: str, component: str) -> None:
    """Start the component anew; the runs end somehow, which is Airflow's affair."""
    stage.airflow.environment |= QUICK_TO_TAKE_OVER
    stage.airflow.restart(component)
    stage.signal(f"{dag_id}-goes-on")
    stage.until_ended(dag_id, RUNS)


def killed(dag_id: str, component: str) -> Callable[[Stage], None]:
    """A component is lost with all that it forked."""

    def play(stage: Stage) -> None:
        in_flight(stage, dag_id)
        stage.airflow.kill(component)
        goes_on(stage, dag_id, component)

    return play


def killed_scheduler(stage: Stage) -> None:
    """Its tasks live on and end without it. They hold its connections to the database, and with them its
    locks, so no other scheduler gets on until they are gone."""
    dag_id = "killed_scheduler"
    in_flight(stage, dag_id)
    stage.airflow.kill("scheduler", with_children=False)
    stage.signal(f"{dag_id}-goes-on")
    until_first_tasks(stage, dag_id, "success")
    stage.airflow.kill_orphans()
    goes_on(stage, dag_id, "scheduler")


def dead_components(stage: Stage) -> None:
    """Airflow's api-server goes on answering, and no hook says that the others are gone."""
    dead = {"triggerer": "triggerer", "dag-processor": "dag_processor", "scheduler": "scheduler"}
    for component in dead:
        stage.airflow.kill(component)
    for name in dead.values():
        stage.until_event(HEARTBEAT_SECONDS, "airflow.component.unhealthy", component=name)
    for component in dead:
        stage.airflow.restart(component)
    for name in dead.values():
        stage.until_event(HEARTBEAT_SECONDS, "airflow.component.recovered", component=name)


SERVICES = (
    Scenario(
        "killed_scheduler",
        "SIGKILL of the scheduler; its tasks live on",
        killed_scheduler,
    ),
    Scenario(
        "killed_scheduler_and_tasks",
        "SIGKILL of the scheduler and its tasks",
        killed("killed_scheduler_and_tasks", "scheduler"),
    ),
    Scenario(
        "killed_api_server",
        "SIGKILL of the api-server",
        killed("killed_api_server", "api-server"),
    ),
    Scenario("dead_components", "SIGKILL of triggerer, dag-processor and scheduler", dead_components),
)
