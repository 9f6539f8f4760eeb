"""Names in paths: which of Airflow's can stand in one."""

from urllib.parse import quote


def is_addressable(run_id: str) -> bool:
    """Whether Airflow can be asked for a run by a path. Whoever widens its allowed_run_id_pattern may have
    run ids with `/`, which no path of its REST API takes, however it is written (Airflow 3.0 to 3.3)."""
    return "/" not in run_id and run_id not in (".", "..")


def quoted(name: str) -> str:
    """A name as one part of a path. `.` and `..` would be taken out of it."""
    return quote(name, safe="") if name.strip(".") else "%2E" * len(name)


def run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quoted(dag_id)}/dagRuns/{quoted(run_id)}"
