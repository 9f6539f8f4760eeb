"""Tasks that wait for a person, who answers, does not, or has the run begin anew. dags/people.py."""

from collections.abc import Callable

from tests.scenarios.scenario import Scenario, Tries, ended, ran
from tests.scenarios.stage import RUN_SECONDS, Stage
from tests.scenarios.stories.by_hand import clear

WAITS = ("awaiting_input", "deferred")
"""The state of a task that waits for a person: in Airflow 3.3, and before."""
FIRST = (3, 1)


def until_asked(stage: Stage, dag_id: str) -> None:
    # Not at once: an answer while the task's process still runs makes Airflow fail the task.
    query = (
        "SELECT 1 FROM task_instance WHERE dag_id = ? AND task_id = 'asks' AND state IN (?, ?)"
        " AND updated_at < now() - interval '6 seconds'"
    )
    stage.until(lambda: stage.airflow.query(query, dag_id, *WAITS), RUN_SECONDS, f"{dag_id} to ask")


def answer(stage: Stage, dag_id: str, run_id: str) -> None:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/asks/-1/hitlDetails"
    stage.ask("PATCH", path, {"chosen_options": ["Approve"], "params_input": {}})


def answered(stage: Stage) -> None:
    dag_id = "hitl_answered"
    run_id = stage.trigger(dag_id)
    until_asked(stage, dag_id)
    answer(stage, dag_id, run_id)
    ended(stage, dag_id, states=("success",), tries={"asks": "success", "then": "success"})


def cleared(stage: Stage) -> None:
    """Both tasks are filed: the one that waited, and the one that had not begun, as try 0. That is reported
    while the task waits once more."""
    dag_id = "hitl_cleared"
    run_id = stage.trigger(dag_id)
    until_asked(stage, dag_id)
    clear(stage, dag_id, run_id)
    filed = "SELECT task_id FROM task_instance_history WHERE dag_id = ? ORDER BY task_id"
    stage.until(lambda: len(stage.airflow.query(filed, dag_id)) == 2, RUN_SECONDS, f"{dag_id} to be filed")
    until_asked(stage, dag_id)
    stage.until_told(dag_id)
    assert stage.runs(dag_id) == ["running"], "it no longer waits"
    answer(stage, dag_id, run_id)
    tries = {"asks": "failed, success", "then": "failed, success"}
    ended(stage, dag_id, states=("success",), tries=tries)


def waited(dag_id: str, state: str, tries: Tries) -> Callable[[Stage], None]:
    """Nobody answers."""

    def play(stage: Stage) -> None:
        ran(stage, dag_id, state=state, tries=tries)

    return play


PEOPLE = (
    Scenario("hitl_answered", "a person is asked, and answers", answered, since=FIRST),
    Scenario(
        "hitl_timed_out",
        "… does not answer in time",
        waited("hitl_timed_out", "failed", {"asks": "failed", "then": "upstream_failed"}),
        since=FIRST,
    ),
    Scenario(
        "hitl_default",
        "… does not answer, and there is a default",
        waited("hitl_default", "success", {"asks": "success", "then": "success"}),
        since=FIRST,
    ),
    Scenario("hitl_cleared", "… and the run is cleared meanwhile", cleared, since=FIRST),
)
