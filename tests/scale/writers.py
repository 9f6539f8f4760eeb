"""Many writers, one log: monitors on one PostgreSQL, clients that send to all of them, a writer that holds
its transaction, and readers on several monitors. All of them have to tell the same.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from monitor.clock import utc_now
from tests.monitor_process import REPOSITORY
from tests.scale.books import books
from tests.scale.fleet import Fleet
from tests.scale.told import told
from tests.scale.traffic import traffic
from tests.scale.verdict import Outcome, wrong

MONITORS = 4
CLIENTS = 8
SLOW_WRITES = 6
SLOW_SECONDS = 0.4  # longer than a feed takes to read what is new
UNSERIALISED = Path(__file__).with_name("unserialised")
SLOW_GIVE_UP_SECONDS = 60.0


def writers(folder: Path, number: int, seed: int, serialised: bool = True) -> Outcome:
    """`serialised=False`: the log's lock is taken out, to see that the proof can fail."""
    path = str(REPOSITORY) if serialised else f"{UNSERIALISED}:{REPOSITORY}"
    with Fleet(folder, MONITORS, {"PYTHONPATH": path}) as fleet, ExitStack() as ends:
        sent = told(number, seed, utc_now())
        going = ends.enter_context(traffic(fleet, sent, CLIENTS, seed))
        with _slow_writer(fleet, path) as slow:
            going.clients.done()
            held = slow.communicate(timeout=SLOW_GIVE_UP_SECONDS)[0].split()
        took = going.ended()
        found = books(fleet, sent, held)
        summary = (
            f"{len(found.log):,} events in {took:.0f} s by {CLIENTS} clients to {MONITORS} monitors; "
            f"{going.restless.moves} times a feed went on elsewhere; {dict(going.clients.counts)}"
        )
        return Outcome(wrong(found, going.tails), summary)


@contextmanager
def _slow_writer(fleet: Fleet, path: str) -> Iterator["subprocess.Popen[str]"]:
    command = [
        sys.executable,
        "-m",
        "tests.scale.slow_writer",
        fleet.database,
        str(SLOW_WRITES),
        str(SLOW_SECONDS),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as slow:
        try:
            yield slow
        finally:
            slow.kill()
