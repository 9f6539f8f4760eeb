"""`python -m bench.feed [--readers 1000] [--only one,sustained,burst,idle]`: the feed beside Debian's nginx with
nchan, one worker each, with the same readers and the same bodies, in one run.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from bench.feed.programs import Crowd, Peer, build, crowd, nchan
from bench.feed.publishers import Publisher, ToMonitor, ToNchan
from tests.monitor_process import MonitorProcess

ONE_EVENTS = 60  # one at a time
ONE_PAUSE = 0.25  # seconds between two of them
RATE = 1_000  # events a second, sustained
SUSTAINED_SECONDS = 10
TICK = 0.02  # seconds between two posts at that rate
BURST = 10_000
IDLE = 10_000  # readers
PATIENCE = 60.0  # seconds after which readers tell what they have

Row = dict[str, Any]


class Side:
    """One hub with what publishes to it; `path` is where reader %d reads."""

    def __init__(self, peer: Peer, publisher: Publisher, one: str, each: str, reader: Path) -> None:
        self.peer = peer
        self.publisher = publisher
        self._paths = {"one": one, "each": each}
        self._reader = reader

    def crowd(self, readers: int, expect: int, filtered: bool = False) -> Crowd:
        path = self._paths["each" if filtered else "one"]
        return crowd(self._reader, self.peer.port, readers, expect, PATIENCE, path)


def one_at_a_time(side: Side, readers: int, dags: list[str]) -> Row:
    """Each event goes out alone; with filters, to the one reader that wants it."""
    filtered = len(dags) > 1
    watching = side.crowd(readers, 1 if filtered else ONE_EVENTS, filtered)
    for number in range(readers if filtered else ONE_EVENTS):
        side.publisher.publish([dags[number % len(dags)]])
        time.sleep(0 if filtered else ONE_PAUSE)
    return watching.result()


def sustained(side: Side, readers: int, dags: list[str]) -> Row:
    """RATE events a second for a while, in small posts."""
    total = RATE * SUSTAINED_SECONDS
    watching = side.crowd(readers, total // len(dags), len(dags) > 1)
    began, sent = time.monotonic(), 0
    while sent < total:
        due = min(total, int((time.monotonic() - began) * RATE))
        side.publisher.publish([dags[number % len(dags)] for number in range(sent, due)])
        sent = max(sent, due)
        time.sleep(TICK)
    return watching.result() | {"published_seconds": time.monotonic() - began}


def burst(side: Side, readers: int, dags: list[str]) -> Row:
    """All at once."""
    watching = side.crowd(readers, BURST // len(dags), len(dags) > 1)
    began = time.monotonic()
    side.publisher.publish([dags[number % len(dags)] for number in range(BURST)])
    published = time.monotonic() - began
    return watching.result() | {"published_seconds": published}


SCENARIOS: dict[str, Callable[[Side, int, list[str]], Row]] = {
    "one": one_at_a_time,
    "sustained": sustained,
    "burst": burst,
}


@contextmanager
def sides(home: Path) -> Iterator[list[Side]]:
    reader = build(home, "reader")
    monitor = MonitorProcess(home, {"WINDSOCK_TELL_WITHIN_HOURS": "1"}).start()
    try:
        with nchan(home / "nchan") as peer:
            process = psutil.Process(monitor.process_id)
            yield [
                Side(
                    Peer("windsock", monitor.port, process),
                    ToMonitor(monitor.port, monitor.secret),
                    *("/events?dag_id=one", "/events?dag_id=dag_%d", reader),
                ),
                Side(peer, ToNchan(peer.port), "/sub?id=one", "/sub?id=dag_%d", reader),
            ]
    finally:
        monitor.stop()


def main() -> None:
    options = _options()
    with TemporaryDirectory() as folder, sides(Path(folder)) as both:
        for name in options.only.split(","):
            if name == "idle":
                _idle(both)
                continue
            for filtered in (False, True):
                dags = [f"dag_{number}" for number in range(options.readers)] if filtered else ["one"]
                for side in both:
                    cpu = side.peer.cpu()
                    row = SCENARIOS[name](side, options.readers, dags)
                    _print(name, filtered, side, row, side.peer.cpu() - cpu)


def _print(name: str, filtered: bool, side: Side, row: Row, cpu: float) -> None:
    rate = row["events"] / row["seconds"] if row["seconds"] else 0
    where = f"{name}{', each its own' if filtered else ''}"
    print(
        f"{where:26} {side.peer.name:9} p50 {row['p50_ms']:8.2f} ms  p99 {row['p99_ms']:8.2f} ms  "
        f"{rate:12,.0f} deliveries/s  {row['events']:,} in {row['seconds']:.2f} s, each {row['least']}–{row['most']}"
        f"  cpu {cpu:.1f} s, reader {row['cpu']:.1f} s"
        + (f"  published in {row['published_seconds']:.2f} s" if "published_seconds" in row else ""),
        flush=True,
    )


def _idle(both: list[Side]) -> None:
    for side in both:
        before = side.peer.memory()
        watching = side.crowd(IDLE, 1)
        after = side.peer.memory()
        watching.process.kill()
        print(
            f"idle {IDLE:,} readers     {side.peer.name:9} {(after - before) / IDLE / 1000:.1f} kB a reader"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.feed", description=__doc__)
    parser.add_argument("--readers", type=int, default=1000, help="open feeds (%(default)s)")
    parser.add_argument("--only", default="one,sustained,burst,idle", help="scenarios (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
