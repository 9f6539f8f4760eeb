"""Airflow's own services killed while runs are in flight, one after the other. dags/held.py."""

from collections.abc import Callable

from tests.scenarios.scenario import Scenario
from tests.scenarios.stage import QUICK_TO_TAKE_OVER, Stage

RUNS = 2


def killed(dag_id: str, component: str, with_children: bool) -> Callable[[Stage], None]:
    """Runs whose first task is running outlive the death of a component. What becomes of them is Airflow's
    affair; that they end, and are told, is ours."""

    def play(stage: Stage) -> None:
        for _ in range(RUNS):
            stage.trigger(dag_id)
        running = "SELECT 1 FROM task_instance WHERE dag_id = ? AND task_id = 'one' AND state = 'running'"
        stage.until(
            lambda: len(stage.airflow.query(running, dag_id)) == RUNS, 60, f"{dag_id} to be in flight"
        )
        stage.airflow.kill(component, with_children)
        stage.signal(f"{dag_id}-goes-on")
        stage.airflow.environment |= QUICK_TO_TAKE_OVER
        stage.airflow.restart(component)
        stage.until_ended(dag_id, RUNS)
        stage.until_told(dag_id)

    return play


SERVICES = (
    Scenario(
        "killed_scheduler",
        "SIGKILL of the scheduler; its tasks live on",
        killed("killed_scheduler", "scheduler", with_children=False),
    ),
    Scenario(
        "killed_scheduler_and_tasks",
        "SIGKILL of the scheduler and its tasks",
        killed("killed_scheduler_and_tasks", "scheduler", with_children=True),
    ),
    Scenario(
        "killed_api_server",
        "SIGKILL of the api-server",
        killed("killed_api_server", "api-server", with_children=True),
    ),
)
