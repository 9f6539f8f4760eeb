"""What people do over Airflow's REST API: mark, set back, clear. dags/held.py."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import httpx

from tests.scenarios.scenario import Scenario, Tries, ended, ran
from tests.scenarios.stage import Stage

GOOD = {"one": "success", "two": "success"}


def mark_task(stage: Stage, dag_id: str, run_id: str, task_id: str, state: str) -> None:
    """Airflow 3.3 answers 409 where the task is in that state already."""
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
    try:
        stage.ask("PATCH", path, {"new_state": state})
    except httpx.HTTPStatusError as refused:
        if refused.response.status_code != httpx.codes.CONFLICT or stage.tries(dag_id)[task_id] != state:
            raise


def mark_run(stage: Stage, dag_id: str, run_id: str, state: str) -> None:
    stage.ask("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", {"state": state})


def clear(stage: Stage, dag_id: str, run_id: str, *task_ids: str) -> None:
    """Clear these tasks of a run, or all of it."""
    body = {"dag_run_id": run_id, "dry_run": False, "only_failed": False, "reset_dag_runs": True}
    tasks = {"task_ids": list(task_ids)} if task_ids else {}
    stage.ask("POST", f"/dags/{dag_id}/clearTaskInstances", {**body, **tasks})


Mark = Callable[[Stage, str, str, str], None]
"""Stage, DAG, run, state."""


def mark_last_task(stage: Stage, dag_id: str, run_id: str, state: str) -> None:
    mark_task(stage, dag_id, run_id, "two", state)


def marked(mark: Mark, dag_id: str, *states: str) -> Callable[[Stage], None]:
    """A run that succeeded, or its last task, is set to one state after the other; each change is told."""
    kind, task = ("task_instance", {"task_id": "two"}) if mark is mark_last_task else ("dag_run", {})

    def play(stage: Stage) -> None:
        run_id = ran(stage, dag_id, state="success", tries=GOOD)
        for state in states:
            mark(stage, dag_id, run_id, state)
            stage.until_told(dag_id)
        changes = [state for before, state in pairwise(("success", *states)) if state != before]
        told = stage.told_states(f"airflow.{kind}.", dag_id=dag_id, **task)
        assert told == ["success", *changes], f"told in this order: {told}"

    return play


def task_marked_running(stage: Stage) -> None:
    dag_id = "task_marked_running"
    run_id = stage.trigger(dag_id)
    stage.until_in_state(dag_id, "one", "running")
    mark_task(stage, dag_id, run_id, "one", "success")
    ended(stage, dag_id, states=("success",), tries=GOOD)


def run_marked(
    dag_id: str, state: str, tries: Tries, but: Mapping[str, Tries] | None = None
) -> Callable[[Stage], None]:
    """A run is marked while its first task is running; Airflow ends that task, too.

    `but`: what becomes of its tasks on some versions instead.
    """

    def play(stage: Stage) -> None:
        run_id = stage.trigger(dag_id)
        stage.until_in_state(dag_id, "one", "running")
        mark_run(stage, dag_id, run_id, state)
        ended(stage, dag_id, states=(state,), tries=(but or {}).get(stage.version, tries))

    return play


def rerun(dag_id: str, again: Callable[[Stage, str], None], *tasks: str) -> Callable[[Stage], None]:
    """A run that succeeded runs again, as a new occurrence; these tasks have another try."""

    def play(stage: Stage) -> None:
        run_id = ran(stage, dag_id, state="success", tries=GOOD)
        again(stage, run_id)
        tries = {task: "success, success" if task in tasks else "success" for task in GOOD}
        stage.until(lambda: stage.tries(dag_id) == tries, 120, f"{dag_id} to run again")
        ended(stage, dag_id, states=("success",), tries=tries)
        told = stage.told_states("airflow.dag_run.", dag_id=dag_id)
        assert told == ["success", "success"], f"told: {told}"

    return play


BY_HAND = (
    Scenario("task_marked_running", "a running task marked as success", task_marked_running),
    Scenario(
        "task_marked_failed",
        "a task marked as failed",
        marked(mark_last_task, "task_marked_failed", "failed"),
    ),
    Scenario(
        "task_marked_skipped",
        "a task marked as skipped",
        marked(mark_last_task, "task_marked_skipped", "skipped"),
    ),
    Scenario(
        "task_marked_twice",
        "the same mark twice",
        marked(mark_last_task, "task_marked_twice", "failed", "failed"),
    ),
    Scenario(
        "task_set_back",
        "a task set by hand and set back, twice",
        marked(mark_last_task, "task_set_back", "failed", "success", "failed", "success"),
    ),
    Scenario(
        "run_marked_success",
        "a running run marked as success",
        run_marked(
            "run_marked_success",
            "success",
            {"one": "success", "two": "skipped"},
            dict.fromkeys(("3.0.2", "3.1.8", "3.2.2"), GOOD),
        ),
    ),
    Scenario(
        "run_marked_failed",
        "a running run marked as failed",
        run_marked("run_marked_failed", "failed", {"one": "failed", "two": "skipped"}),
    ),
    Scenario(
        "run_marked_twice", "a run marked twice", marked(mark_run, "run_marked_twice", "failed", "failed")
    ),
    Scenario(
        "run_set_back",
        "a run set by hand and set back, twice",
        marked(mark_run, "run_set_back", "failed", "success", "failed", "success"),
    ),
    Scenario(
        "run_cleared",
        "a run cleared; it runs again",
        rerun("run_cleared", lambda stage, run_id: clear(stage, "run_cleared", run_id), "one", "two"),
    ),
    Scenario(
        "task_cleared",
        "a task cleared; it runs again",
        rerun("task_cleared", lambda stage, run_id: clear(stage, "task_cleared", run_id, "two"), "two"),
    ),
    Scenario(
        "run_queued_again",
        "a run set to queued; it runs again",
        rerun(
            "run_queued_again", lambda stage, run_id: mark_run(stage, "run_queued_again", run_id, "queued")
        ),
    ),
)
