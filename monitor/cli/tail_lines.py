"""The lines of `windsock tail` and `windsock up`: events and settled deliveries in order of time."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from datetime import date, datetime
from heapq import heappop, heappush
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

from monitor.delivery.messages.filters import shorten
from monitor.errors import WindsockError
from monitor.plain_text import line
from monitor.web.templating import EventLine
from windsock_client import Event, Reset

MAX_HELD = 1_000  # lines that are held at once

SIGNS = {
    "success": ("✔", "green"),
    "failed": ("✖", "bold red"),
    "import_error": ("✖", "bold red"),
    "mended": ("✔", "green"),
    "deleted": ("∅", "dim"),
    "paused": ("‖", "yellow"),
    "unpaused": ("▷", "blue"),
    "running": ("▶", "blue"),
    "up_for_retry": ("↻", "yellow"),
    "upstream_failed": ("▲", "yellow"),
    "skipped": ("»", "dim"),
    "updated": ("■", "magenta"),
    "created": ("■", "magenta"),
}
"""A sign and a colour for each state: the sign says it where there is no colour."""


RUN_SIGNS = 36  # characters of a run id in a line: its kind, its date and its time
_FRACTION = re.compile(r"\.[0-9]+(?=[+Z-])|\+00:00")
"""The part of a run id's moment behind its second, and its offset from UTC if that is zero."""
DETAIL_SIGNS = 90  # characters of what was said: the beginning of an error names it


def shorten_run_id(run_id: str) -> str:
    """Return a run id as one finds it in Airflow's lists: to the second, a long one without its middle."""
    text = _FRACTION.sub("", line(run_id))
    half = RUN_SIGNS // 2
    return text if len(text) <= RUN_SIGNS else f"{text[:half]}…{text[half + 1 - RUN_SIGNS :]}"


def render(item: Event | Reset) -> Text:
    """Return a line for a terminal: the time, the state, the place and the beginning of an error.

    The place is the DAG, the task and the run. Raises WindsockError if the event's data is not what
    docs/events.md says."""
    if isinstance(item, Reset):
        return Text(f"--:--:--  events may have been missed: {line(item.reason)}", "bold red")
    try:
        return _render_event(item)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise _unreadable(item) from None


def _render_event(item: Event) -> Text:
    event = EventLine.read(0, item.raw)
    sign, style = SIGNS.get(event.word, ("·", ""))
    text = _begin_line(item.time.astimezone(), sign, event.word, style)
    if event.dag_id and event.kind != "asset":
        text.append(line(" · ".join(part for part in (event.dag_id, event.task) if part)), "bold")
        if event.run_id:
            text.append(f"  {shorten_run_id(event.run_id)}", "dim")
    else:
        text.append(line(event.subject), "bold")
    return text.append(f"  {shorten(line(event.detail), DETAIL_SIGNS)}") if event.detail else text


def _unreadable(item: Event | Reset) -> WindsockError:
    return WindsockError(f"what is told at {item.cursor} is no event: is it the monitor's address?")


def local_time(moment: str) -> datetime:
    """Return the moment in this machine's zone. Raises ValueError, OverflowError."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone()


def _begin_line(moment: datetime, sign: str, word: str, style: str) -> Text:
    return Text.assemble((f"{moment:%H:%M:%S %Z}  ", "dim"), (f"{sign} {line(word):<16}", style))


DELIVERY_STYLES = {"sent": "green", "dead": "bold red", "uncertain": "bold red"}


@dataclass(frozen=True)
class SettledDelivery:
    """The outcome of a notification to one recipient."""

    id: int
    at: str
    state: str
    whom: str
    about: str
    event_id: str

    @classmethod
    def read(cls, row: dict[str, Any]) -> SettledDelivery | None:
        """Return the delivery of a row of the API, or None if it still waits.
        Raises ValueError, KeyError, TypeError."""
        at = row["settled_at"]
        if at is None:
            return None
        local_time(at)
        about = str(row["subject"] or row["kind"])
        if row["state"] != "sent":
            about = f"{about}  {row['reason']}"
        whom = f"{row['channel']} {row['recipient']}"
        return cls(int(row["id"]), at, str(row["state"]), whom, about, str(row["event_id"]))

    def render(self) -> Text:
        """Return the delivery as a line for a terminal."""
        style = DELIVERY_STYLES.get(self.state, "yellow")
        text = _begin_line(local_time(self.at), "✉", self.state, style)
        text.append(f"to {line(self.whom)}", "bold")
        return text.append(f"  {shorten(line(self.about), DETAIL_SIGNS)}")


class Days:
    """The day above the first line of each day, as the lines show the time alone. Today needs none."""

    def __init__(self, today: date) -> None:
        self._shown = today

    def above(self, moment: datetime) -> Text | None:
        """Return the heading of the moment's day, if the line before was of another day."""
        day = moment.date()
        if day == self._shown:
            return None
        self._shown = day
        return Text(f"── {day:%A %Y-%m-%d} ──", "dim")


class OutputGone(Exception):
    """The reader of the output has closed it, as `head` does. This is an end like any other."""


class Output(Console):
    """A terminal or a pipe."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise OutputGone."""
        raise OutputGone


class LinePrinter:
    """The printer of lines for people, in order of time, or of JSON objects as in the feed's NDJSON.

    Its methods may be called from several threads. All of them raise OutputGone."""

    def __init__(self, as_json: bool, out: Console) -> None:
        self._as_json = as_json
        self._out = out
        self._days = Days(datetime.now().astimezone().date())
        self._held: list[tuple[datetime, int, Text]] = []
        self._number = 0
        self._lock = threading.RLock()

    def print(self, item: Event | Reset) -> None:
        """Print an item of the feed. Raises WindsockError if the item cannot be shown."""
        if self._as_json:
            self._write(as_json(item))
            return
        text = render(item)
        if isinstance(item, Event):
            self.add(item.time.astimezone(), text)
            return
        with self._lock:
            self.flush()
            self._out.print(text, soft_wrap=True)

    def add(self, moment: datetime, text: Text) -> None:
        """Hold a line until what happened before it has come too."""
        with self._lock:
            self._number += 1
            heappush(self._held, (moment, self._number, text))
            if len(self._held) > MAX_HELD:
                self._print_first()

    def flush(self) -> None:
        """Print all lines that are held back."""
        with self._lock:
            while self._held:
                self._print_first()

    def _print_first(self) -> None:
        moment, _, text = heappop(self._held)
        if day := self._days.above(moment):
            self._out.print(day)
        self._out.print(text, soft_wrap=True)

    def _write(self, line: str) -> None:
        try:
            self._out.file.write(f"{line}\n")
            self._out.file.flush()
        except BrokenPipeError:
            raise OutputGone from None


def as_json(item: Event | Reset) -> str:
    """Return the item as the feed's NDJSON has it, in ASCII: nothing in it can command a terminal.

    Raises WindsockError if it is nested too deeply.
    """
    record = {"event": item.raw} if isinstance(item, Event) else {"reset": {"reason": item.reason}}
    try:
        return json.dumps({"id": item.cursor, **record})
    except RecursionError:
        raise _unreadable(item) from None
