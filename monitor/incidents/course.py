"""The course of an incident: what one event changes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from sqlalchemy import Connection

from monitor.events import Event
from monitor.events.data import DagRunData, TaskInstanceData
from monitor.incidents import store
from monitor.incidents.closing import reopen
from monitor.incidents.files import open_of_file
from monitor.incidents.order import Order, order_of, schedule_moment
from monitor.incidents.signals import (
    IMPORT_ERROR,
    MISSING,
    Meaning,
    Signal,
    concerned,
    overtaken_by,
    signal_of,
)
from monitor.incidents.store import Incident


class Course(str, Enum):
    """What an event did to an incident."""

    OPENED = "opened"
    JOINED = "joined"
    REOPENED = "reopened"
    """It flaps: it was closed a short while ago."""
    CLOSED = "closed"
    NONE = "none"
    """There is nothing wrong that it could end, or it is no signal at all."""


@dataclass(frozen=True)
class Change:
    course: Course
    incident: Incident | None = None
    is_told_over: bool = False
    """Somebody was told already that it is over, and it is not."""


class Open:
    """The open incidents that some events may change: read once, and kept up to each change."""

    def __init__(self, connection: Connection, events: Iterable[Event]) -> None:
        keys = {(event.deployment, key) for event in events for key in concerned(event)}
        self._by_key = {
            (incident.deployment, incident.key): incident for incident in store.open_of(connection, keys)
        }

    def of(self, deployment: str, key: str) -> Incident | None:
        return self._by_key.get((deployment, key))

    def keep(self, incident: Incident) -> Incident:
        if incident.is_open:
            self._by_key[incident.deployment, incident.key] = incident
        else:
            del self._by_key[incident.deployment, incident.key]
        return incident


def apply(connection: Connection, seq: int, event: Event, known: Open, now: datetime) -> Change:
    """Bring the incidents up to an event that has just been logged; answers what became of its own.

    Moments are the events' own, so that reports which overtake each other end nothing that began later.
    """
    report = _Report(connection, seq, event, known, now)
    for key in overtaken_by(event):
        report.end(key, _as_answer(event, key))
    signal = signal_of(event)
    if signal is None:
        return Change(Course.NONE)
    if signal.meaning is Meaning.RECOVERY:
        ended = report.end(signal.key)
        return Change(Course.CLOSED, ended) if ended else Change(Course.NONE)
    return report.fail(signal)


@dataclass(frozen=True)
class _Report:
    """One event, and what it changes."""

    connection: Connection
    seq: int
    event: Event
    known: Open
    now: datetime

    def fail(self, signal: Signal) -> Change:
        before = self._open(signal.key)
        if before is not None:
            return self._joined(Course.JOINED, before)
        if (flapping := self._flapping(signal.key)) is not None:
            again = reopen(self.connection, flapping, "it failed again", self.now)
            return replace(self._joined(Course.REOPENED, again.incident), is_told_over=again.is_told_over)
        order = order_of(self.connection, self.event)
        begun = store.begin(self.connection, self.seq, self.event, signal.key, signal.title, order)
        return Change(Course.OPENED, self.known.keep(begun))

    def _open(self, key: str) -> Incident | None:
        if not key.startswith(IMPORT_ERROR):
            return self.known.of(self.event.deployment, key)
        found = open_of_file(self.connection, self.event)
        return self.known.keep(found) if found else None

    def _joined(self, course: Course, incident: Incident) -> Change:
        order = order_of(self.connection, self.event)
        joined = store.join(self.connection, incident, self.seq, self.event.time, order)
        return Change(course, self.known.keep(joined))

    def _flapping(self, key: str) -> Incident | None:
        """The incident that flaps, if it has not been quiet for long enough to be over."""
        latest = store.latest_of(self.connection, self.event.deployment, key)
        if latest is None or latest.quiet is None or latest.closed_at is None or latest.closed_seq is None:
            return None
        return latest if self.event.time - latest.closed_at < latest.quiet else None

    def end(self, key: str, answer: Order | None = None) -> Incident | None:
        """Close the open incident of a key, if this event is an answer to its failures. `answer`: the event's
        place among them, if it is not that of its run."""
        incident = self._open(key)
        if incident is None or self.event.time < incident.last_at:
            return None
        if not incident.latest.is_answered_by(answer or order_of(self.connection, self.event)):
            return None
        because = f"{self.event.type} of {self.event.subject}"
        confirm_from = self.now if is_airflows(self.event) else None
        closed = store.close(
            *(self.connection, incident, self.seq, because, self.event.time), confirm_from=confirm_from
        )
        return self.known.keep(closed)


def is_airflows(event: Event) -> bool:
    """Return True if Airflow can be asked whether the event is so."""
    return isinstance(event.data, DagRunData | TaskInstanceData)


def _as_answer(event: Event, key: str) -> Order | None:
    """The place of a run that begins or ends among the moments of its DAG's schedule."""
    if not key.startswith(MISSING) or not isinstance(event.data, DagRunData):
        return None
    return Order(schedule_moment(event, event.data), None)
