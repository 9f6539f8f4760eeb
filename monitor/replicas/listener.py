"""Hears what other replicas commit, and wakes this one's loops: for latency; each of them polls as well."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from monitor.metrics import Metrics
from monitor.replicas.link import Link, ask, rest
from monitor.replicas.signals import CHANNEL
from monitor.wake import Wake

if TYPE_CHECKING:
    from monitor.replicas.link import Session

CHECK_SECONDS = 15.0  # of silence, and the server is asked whether it is there; loops poll more often


class Listener:
    """`run()` is its background task. `wakes`: by the word that wakes them; other words are passed over, a
    newer release may have them."""

    def __init__(self, link: Link, wakes: Mapping[str, Wake], metrics: Metrics) -> None:
        self._link = link
        self._wakes = wakes
        self._metrics = metrics

    async def run(self) -> None:
        """Listen until cancelled."""
        await self._link.keep(self._listen)

    async def _listen(self, session: "Session") -> None:
        await ask(session, f"LISTEN {CHANNEL}")
        for wake in self._wakes.values():  # whatever was said while nobody listened
            wake.set()
        while True:
            heard = await rest(session, CHECK_SECONDS)
            for word in dict.fromkeys(one.payload for one in heard):
                self._wake(word)
            if not heard:
                await ask(session, "SELECT 1")

    def _wake(self, word: str) -> None:
        wake = self._wakes.get(word)
        if wake is not None:
            self._metrics.notifications_received.labels(word.partition(" ")[0]).inc()
            wake.set()
