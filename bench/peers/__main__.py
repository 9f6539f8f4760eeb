"""What listeners add, one beside the other in one Airflow: `python -m bench.peers`, in an environment that
has the OpenLineage provider (requirements/bench-hooks.txt).

A real Airflow (LocalExecutor, SQLite) runs the same one-task DAG in turn under no listener, Windsock, the
OpenLineage provider's listener (HTTP transport to a sink on loopback, otherwise as it comes: it forks for
each of a task's events and waits) and a plain listener that posts with `requests` from the hook. Times are
taken around each hook, in the process where Airflow calls it. All are loaded in the same processes, so what
one has imported serves the others too: that favours the plain one and OpenLineage, whose imports at load are
not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

os.environ["WINDSOCK_TEST_AIRFLOW_ENV"] = sys.prefix  # before what reads it is imported

from bench.hooks import PLUGINS, SECRET, up
from tests.airflow_server import AirflowServer

HERE = Path(__file__).parent
PEERS = ("none", "windsock", "openlineage", "plain")
SCHEDULER = ("on_dag_run_running", "on_dag_run_success")
TASK = ("on_task_instance_running", "on_task_instance_success")
Times = dict[tuple[str, str], list[float]]


class Sink(BaseHTTPRequestHandler):
    """Takes anything."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30, help="runs for each listener")
    runs = parser.parse_args().runs
    sink = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{sink.server_address[1]}"
    with tempfile.TemporaryDirectory(prefix="windsock-bench-", dir="/tmp") as home, up() as monitor:
        times = Path(home) / "times"
        environment = {
            "PYTHONPATH": str(PLUGINS),
            "BENCH_TIMES": str(times),
            "BENCH_SINK": url,
            "AIRFLOW__WINDSOCK__MONITOR_URL": f"http://127.0.0.1:{monitor}",
            "AIRFLOW__WINDSOCK__INGEST_SECRET": SECRET,
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                {"type": "http", "url": url, "endpoint": "api/v1/lineage"}
            ),
        }
        with AirflowServer(HERE / "dags", plugins_folder=HERE / "plugins", env=environment) as airflow:
            for number in range(runs):
                for position in range(len(PEERS)):  # each of them comes first as often as the others
                    peer = PEERS[(number + position) % len(PEERS)]
                    airflow.wait_for_run(peer, airflow.trigger(peer))
        report(read(times))
    sink.shutdown()


def read(path: Path) -> Times:
    """Seconds by listener and hook; a task's hooks are added up, for they are one task's."""
    times: Times = defaultdict(list)
    tasks: dict[tuple[str, int], float] = defaultdict(float)
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record["hook"] in TASK:
            tasks[record["peer"], record["pid"]] += record["seconds"]
        times[record["peer"], record["hook"]].append(record["seconds"])
    for (peer, _), seconds in tasks.items():
        times[peer, "task: both hooks"].append(seconds)
    return times


def report(times: Times) -> None:
    print(
        f"{'hook':28} {'listener':12} {'calls':>6} {'median':>9} {'p99':>9} {'max':>9}   ms  OpenLineage/it"
    )
    for hook in (*SCHEDULER, *TASK, "task: both hooks"):
        other = statistics.median(times["openlineage", hook])
        for peer in PEERS:
            taken = sorted(times[peer, hook])
            middle, p99 = statistics.median(taken), taken[min(len(taken) - 1, len(taken) * 99 // 100)]
            shown = " ".join(f"{1000 * seconds:9.3f}" for seconds in (middle, p99, taken[-1]))
            ratio = "" if peer == "none" else f"{other / middle:8.1f}"
            print(f"{hook:28} {peer:12} {len(taken):6} {shown}       {ratio}")


if __name__ == "__main__":
    main()
