"""Many writers, one log: monitors on one PostgreSQL, clients that send to all of them, a writer that holds
its transaction, and readers on several monitors. All of them have to tell the same.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from monitor.clock import utc_now
from monitor.database.schema import dag_runs, events, task_instances
from tests import wait
from tests.monitor_process import REPOSITORY
from tests.scale.clients import Clients
from tests.scale.fleet import Fleet
from tests.scale.tails import Restless, Tail
from tests.scale.told import TASKS, Told, told
from tests.scale.verdict import Books, wrong

MONITORS = 4
CLIENTS = 8
SLOW_WRITES = 6
SLOW_SECONDS = 0.4  # longer than a feed takes to read what is new
UNSERIALISED = Path(__file__).with_name("unserialised")
CATCH_UP_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    wrong: list[str]
    summary: str


def writers(folder: Path, number: int, seed: int, serialised: bool = True) -> Outcome:
    """`serialised=False`: the log's lock is taken out, to see that the proof can fail."""
    path = str(REPOSITORY) if serialised else f"{UNSERIALISED}:{REPOSITORY}"
    with Fleet(folder, MONITORS, {"PYTHONPATH": path}) as fleet, ExitStack() as ends:
        sent = told(number, seed, utc_now())
        tails = _tails(fleet)
        for tail in tails:
            ends.callback(tail.close)
        restless = Restless(tails[-1], fleet.urls, seed)
        ends.callback(restless.stop)
        began = time.monotonic()
        clients = Clients(fleet.urls, fleet.secret, sent.batches, CLIENTS, seed)
        ends.callback(clients.stop)
        with _slow_writer(fleet, path) as slow:
            clients.done()
            held = slow.communicate(timeout=CATCH_UP_SECONDS)[0].split()
        took = time.monotonic() - began
        last = fleet.log_state().last_seq
        restless.stop()
        _caught_up(tails, last)
        books = _books(fleet, sent, held)
        summary = (
            f"{len(books.log):,} events in {took:.0f} s by {CLIENTS} clients to {MONITORS} monitors; "
            f"{restless.moves} times a feed went on elsewhere; {dict(clients.counts)}"
        )
        return Outcome(wrong(books, tails), summary)


def _tails(fleet: Fleet) -> list[Tail]:
    epoch, urls = fleet.log_state().epoch, fleet.urls
    return [
        Tail("SSE", urls[0], "sse", epoch),
        Tail("NDJSON", urls[1], "ndjson", epoch),
        Tail("SSE, cut off", urls[2], "sse", epoch),
    ]


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


def _caught_up(tails: list[Tail], last: int) -> None:
    """As far as they come by themselves: where one cannot, the verdict says so."""
    try:
        wait.until(lambda: all(tail.at >= last for tail in tails), "the feeds to catch up", CATCH_UP_SECONDS)
    except AssertionError:
        return


def _books(fleet: Fleet, sent: Told, held: list[str]) -> Books:
    with fleet.engine.connect() as connection:
        log = [
            (row.seq, row.id)
            for row in connection.execute(select(events.c.seq, events.c.id).order_by(events.c.seq))
        ]
        slow = dag_runs.c.dag_id.startswith("slow_")
        shown = connection.execute(
            select(dag_runs.c.dag_id, dag_runs.c.run_id, dag_runs.c.state).where(~slow)
        )
        board = {(row.dag_id, row.run_id): row.state for row in shown}
        tasks = connection.execute(
            select(task_instances.c.state, func.count().label("number"))
            .where(~task_instances.c.dag_id.startswith("slow_"))
            .group_by(task_instances.c.state)
        )
        counted = Counter({row.state: row.number for row in tasks})
    ends = Counter(sent.runs.values())
    tasks_sent = Counter({"success": len(sent.runs) * TASKS - ends["failed"], "failed": ends["failed"]})
    accepted = fleet.counted("windsock_events_total", result="accepted") + len(held)
    ids = sent.ids | set(held)
    return Books(ids, log, fleet.log_state().last_seq, accepted, sent.runs, board, counted, tasks_sent)
