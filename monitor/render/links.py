"""Addresses into Airflow's pages (3.x: /dags/…/runs/…/tasks/…) and the monitor's own."""

from urllib.parse import quote

from monitor.render.story import Run, Task


def airflow_run(base: str, run: Run) -> str:
    return f"{base}/dags/{_part(run.dag_id)}/runs/{_part(run.run_id)}"


def airflow_task(base: str, run: Run, task: Task) -> str:
    mapped = f"/mapped/{task.map_index}" if task.map_index >= 0 else ""
    return f"{airflow_run(base, run)}/tasks/{_part(task.task_id)}{mapped}?try_number={task.try_number}"


def monitor_run(base: str, run: Run) -> str:
    return f"{base}/runs/{_part(run.deployment)}/{_part(run.dag_id)}/{_part(run.run_id)}"


def _part(name: str) -> str:
    """One segment of a path, whatever the name holds."""
    return quote(name, safe="", errors="replace")
