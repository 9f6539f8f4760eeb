"""The course of an incident: what one event changes."""

from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection

from monitor.events import Event
from monitor.incidents import store
from monitor.incidents.signals import Meaning, overtaken_by, signal_of
from monitor.incidents.store import Incident


class Course(str, Enum):
    """What an event did to an incident."""

    OPENED = "opened"
    JOINED = "joined"
    CLOSED = "closed"
    NONE = "none"
    """There is nothing wrong that it could end, or it is no signal at all."""


@dataclass(frozen=True)
class Change:
    course: Course
    incident: Incident | None = None


def apply(connection: Connection, seq: int, event: Event) -> Change:
    """Bring the incidents up to an event that has just been logged; answers what became of its own.

    Moments are the events' own, so that reports which overtake each other end nothing that began later.
    """
    for key in overtaken_by(event):
        _end(connection, seq, event, key)
    signal = signal_of(event)
    if signal is None:
        return Change(Course.NONE)
    if signal.meaning is Meaning.RECOVERY:
        ended = _end(connection, seq, event, signal.key)
        return Change(Course.CLOSED, ended) if ended else Change(Course.NONE)
    known = store.open_of(connection, event.deployment, signal.key)
    if known is None:
        begun = store.begin(connection, seq, event, signal.key, signal.title)
        return Change(Course.OPENED, begun)
    return Change(Course.JOINED, store.join(connection, known, seq, event.time))


def _end(connection: Connection, seq: int, event: Event, key: str) -> Incident | None:
    known = store.open_of(connection, event.deployment, key)
    if known is None or event.time < known.last_at:
        return None
    return store.close(connection, known, seq, f"{event.type} of {event.subject}", event.time)
