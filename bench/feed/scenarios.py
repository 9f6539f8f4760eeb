"""What is done to each hub, and what its readers count."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.feed.programs import Crowd, Peer, crowd
from bench.feed.publishers import Publisher

ONE_EVENTS = 60  # one at a time
ONE_PAUSE = 0.25  # seconds between two of them
SUSTAINED_SECONDS = 10
TICK = 0.02  # seconds between two posts at that rate
BURST = 10_000
PATIENCE = 240.0  # seconds after which readers tell what they have

Row = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One hub with what publishes to it, and where its readers read: all the same, or reader %d its own."""

    peer: Peer
    publisher: Publisher
    same: str
    own: str
    reader: Path

    def crowd(self, dags: list[str], readers: int, expect: int) -> Crowd:
        path = self.same if len(dags) == 1 else self.own
        return crowd(self.reader, self.peer.port, readers, expect, PATIENCE, path)


def one_at_a_time(side: Side, readers: int, dags: list[str]) -> Row:
    """Each event goes out alone: to everyone, or to the one reader that wants it."""
    watching = side.crowd(
        dags, readers if len(dags) == 1 else ONE_EVENTS, ONE_EVENTS // min(len(dags), ONE_EVENTS)
    )
    for number in range(ONE_EVENTS):
        side.publisher.publish([dags[number % len(dags)]])
        time.sleep(ONE_PAUSE)
    return watching.result()


def sustained(side: Side, readers: int, dags: list[str], rate: int) -> Row:
    """So many events a second for a while, in small posts; a slower hub gets them as it takes them."""
    total = rate * SUSTAINED_SECONDS
    watching = side.crowd(dags, readers, total // len(dags))
    began, sent = time.monotonic(), 0
    while sent < total:
        due = min(total, int((time.monotonic() - began) * rate))
        side.publisher.publish([dags[number % len(dags)] for number in range(sent, due)])
        sent = max(sent, due)
        time.sleep(TICK)
    return watching.result() | {"published_seconds": time.monotonic() - began}


def burst(side: Side, readers: int, dags: list[str]) -> Row:
    """All at once."""
    watching = side.crowd(dags, readers, BURST // len(dags))
    began = time.monotonic()
    side.publisher.publish([dags[number % len(dags)] for number in range(BURST)])
    return {"published_seconds": time.monotonic() - began} | watching.result()


Scenario = Callable[[Side, int, list[str]], Row]


def scenarios(rate: int) -> dict[str, Scenario]:
    return {"one": one_at_a_time, "sustained": partial(sustained, rate=rate), "burst": burst}


def memory_of_idle(side: Side, readers: int) -> float:
    """Bytes for each open feed that has nothing to tell."""
    before = side.peer.memory()
    watching = side.crowd(["one"], readers, 1)
    after = side.peer.memory()
    watching.process.kill()
    watching.process.wait()
    return (after - before) / readers


def memory_with_stuck(side: Side, rounds: int = 12) -> list[int]:
    """Bytes of the hub after each burst, while one reader never reads."""
    with socket.create_connection(("127.0.0.1", side.peer.port)) as stuck:
        stuck.sendall(f"GET {side.same} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        sizes = []
        for _ in range(rounds):
            burst(side, 1, ["one"])
            sizes.append(side.peer.memory())
        return sizes
