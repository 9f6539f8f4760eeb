"""Runs that end by themselves: dags/endings.py, dags/waits.py and dags/deaths.py, one DAG each."""

from tests.scenarios.scenario import ending

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
    ending("dagrun_timeout", "dagrun_timeout", "failed", {"sits": "skipped", "then": "skipped"}),
)
DEATHS = (
    ending("os_exit", "os._exit in the task", "failed", {"dies": "failed"}),
    ending("os_exit_retry", "os._exit, a retry left", "success", {"dies": "failed, success"}),
    ending("killed_task", "SIGKILL of the task", "failed", {"dies": "failed"}),
    ending("killed_task_retry", "SIGKILL of the task, a retry left", "success", {"dies": "failed, success"}),
    ending("killed_supervisor", "SIGKILL of task and supervisor", "failed", {"dies": "failed"}),
    ending(
        "killed_supervisor_retry",
        "SIGKILL of task and supervisor, a retry left",
        "success",
        {"dies": "failed, success"},
    ),
    ending(
        "killed_supervisor_callback",
        "SIGKILL of task and supervisor, with on_failure_callback",
        "failed",
        {"dies": "failed"},
    ),
    ending("not_on_workers", "a DAG that workers cannot import", "failed", {"one": "failed"}),
)
