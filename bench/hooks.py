"""What the plugin's hooks add to Airflow: `make bench-hooks`.

For each state of the monitor (up; down: the port is closed; hanging: it accepts and never answers), and once
without the plugin, a process of its own imports Airflow, makes Airflow's own listener managers and calls the
hooks through them with Airflow's own objects: in the scheduler's manner (one long-lived process, the drain
in its thread) and in a task's (forked for each task, ended with `os._exit`). *Added* is the time of the call
less the median of the same call without the plugin. For scale, with nothing of ours: `raw` is one file made,
written and renamed at that moment, `append` one write to a file that is open, `nobody` a hook that is
called and that no listener has. `append` lets the GIL go, as `os.write` does, so its p99 has the turns of the
drain thread in it; in the main thread our own write keeps the GIL.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from bench.hooks_calls import FOR_SCALE, Samples, timed

if TYPE_CHECKING:
    from airflow_windsock.spool import Spool

ROOT = Path(__file__).parents[1]
PLUGINS = ROOT / "plugins"
SECRET = "whsec_" + base64.b64encode(b"bench" * 8).decode()
CASES = ("up", "down", "hanging")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hooks", type=int, default=300, help="calls of each scheduler hook")
    parser.add_argument("--tasks", type=int, default=200, help="forked task processes")
    parser.add_argument(
        "--between",
        choices=("work", "idle"),
        default="work",
        help="what goes on between two hooks: a scheduler's queries, or nothing, and caches grow cold",
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, help="the monitor's states")
    options = parser.parse_args()
    os.environ["BENCH_BETWEEN"] = options.between
    counts = {
        kind: count for kind, count in (("scheduler", options.hooks), ("tasks", options.tasks)) if count
    }
    base = {kind: measure(kind, count, None, None) for kind, count in counts.items()}
    print(f"{'monitor':9} {'hook':46} {'without':>8} {'median':>8} {'p99':>8} {'max':>9}   added, ms")
    for case in options.cases:
        with MONITORS[case]() as port:
            for kind, count in counts.items():
                report(case, base[kind], measure(kind, count, port, "kept"))
    if options.tasks and "hanging" in options.cases:
        with MONITORS["hanging"]() as port:
            report("hanging*", base["tasks"], measure("tasks", 20, port, "forgotten"))
        print("* the shared back-off is deleted before each task, so that each is the first to find out")
    durability()


def report(case: str, base: Samples, samples: Samples) -> None:
    for hook, seconds in samples.items():
        without = 0.0 if hook in FOR_SCALE else statistics.median(base[hook])
        added = sorted(1000 * (second - without) for second in seconds)
        p99 = added[min(len(added) - 1, int(len(added) * 0.99))]
        middle = statistics.median(added)
        print(f"{case:9} {hook:46} {1000 * without:8.3f} {middle:8.3f} {p99:8.3f} {added[-1]:9.3f}")


def measure(kind: str, count: int, port: int | None, backoff: str | None) -> Samples:
    """Runs a worker with a home of its own; `port` None: without the plugin."""
    home = tempfile.mkdtemp(prefix="windsock-bench-", dir="/tmp")
    (Path(home) / "none").mkdir()
    environment = os.environ | {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS if port else Path(home) / "none"),
        "BENCH_FORGET_BACKOFF": "1" if backoff == "forgotten" else "",
    }
    if port:
        environment["AIRFLOW__WINDSOCK__MONITOR_URL"] = f"http://127.0.0.1:{port}"
        environment["AIRFLOW__WINDSOCK__INGEST_SECRET"] = SECRET
    command = [sys.executable, "-W", "ignore", "-m", "bench.hooks_calls", kind, str(count)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)
    samples: Samples = json.loads(done.stdout.splitlines()[-1])
    return samples


class Taking(BaseHTTPRequestHandler):
    """Takes every event."""

    def do_POST(self) -> None:
        batch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(
            {"results": [{"id": event["id"], "status": "accepted"} for event in batch]}
        ).encode()
        self.send_response(202)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@contextmanager
def up() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@contextmanager
def down() -> Iterator[int]:
    with socket.socket() as bound:  # and not listening: every connection is refused
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def hanging() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(4096)  # the kernel accepts, nobody ever answers
        yield listening.getsockname()[1]


MONITORS = {"up": up, "down": down, "hanging": hanging}


def durability(count: int = 500) -> None:
    """What flushing each event to the disk would cost a hook."""
    sys.path.insert(0, str(PLUGINS))
    from airflow_windsock.spool import Spool

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        spool = Spool(Path(folder) / "spool", count * 2, 10**9)
        body = json.dumps({"id": "x", "data": "y" * 600}).encode()
        plain = sorted(timed(spool.add, body=body) for _ in range(count))
        flushed = sorted(timed(add_flushed, spool=spool, body=body) for _ in range(count))
    for name, seconds in (("spool.add", plain), ("spool.add + fsync of file and folder", flushed)):
        middle, p99, most = (1000 * seconds[position] for position in (count // 2, count * 99 // 100, -1))
        print(f"{'-':9} {name:46} {'':8} {middle:8.3f} {p99:8.3f} {most:9.3f}")


def add_flushed(spool: Spool, body: bytes) -> None:
    new = spool.root / "new"
    for path in (new / spool.add(body), new):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


if __name__ == "__main__":
    main()
