"""Feeds that are read from the log's first event on: what each reader was told, in its order."""

import random
import threading
from typing import Literal

from monitor.event_log.cursor import Cursor
from tests import wait
from tests.scale.fleet import Fleet
from windsock_client import Feed, Reset

JOIN_SECONDS = 10.0
CATCH_UP_SECONDS = 60.0
CUT_SECONDS = (0.3, 1.5)  # a reader that is cut comes as far as it comes in that time

Form = Literal["sse", "ndjson"]


class Tail:
    """Reads from the moment it is made until close(); comes back by itself where its connection is lost."""

    def __init__(self, name: str, url: str, form: Form, epoch: str) -> None:
        self.name = name
        self.seqs: list[int] = []
        self.ids: list[str] = []
        self.resets: list[str] = []
        self.problem: BaseException | None = None
        self._form: Form = form
        self._cursor = f"{epoch}-0"
        self._begin(url)

    @property
    def at(self) -> int:
        """The last seq that it was told; 0: none."""
        return self.seqs[-1] if self.seqs else 0

    def move(self, url: str) -> None:
        """Cut it off, and have it go on at another monitor, behind the last event that it was told."""
        self.close()
        self._begin(url)

    def close(self) -> None:
        self._feed.close()
        self._thread.join(JOIN_SECONDS)
        assert not self._thread.is_alive(), f"{self.name} does not end"

    def _begin(self, url: str) -> None:
        self._feed = Feed(url, after=self._cursor, form=self._form)
        self._thread = threading.Thread(target=self._guarded, args=(self._feed,), name=self.name)
        self._thread.start()

    def _guarded(self, feed: Feed) -> None:
        try:
            self._read(feed)
        except BaseException as problem:  # noqa: BLE001 (the verdict tells of it)
            self.problem = problem

    def _read(self, feed: Feed) -> None:
        for item in feed:
            self._cursor = item.cursor
            if isinstance(item, Reset):
                self.resets.append(item.reason)
            else:
                self.seqs.append(Cursor.parse(item.cursor).seq)
                self.ids.append(item.id)


class Restless:
    """Cuts a reader off at random, and has it go on at another monitor, until stop()."""

    def __init__(self, tail: Tail, urls: list[str], seed: int) -> None:
        self.moves = 0
        self._tail = tail
        self._urls = urls
        self._chance = random.Random(seed)  # noqa: S311 (to be repeatable is its purpose)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="restless")
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        place = 0
        while not self._stopped.wait(self._chance.uniform(*CUT_SECONDS)):
            place = self._chance.choice([other for other in range(len(self._urls)) if other != place])
            self._tail.move(self._urls[place])
            self.moves += 1


def three_of(fleet: Fleet) -> list[Tail]:
    """Each at another monitor, from the log's first event on."""
    epoch, urls = fleet.log_state().epoch, fleet.urls
    return [
        Tail("SSE", urls[0], "sse", epoch),
        Tail("NDJSON", urls[1], "ndjson", epoch),
        Tail("SSE, cut off", urls[2], "sse", epoch),
    ]


def caught_up(tails: list[Tail], last: int) -> None:
    """As far as they come by themselves: where one cannot, the verdict says so."""
    try:
        wait.until(lambda: all(tail.at >= last for tail in tails), "the feeds to catch up", CATCH_UP_SECONDS)
    except AssertionError:
        return
