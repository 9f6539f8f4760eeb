"""A log of any length, written straight into a monitor's database: thousands of events a second."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice

from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.event_log import append as event_log_append
from monitor.event_log import cursor as event_log_cursor
from monitor.event_log.cursor import Cursor, LogState
from monitor.events.event import Event, parse_event
from tests.monitor_process import MonitorProcess
from tests.sample import run_event, task_event

BATCH = 5_000  # events a transaction
AWKWARD = "Zürich \u2028 \u0085 🌬 line\r\nend: data: id: x"
"""What parsers trip over: line ends that are none, characters of several bytes, what looks like a field."""
TEMPLATES = [
    parse_event(told)
    for told in (
        run_event("running"),
        task_event("success", operator=AWKWARD),
        task_event("failed", error={"type": "ValueError", "message": AWKWARD, "traceback": None}),
        run_event("failed", message="task_failure"),
    )
]
TYPES = sorted({template.type for template in TEMPLATES})


class Log:
    """The log of a monitor, which may run or not."""

    def __init__(self, monitor: MonitorProcess) -> None:
        folder = monitor.home / "windsock"
        folder.mkdir(parents=True, exist_ok=True)
        self._database = Database(f"sqlite:///{folder / 'windsock.db'}")
        migrate(self._database)
        self._made = 0

    def append(self, count: int, received_at: datetime | None = None) -> None:
        """So many new events, of several types in turn."""
        made = islice(self._events(), count)
        while batch := list(islice(made, BATCH)):
            self._write(batch, received_at or utc_now())

    def _write(self, batch: list[Event], moment: datetime) -> None:
        self._database.write_now(lambda connection: event_log_append.append(connection, batch, moment))

    def _events(self) -> Iterator[Event]:
        while True:
            self._made += 1
            template = TEMPLATES[self._made % len(TEMPLATES)]
            event_id = f"{template.id}:{self._made}"
            yield replace(template, id=event_id, body=template.body.replace(template.id, event_id))

    def seqs(self) -> list[int]:
        """What the log holds, in its order."""
        state = self.state()
        return [*range(state.pruned_seq + 1, state.last_seq + 1)]

    def state(self) -> LogState:
        return self._database.read_now(event_log_cursor.state)

    def cursor(self, seq: int) -> str:
        return str(Cursor(self.state().epoch, seq))

    def close(self) -> None:
        self._database.close()
