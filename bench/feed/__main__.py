"""`python -m bench.feed [--readers 1000] [--rounds 1] [--rate 1000]
[--only limit,one,sustained,burst,log,idle,stuck] [--alone]`: the feed beside Debian's nginx with nchan,
one worker each, with the same readers and the same bodies, in one run. `bench.paired` runs it alone.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from bench.feed.programs import Peer, build, crowd, flood, nchan
from bench.feed.publishers import ToLog, ToMonitor, ToNchan, body, event
from bench.feed.scenarios import BURST, Scenario, Side, burst, memory_of_idle, memory_with_stuck, scenarios
from tests.monitor_process import MonitorProcess

IDLE = 10_000  # readers
FLOOD_FRAMES = 100  # in one write, as a coalesced feed has them
FLOOD_ROUNDS = 100


@contextmanager
def sides(home: Path) -> Iterator[list[Side]]:
    reader = build(home, "reader")
    monitor = MonitorProcess(home, {"WINDSOCK_NOTIFY_MAX_AGE_HOURS": "1"}).start()
    try:
        with nchan(home / "nchan") as peer:
            windsock = Peer("windsock", monitor.port, psutil.Process(monitor.process_id))
            yield [
                Side(
                    windsock,
                    ToMonitor(monitor.port, monitor.secret),
                    *("/events?dag_id=one", "/events?dag_id=dag_%d", reader),
                ),
                Side(peer, ToNchan(peer.port), "/sub?id=one", "/sub?id=dag_%d", reader),
            ]
    finally:
        monitor.stop()


def compared(name: str, scenario: Scenario, both: list[Side], readers: int, rounds: int) -> None:
    for dags in (["one"], [f"dag_{number}" for number in range(readers)]):
        what = name if len(dags) == 1 else f"{name}, each its own"
        rates: dict[str, list[float]] = {side.peer.name: [] for side in both}
        for side in both * rounds:
            rates[side.peer.name].append(_print(what, side, scenario, readers, dags))
        if rounds > 1 and len(both) > 1:
            ours, peers = (median(some) for some in rates.values())
            print(f"{what:24} medians   {ours:,.0f}/s beside {peers:,.0f}/s: {ours / peers:.2f}", flush=True)


def from_log(both: list[Side], readers: int) -> None:
    """The burst again, written to the log by another process: the feed without the ingest before it."""
    windsock = both[0]
    assert isinstance(windsock.publisher, ToMonitor)
    with ToLog.beside(windsock.publisher, windsock.peer.process.cwd()) as publisher:
        side = replace(windsock, publisher=publisher)
        _print("burst in the log", side, burst, readers, ["one"])


def limit(home: Path, readers: int) -> None:
    """What the readers themselves can take: the same frames from a server in C that does nothing else."""
    frame = f"id: 0-1\nevent: x\ndata: {body(event('one'))}\n\n".encode()
    reader, expect = build(home, "reader"), FLOOD_FRAMES * FLOOD_ROUNDS
    with flood(build(home, "flood"), frame, FLOOD_FRAMES, FLOOD_ROUNDS) as port:
        row = crowd(reader, port, readers, expect, 90, "/").result()
    print(f"the readers' own limit: {row['events'] / row['seconds']:,.0f} events a second")


def idle(both: list[Side]) -> None:
    for side in both:
        print(f"idle, {IDLE:,} readers  {side.peer.name:9} {memory_of_idle(side, IDLE) / 1000:.1f} kB each")


def stuck(side: Side) -> None:
    sizes = ", ".join(f"{size / 1e6:.1f}" for size in memory_with_stuck(side))
    print(f"one reader that never reads: MB after each {BURST:,} events: {sizes}")


def _print(what: str, side: Side, scenario: Scenario, readers: int, dags: list[str]) -> float:
    """Answers the deliveries a second."""
    before = side.peer.cpu()
    row = scenario(side, readers, dags)
    rate = row["events"] / row["seconds"] if row["seconds"] else 0.0
    published = f", published in {row['published_seconds']:.1f} s" if "published_seconds" in row else ""
    print(
        f"{what:24} {side.peer.name:9} p50 {row['p50_ms']:8.2f} p99 {row['p99_ms']:8.2f} ms {rate:12,.0f}/s; "
        f"{row['events']:,} in {row['seconds']:.1f} s, each {row['least']} to {row['most']}{published}; "
        f"cpu {side.peer.cpu() - before:.1f} s, readers {row['cpu']:.1f} s",
        flush=True,
    )
    return float(rate)


def main() -> None:
    options = _options()
    only = options.only.split(",")
    with TemporaryDirectory() as folder:
        home = Path(folder)
        if "limit" in only:
            limit(home, options.readers)
        with sides(home) as both:
            if options.alone:
                del both[1:]
            for name, scenario in scenarios(options.rate).items():
                if name in only:
                    compared(name, scenario, both, options.readers, options.rounds)
            if "log" in only:
                from_log(both, options.readers)
            if "idle" in only:
                idle(both)
            if "stuck" in only:
                stuck(both[0])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.feed", description=__doc__)
    parser.add_argument("--readers", type=int, default=1000, help="open feeds (%(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="of each scenario, in turn (%(default)s)")
    parser.add_argument("--rate", type=int, default=1000, help="events a second, sustained (%(default)s)")
    parser.add_argument(
        "--only", default="limit,one,sustained,burst,log,idle,stuck", help="what is measured (%(default)s)"
    )
    parser.add_argument("--alone", action="store_true", help="without nchan")
    return parser.parse_args()


if __name__ == "__main__":
    main()
