"""Runs that end by themselves: dags/endings.py, dags/waits.py and dags/deaths.py, one DAG each."""

from tests.scenarios.scenario import Scenario, ending, ran
from tests.scenarios.stage import Stage

NOT_RETRIED = {"3.0.2": ("failed", {"dies": "failed"})}
SAID_NOT_RETRIED = {"3.0.2": "not retried"}


def killed_with_callback(stage: Stage) -> None:
    """Airflow 3.0 cannot process the file again, and leaves the task as it is."""
    dag_id = "killed_supervisor_callback"
    if stage.version != "3.0.2":
        ran(stage, dag_id, state="failed", tries={"dies": "failed"})
        return
    stage.trigger(dag_id)
    log = stage.airflow.log_file("dag-processor")
    stage.until(
        lambda: "coded Task callback" in log.read_text(errors="replace"), 120, "Airflow 3.0's mistake"
    )
    assert (stage.runs(dag_id), stage.tries(dag_id)) == (["running"], {"dies": "running"})


ENDINGS = (
    ending("success", "success", "success", {"one": "success", "two": "success"}),
    ending("failure", "failure", "failed", {"broken": "failed"}),
    ending(
        "retry", "a try fails, the next succeeds", "success", {"shaky": "failed, success", "then": "success"}
    ),
    ending("retries_exhausted", "every try fails", "failed", {"broken": "failed, failed, failed"}),
    ending(
        "upstream_failed",
        "upstream failed",
        "failed",
        {"broken": "failed", "never": "upstream_failed", "nor_this": "upstream_failed"},
    ),
    ending(
        "skip_by_branch",
        "skipped by a branch",
        "success",
        {"branch": "success", "left": "success", "right": "skipped"},
    ),
    ending(
        "skip_by_short_circuit",
        "skipped by a short circuit",
        "success",
        {"circuit": "success", "one": "skipped", "two": "skipped"},
    ),
    ending("skip_by_exception", "AirflowSkipException", "success", {"skips": "skipped", "then": "skipped"}),
    ending("empty_operator", "EmptyOperator", "success", {"one": "success", "two": "success"}),
    ending(
        "mapped",
        "mapped, one fails",
        "failed",
        {"part[0]": "success", "part[1]": "failed", "part[2]": "success"},
    ),
    ending("mapped_empty", "mapped over nothing", "success", {"none": "success", "part": "skipped"}),
    ending("template_error", "error in a template", "failed", {"broken": "failed"}),
    ending(
        "fail_fast",
        "siblings under fail_fast",
        "failed",
        {"broken": "failed", "sibling": "failed", "then": "skipped"},
    ),
    ending("deferred", "deferred to a trigger", "success", {"waits": "success"}),
    ending("deferred_too_long", "deferred for too long", "failed", {"waits": "failed"}),
    ending("rescheduled", "rescheduled sensor", "success", {"asks": "success"}),
    ending("execution_timeout", "execution_timeout", "failed", {"sits": "failed"}),
    ending(
        "dagrun_timeout",
        "dagrun_timeout",
        "failed",
        {"sits": "skipped", "then": "skipped"},
        but=dict.fromkeys(("3.0.2", "3.1.8"), ("failed", {"sits": "skipped", "then": "None"})),
        remarks=dict.fromkeys(("3.0.2", "3.1.8"), "what had not begun stays without a state"),
    ),
)
DEATHS = (
    ending("os_exit", "os._exit in the task", "failed", {"dies": "failed"}),
    ending(
        "os_exit_retry",
        "os._exit, a retry left",
        "success",
        {"dies": "failed, success"},
        but=NOT_RETRIED,
        remarks=SAID_NOT_RETRIED,
    ),
    ending("killed_task", "SIGKILL of the task", "failed", {"dies": "failed"}),
    ending(
        "killed_task_retry",
        "SIGKILL of the task, a retry left",
        "success",
        {"dies": "failed, success"},
        but=NOT_RETRIED,
        remarks=SAID_NOT_RETRIED,
    ),
    ending("killed_supervisor", "SIGKILL of task and supervisor", "failed", {"dies": "failed"}),
    ending(
        "killed_supervisor_retry",
        "SIGKILL of task and supervisor, a retry left",
        "success",
        {"dies": "failed, success"},
    ),
    Scenario(
        "killed_supervisor_callback",
        "SIGKILL of task and supervisor, with on_failure_callback",
        killed_with_callback,
        remarks={
            "3.0.2": "Airflow never ends it: the task stays running (NotImplementedError, again and again)"
        },
    ),
    ending("not_on_workers", "a DAG that workers cannot import", "failed", {"one": "failed"}),
)
