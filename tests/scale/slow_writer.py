"""`python -m tests.scale.slow_writer DATABASE_URL NUMBER SECONDS`: appends a run again and again, and holds
each transaction for so long between drawing its seqs and the commit. Prints each event's id once committed.

With the log's lock everybody else waits for it; without it they commit later seqs meanwhile, and whoever
reads then steps over these.
"""

import sys
import time

from sqlalchemy import Connection

from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.event_log import append
from monitor.event_log.projections import apply
from monitor.events.event import Event, parse_event
from tests.scale.told import EVENTS_A_RUN, told

SEED = 1
SLOW = "slow_"
"""How its DAGs' names begin."""
PAUSE_SECONDS = 0.2  # between two of them: the others have the log for themselves


def main() -> None:
    url, number, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    database = Database(url)
    for index in range(number):
        batches = told(EVENTS_A_RUN, SEED, utc_now(), f"{SLOW}{index}").batches
        events = [parse_event(raw) for batch in batches for raw in batch]
        database.write_now(lambda connection, events=events: _write(connection, events, seconds))  # type: ignore[misc]
        print("\n".join(event.id for event in events), flush=True)  # noqa: T201
        time.sleep(PAUSE_SECONDS)
    database.close()


def _write(connection: Connection, events: list[Event], seconds: float) -> None:
    last = append.lock(connection)
    seqs = append.append(connection, events, utc_now(), last)
    apply.apply_all(connection, [(seq, event) for seq, event in zip(seqs, events, strict=True) if seq])
    time.sleep(seconds)


if __name__ == "__main__":
    main()
