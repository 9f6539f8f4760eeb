"""How late is what no hook reports of a run that has ended, at the monitor's default settings?

    python -m bench.ended_runs [--rounds 30] [--together 100]

A real Airflow on PostgreSQL (WINDSOCK_TEST_AIRFLOW_ENV) plays DAGs of tests/scenarios side by side, then many
runs of one DAG at once. Counted is from a task's end in Airflow's database until the log has it.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

import httpx

from tests.e2e.truth import Ending, endings, plain
from tests.scenarios.stage import Stage, opened

DAGS = ("empty_operator", "upstream_failed", "skip_by_branch", "dagrun_timeout")
TOGETHER = "empty_operator"
RUN_SECONDS = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ended_runs")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--together", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder), {}) as stage:
        print(f"Airflow {stage.version}, {asked.rounds} runs of each DAG, four at a time")
        for number in range(1, asked.rounds + 1):
            for dag_id in DAGS:
                stage.trigger(dag_id)
            for dag_id in DAGS:
                stage.until_ended(dag_id, number)
        stage.until_told(*DAGS)
        seen = endings(stage.airflow)
        for dag_id in DAGS:
            show(stage, dag_id, [ending for ending in seen if ending.origin == dag_id])
        for _ in range(asked.together):
            stage.ask("POST", f"/dags/{TOGETHER}/dagRuns", {"logical_date": None})
        stage.until_ended(TOGETHER, asked.rounds + asked.together)
        stage.until_told(TOGETHER)
        known = {ending.ids for ending in seen}
        show(stage, f"{asked.together} at once", [e for e in endings(stage.airflow) if e.ids not in known])
        requests(stage)


def show(stage: Stage, name: str, held: Sequence[Ending]) -> None:
    """Print how late the states of tasks are that the reconciler found."""
    log = {plain(str(telling.event["id"])): telling for telling in stage.log.read()}
    late = sorted(
        (telling.received_at - ending.moment).total_seconds()
        for ending in held
        if ending.moment
        and (telling := next((log[each] for each in ending.ids if each in log), None))
        and telling.reporter == "reconciler"
    )
    if len(late) > 1:
        p99 = quantiles(late, n=100, method="inclusive")[98]
        print(
            f"{name:20} {len(late):5}  median {median(late):.2f} s  p99 {p99:.2f} s  worst {late[-1]:.2f} s"
        )


def requests(stage: Stage) -> None:
    """Print what Airflow was asked for it."""
    for line in httpx.get(f"{stage.monitor.url}/metrics", trust_env=False).text.splitlines():
        if line.startswith(
            ("windsock_reconcile_ended_runs_total", "windsock_reconcile_asking_seconds_count")
        ):
            print(line)


if __name__ == "__main__":
    main()
