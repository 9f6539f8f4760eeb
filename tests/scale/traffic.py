"""What goes on at a fleet while things happen to it: clients that send, readers, one of them moved about."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.scale.clients import Clients
from tests.scale.fleet import Fleet
from tests.scale.tails import Restless, Tail, caught_up, three_of
from tests.scale.told import Told


@dataclass
class Traffic:
    fleet: Fleet
    tails: list[Tail]
    restless: Restless
    clients: Clients
    began: float = field(default_factory=time.monotonic)

    def ended(self) -> float:
        """Let the readers catch up. Answers how many seconds it was until then."""
        took = time.monotonic() - self.began
        self.restless.stop()
        caught_up(self.tails, self.fleet.log_state().last_seq)
        return took


@contextmanager
def traffic(fleet: Fleet, sent: Told, clients: int, seed: int) -> Iterator[Traffic]:
    with ExitStack() as ends:
        tails = three_of(fleet)
        for tail in tails:
            ends.callback(tail.close)
        restless = Restless(tails[-1], fleet.urls, seed)
        ends.callback(restless.stop)
        sending = Clients(fleet.urls, fleet.secret, sent.batches, clients, seed)
        ends.callback(sending.stop)
        yield Traffic(fleet, tails, restless, sending)
