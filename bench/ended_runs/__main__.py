"""How late is what no hook reports of a run that has ended, at the monitor's default settings?

    python -m bench.ended_runs [--rounds 30] [--together 100]

A real Airflow on PostgreSQL (WINDSOCK_TEST_AIRFLOW_ENV) plays DAGs of tests/scenarios side by side, then many
runs of one DAG at once. Counted is from the run's end in Airflow's database until the log has all of it, and
beside it how late the run's own end is there, which a hook reports.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

import httpx

from tests.e2e.truth import Ending, endings, plain
from tests.scenarios.log import Telling
from tests.scenarios.stage import Stage, opened

DAGS = ("empty_operator", "upstream_failed", "skip_by_branch", "dagrun_timeout")
TOGETHER = "empty_operator"
RUN_SECONDS = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ended_runs")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--together", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder), {}) as stage:
        print(f"Airflow {stage.version}, {options.rounds} runs of each DAG, four at a time")
        for number in range(1, options.rounds + 1):
            for dag_id in DAGS:
                stage.trigger(dag_id)
            for dag_id in DAGS:
                stage.until_ended(dag_id, number)
        stage.until_told(*DAGS)
        seen = endings(stage.airflow)
        for dag_id in DAGS:
            show(stage, dag_id, [ending for ending in seen if ending.origin == dag_id])
        for _ in range(options.together):
            stage.ask("POST", f"/dags/{TOGETHER}/dagRuns", {"logical_date": None})
        stage.until_ended(TOGETHER, options.rounds + options.together)
        stage.until_told(TOGETHER)
        known_ids = {ending.ids for ending in seen}
        show(
            stage,
            f"{options.together} at once",
            [e for e in endings(stage.airflow) if e.ids not in known_ids],
        )
        requests(stage)


def show(stage: Stage, name: str, held: Sequence[Ending]) -> None:
    """Print how late the states are that no hook reported, from their run's end, and those ends."""
    log = {plain(str(logged_event.event["id"])): logged_event for logged_event in stage.log.read()}
    pairs = [(ending, log[event_id]) for ending in held for event_id in ending.ids if event_id in log]
    ends = {
        run_of(logged_event): ending.moment
        for ending, logged_event in pairs
        if ending.ids[0].startswith("run:")
    }
    late: dict[str, list[float]] = {"run's end": [], "what no hook reports": []}
    for ending, logged_event in pairs:
        end = ends.get(run_of(logged_event))
        is_run = ending.ids[0].startswith("run:")
        if end and (is_run or logged_event.reporter == "reconciler"):
            seconds = (logged_event.received_at - end).total_seconds()
            late["run's end" if is_run else "what no hook reports"].append(max(0.0, seconds))
    for what, found in late.items():
        if len(found) > 1:
            p99 = quantiles(found, n=100, method="inclusive")[98]
            print(
                f"{name:18} {what:21} {len(found):4}  median {median(found):.2f} s  p99 {p99:.2f} s"
                f"  worst {max(found):.2f} s"
            )


def run_of(logged_event: Telling) -> tuple[str, str]:
    data = logged_event.event["data"]
    return str(data["dag_id"]), str(data["run_id"])


def requests(stage: Stage) -> None:
    """Print what Airflow was asked for it."""
    for line in httpx.get(f"{stage.monitor.url}/metrics", trust_env=False).text.splitlines():
        if line.startswith(
            ("windsock_reconcile_ended_runs_total", "windsock_reconcile_request_seconds_count")
        ):
            print(line)


if __name__ == "__main__":
    main()
