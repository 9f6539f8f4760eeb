"""Every reader receives every event once and in order, whatever becomes of the connection and of the monitor.

Each scenario is played once, with all readers side by side. A bigger run by hand:
WINDSOCK_FEED_BACKLOG=2000000 WINDSOCK_FEED_CUTS=40 WINDSOCK_FEED_SEED=7 python -m pytest tests/feed
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from playwright.sync_api import Page

from monitor.clock import utc_now
from tests import wait
from tests.feed.conftest import Started
from tests.feed.cutting import CuttingProxy
from tests.feed.log import Log
from tests.feed.readers import NAMES, Reader, makers
from tests.monitor_process import MonitorProcess

BACKLOG = int(os.environ.get("WINDSOCK_FEED_BACKLOG", "200000"))
CUTS = int(os.environ.get("WINDSOCK_FEED_CUTS", "5"))
SEED = os.environ.get("WINDSOCK_FEED_SEED", "1")
MORE = 12_000  # events, where the backlog is not what is looked at
ROUNDS = 3  # of cutting what follows live
STALLED = 45.0  # seconds without an event for anybody: above the longest wait between two connections


@dataclass
class Result:
    """What one reader was told."""

    seqs: list[int]
    resets: list[str]
    stopped: str | None


@dataclass
class Outcome:
    """A scenario, played: what was to be told, and what was."""

    expected: list[int]
    resets: list[str] = field(default_factory=list)
    told: dict[str, Result] = field(default_factory=dict)


class Stage:
    """All readers on one monitor."""

    def __init__(self, make: Started, new_page: Callable[[], Page]) -> None:
        self.make = make
        self._makers = makers(new_page)

    @contextmanager
    def reading(self, monitor: MonitorProcess, url: Callable[[str], str]) -> Iterator[dict[str, Reader]]:
        """Every reader, begun at what `url` answers to its name."""
        names = list(self._makers)
        readers: dict[str, Reader] = {}
        try:
            for name in names:
                readers[name] = self._makers[name](url(name))
            yield readers
        finally:
            for reader in readers.values():
                reader.close()


def all_have(readers: dict[str, Reader], count: int) -> None:
    """Wait until each has so many events, or nobody gets any more: who lacks some is shown by what it has."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < STALLED:
        counts = [each.count for each in readers.values()]
        if min(counts) >= count:
            return
        if sum(counts) != seen:
            seen, since = sum(counts), time.monotonic()
        time.sleep(wait.PAUSE)


def outcome(log: Log, readers: dict[str, Reader], after: int, *resets: str) -> Outcome:
    """Ask each reader what it was told, once it has it all."""
    made = Outcome([seq for seq in log.seqs() if seq > after], list(resets))
    all_have(readers, len(made.expected))
    for name, reader in readers.items():
        reader.look()
        made.told[name] = Result(reader.seqs, reader.resets, reader.stopped)
    return made


def disconnects(stage: Stage) -> Outcome:
    """Cut at random bytes of a backlog, then again and again while events come in."""
    monitor, log = stage.make()
    log.append(MORE)
    monitor.start()
    proxies = {name: CuttingProxy(monitor.port, f"{SEED} {name}", CUTS).start() for name in NAMES}
    try:
        start = log.cursor(0)
        with stage.reading(monitor, lambda name: f"{proxies[name].url}/events?after={start}") as readers:
            all_have(readers, MORE)
            for _ in range(ROUNDS):
                log.append(100)
                for name in readers:
                    proxies[name].cut()
                log.append(100)
                all_have(readers, len(log.seqs()))
            played = outcome(log, readers, 0)
            cuts = {name: proxies[name].cut_off for name in readers}
            assert min(cuts.values()) >= CUTS + ROUNDS, f"too few cuts: {cuts}"
            return played
    finally:
        for proxy in proxies.values():
            proxy.stop()


def restarts(stage: Stage) -> Outcome:
    """Killed, and later stopped in order, each time with events before, meanwhile and behind."""
    monitor, log = stage.make()
    log.append(100)
    monitor.start()
    start = log.cursor(0)
    with stage.reading(monitor, lambda _: f"{monitor.url}/events?after={start}") as readers:
        for how in (signal.SIGKILL, signal.SIGTERM):
            all_have(readers, len(log.seqs()))
            log.append(100)
            monitor.stop(how)
            log.append(100)
            monitor.start()
            log.append(100)
        return outcome(log, readers, 0)


def backlog(stage: Stage, count: int) -> Outcome:
    """Far behind: the last `count` events of a long log, at once."""
    monitor, log = stage.make()
    log.append(count)
    monitor.start()
    start = log.cursor(0)
    with stage.reading(monitor, lambda _: f"{monitor.url}/events?after={start}") as readers:
        return outcome(log, readers, 0)


def expired(stage: Stage) -> Outcome:
    """A cursor that retention has overtaken: told, and then everything that is kept."""
    monitor, log = stage.make(WINDSOCK_RETENTION_DAYS="30")
    log.append(500, received_at=utc_now() - timedelta(days=40))
    log.append(500)
    start = log.cursor(10)
    monitor.start()
    wait.until(lambda: log.state().pruned_seq == 500, "retention")
    with stage.reading(monitor, lambda _: f"{monitor.url}/events?after={start}") as readers:
        return outcome(log, readers, 500, "the cursor is older than what the log keeps")


def other_log(stage: Stage) -> Outcome:
    """A cursor of another log (the database was made anew): told, and then everything that is kept."""
    monitor, log = stage.make()
    log.append(500)
    monitor.start()
    with stage.reading(monitor, lambda _: f"{monitor.url}/events?after=abcdef-7") as readers:
        return outcome(log, readers, 0, "the cursor is of another log (epoch)")


SCENARIOS: dict[str, Callable[[Stage], Outcome]] = {
    "forced disconnects": disconnects,
    "monitor restarts": restarts,
    f"backlog of {MORE}": lambda stage: backlog(stage, MORE),
    f"backlog of {BACKLOG}": lambda stage: backlog(stage, BACKLOG),
    "expired cursor": expired,
    "cursor of another log": other_log,
}


@pytest.fixture(scope="module")
def stage(monitors: Started, new_page: Callable[[], Page]) -> Stage:
    return Stage(monitors, new_page)


@pytest.fixture(scope="module", params=SCENARIOS)
def played(request: pytest.FixtureRequest, stage: Stage) -> Outcome:
    return SCENARIOS[request.param](stage)


@pytest.mark.parametrize("reader", NAMES)
def test_each_event_once_and_in_order(played: Outcome, reader: str) -> None:
    told = played.told[reader]
    assert (told.resets, told.stopped) == (played.resets, None)
    assert differences(told.seqs, played.expected) == ""
    assert told.seqs == played.expected


def differences(told: list[int], expected: list[int]) -> str:
    """In a sentence: two lists of 200,000 numbers are nothing to look at."""
    missing, more = sorted(set(expected) - set(told)), len(told) - len(set(told))
    return f"{len(missing)} missing, the first {missing[:3]}; {more} twice" if missing or more else ""


def test_a_malformed_cursor_stops_every_reader_for_good(stage: Stage) -> None:
    """400 each time: none of them asks again, and each says so in its own way."""
    monitor, log = stage.make()
    log.append(5)
    monitor.start()
    with stage.reading(monitor, lambda _: f"{monitor.url}/events?after=nonsense") as readers:
        wait.until(lambda: all(stopped(reader) for reader in readers.values()), "all to give up")
        words = {name: reader.stopped for name, reader in readers.items()}
        assert [reader.count for reader in readers.values()] == [0] * len(readers)
    assert words.pop("Chromium") == "closed"  # it is not told why
    assert words.pop("npm eventsource") == "400"
    assert "application/problem+json" in str(words.pop("httpx-sse"))
    assert "400" in str(words.pop("curl"))
    assert all("'nonsense' is not of the form epoch-seq" in str(said) for said in words.values())


def stopped(reader: Reader) -> bool:
    reader.look()
    return reader.stopped is not None
