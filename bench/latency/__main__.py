"""`python -m bench.latency [RUNS]`: event in Airflow to SSE client, on a real Airflow with the plugin.

Each event carries the moment of its state change as Airflow wrote it (`time`); the reader notes when the
frame arrived; both clocks are this machine's. The machine's own round trips stand beside it for scale.
"""

import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import httpx
from httpx_sse import connect_sse

from tests.airflow_server import AirflowServer
from tests.monitor_process import MonitorProcess, airflow_env

HERE = Path(__file__).parent
PLUGINS = HERE.parent.parent / "plugins"
RUNS = 20
ROUND_TRIPS = 2_000
SYNCS = 200
EVENTS_A_RUN = 10  # a run and four tasks, each running and success
SETTLE_SECONDS = 60.0


class Arrivals:
    """Notes the delay of each event that comes over the feed."""

    def __init__(self, url: str) -> None:
        self.delays: dict[str, list[float]] = defaultdict(list)
        self.count = 0
        self.opened = threading.Event()
        threading.Thread(target=self._read, args=(url,), daemon=True).start()

    def _read(self, url: str) -> None:
        with (
            httpx.Client(timeout=None, trust_env=False) as client,  # noqa: S113 (a feed has no end)
            connect_sse(client, "GET", f"{url}/events", params={"dag_id": "short"}) as source,
        ):
            self.opened.set()
            for frame in source.iter_sse():
                if frame.event.startswith("airflow."):
                    event = frame.json()
                    changed = datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()
                    who = f"{event['type']} ({event['data']['reported_by']})"
                    self.delays[who].append(time.time() - changed)
                    self.count += 1


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory(prefix="windsock-latency-") as folder:
        delays = measure(Path(folder), runs)
    every = [delay for group in delays.values() for delay in group]
    print(f"{runs} runs of 4 tasks, one after the other: state change in Airflow to SSE client\n")
    print(f"{'':52}{'n':>6}{'median':>10}{'p99':>10}{'worst':>10}")
    for name in sorted(delays):
        print(line(name, delays[name]))
    print(line("all", every))
    print("\nthe machine's own, for scale")
    print(line("TCP round trip on loopback", timed(*tcp_ping(), ROUND_TRIPS)))
    print(line("write 1 kB and fsync", timed(*fsync(), SYNCS)))


def measure(folder: Path, runs: int) -> dict[str, list[float]]:
    monitor = MonitorProcess(folder)
    plugin = monitor.plugin_env(folder / "spool")
    with AirflowServer(HERE / "dags", plugins_folder=PLUGINS, env=plugin) as airflow:
        monitor.env |= airflow_env(airflow.url, airflow.username, airflow.password)
        monitor.start()
        try:
            arrivals = Arrivals(monitor.url)
            arrivals.opened.wait(10)
            for _ in range(runs):
                airflow.wait_for_run("short", airflow.trigger("short"))
            airflow.wait_until(
                lambda: arrivals.count >= runs * EVENTS_A_RUN, SETTLE_SECONDS, "the last events on the feed"
            )
            return dict(arrivals.delays)
        finally:
            monitor.stop()


def line(name: str, delays: list[float]) -> str:
    ordered = sorted(delays)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    figures = "".join(f"{value * 1000:>7.1f} ms" for value in (statistics.median(ordered), p99, ordered[-1]))
    return f"{name:52}{len(ordered):>6}{figures}"


def timed(act: Callable[[], object], close: Callable[[], None], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    close()
    return taken


def tcp_ping() -> tuple[Callable[[], object], Callable[[], None]]:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def echo() -> None:
        while data := server.recv(64):
            server.sendall(data)

    threading.Thread(target=echo, daemon=True).start()

    def ping() -> bytes:
        client.sendall(b"ping")
        return client.recv(64)

    def close() -> None:
        for sock in (client, listener):
            sock.close()

    return ping, close


def fsync() -> tuple[Callable[[], object], Callable[[], None]]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the caller)

    def write() -> None:
        file.write(b"x" * 1024)
        file.flush()
        os.fsync(file.fileno())

    return write, file.close


if __name__ == "__main__":
    main()
