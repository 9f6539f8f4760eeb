"""Addresses into Airflow's pages (3.x: /dags/…/runs/…/tasks/…) and the monitor's own."""

from urllib.parse import quote

from monitor.render.story import Run, Story, Task


def airflow_dag(base: str, dag_id: str) -> str:
    return f"{base}/dags/{_part(dag_id)}"


def airflow_run(base: str, run: Run) -> str:
    return f"{airflow_dag(base, run.dag_id)}/runs/{_part(run.run_id)}"


def airflow_task(base: str, run: Run, task: Task) -> str:
    mapped = f"/mapped/{task.map_index}" if task.map_index >= 0 else ""
    return f"{airflow_run(base, run)}/tasks/{_part(task.task_id)}{mapped}?try_number={task.try_number}"


def airflow(base: str, story: Story) -> str:
    """The page of Airflow that is closest to what a story is about."""
    if story.run is None:
        return base
    if story.task is not None:
        return airflow_task(base, story.run, story.task)
    # What a watch says of a DAG may be of no run yet.
    return airflow_run(base, story.run) if story.run.run_id else airflow_dag(base, story.run.dag_id)


def monitor_run(base: str, run: Run) -> str:
    return f"{base}/runs/{_part(run.deployment)}/{_part(run.dag_id)}/{_part(run.run_id)}"


def monitor_incident(base: str, incident_id: int) -> str:
    return f"{base}/incidents/{incident_id}"


def monitor(base: str, story: Story) -> str:
    """The monitor's page that is closest to what a story is about."""
    if story.kind != "digest" and story.run is not None and story.run.run_id:
        return monitor_run(base, story.run)
    return monitor_incident(base, story.incident.id) if story.incident else base


def _part(name: str) -> str:
    """One segment of a path, whatever the name holds."""
    return quote(name, safe="", errors="replace")
