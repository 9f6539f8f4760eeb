"""Clients that report as plugins do, only worse: they send batches again to other monitors while the first
are on their way, hang up before the answer, and ask again wherever they like until they have their 202.
"""

import json
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence

import httpx

from tests.scale.told import Batch
from tests.unit.conftest import sign

AGAIN = 0.1  # of batches: sent once more, to another monitor
HUNG_UP = 0.05  # of requests: nobody waits for the answer
PATIENCE = httpx.Timeout(10)
NO_PATIENCE = httpx.Timeout(10, read=0.002)
PAUSE_SECONDS = (
    0.3  # on average, before a request is made again: a monitor that is gone comes back in seconds
)
GIVE_UP_SECONDS = 240.0


class Clients:
    """`with Clients(…) as clients: clients.done()`. What went wrong in one of them is raised by done()."""

    def __init__(
        self, urls: Sequence[str], secret: str, batches: Iterable[Batch], number: int, seed: int
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Answers by what they said of an event, and requests by what became of them."""
        self._urls = urls
        self._secret = secret
        self._left = deque(json.dumps(batch) for batch in batches)
        self._problems: list[BaseException] = []
        self._counting = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(seed + index,), name=f"client {index}")
            for index in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def done(self, deadline: float = GIVE_UP_SECONDS) -> None:
        """Until everything has been taken. Raises what a client met, or AssertionError at the deadline."""
        end = time.monotonic() + deadline
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if self._problems:
            raise self._problems[0]
        assert not self._left, f"{len(self._left)} batches were not taken in {deadline} s"
        assert not any(thread.is_alive() for thread in self._threads)

    @property
    def left(self) -> int:
        """Batches that nobody has begun to send."""
        return len(self._left)

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _guarded(self, seed: int) -> None:
        try:
            with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
                self._work(client, random.Random(seed))  # noqa: S311 (to be repeatable is its purpose)
        except BaseException as problem:  # noqa: BLE001 (done() raises it)
            self._problems.append(problem)

    def _work(self, client: httpx.Client, chance: random.Random) -> None:
        while not self._stopped.is_set():
            try:
                body = self._left.popleft()
            except IndexError:
                return
            if chance.random() < AGAIN:
                self._left.appendleft(body)  # for the next client, while this one sends it
            self._send(client, body, chance)

    def _send(self, client: httpx.Client, body: str, chance: random.Random) -> None:
        """Until a monitor has taken it, whichever."""
        while not self._stopped.is_set():
            url = chance.choice(self._urls)
            patience = NO_PATIENCE if chance.random() < HUNG_UP else PATIENCE
            try:
                answer = client.post(
                    f"{url}/api/v1/events", content=body, headers=sign(self._secret, body), timeout=patience
                )
            except httpx.TransportError as error:
                self._count(type(error).__name__)
            else:
                if answer.status_code == 202:
                    self._taken(answer.json())
                    return
                assert answer.status_code >= 429, f"{answer.status_code}: {answer.text[:300]}"
                self._count(f"answered {answer.status_code}")
            self._stopped.wait(chance.uniform(0, 2 * PAUSE_SECONDS))

    def _taken(self, told: dict[str, int]) -> None:
        assert not told["rejected"], told
        with self._counting:
            self.counts["taken"] += 1
            for result in ("accepted", "duplicate"):
                self.counts[result] += told[result]

    def _count(self, what: str) -> None:
        with self._counting:
            self.counts[what] += 1
