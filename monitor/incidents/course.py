"""The course of an incident: what one event changes."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection

from monitor.events import Event
from monitor.incidents import store
from monitor.incidents.signals import Meaning, concerned, overtaken_by, signal_of
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


def apply(connection: Connection, seq: int, event: Event, known: Open) -> Change:
    """Bring the incidents up to an event that has just been logged; answers what became of its own.

    Moments are the events' own, so that reports which overtake each other end nothing that began later.
    """
    for key in overtaken_by(event):
        _end(connection, seq, event, key, known)
    signal = signal_of(event)
    if signal is None:
        return Change(Course.NONE)
    if signal.meaning is Meaning.RECOVERY:
        ended = _end(connection, seq, event, signal.key, known)
        return Change(Course.CLOSED, ended) if ended else Change(Course.NONE)
    before = known.of(event.deployment, signal.key)
    if before is None:
        begun = store.begin(connection, seq, event, signal.key, signal.title)
        return Change(Course.OPENED, known.keep(begun))
    return Change(Course.JOINED, known.keep(store.join(connection, before, seq, event.time)))


def _end(connection: Connection, seq: int, event: Event, key: str, known: Open) -> Incident | None:
    incident = known.of(event.deployment, key)
    if incident is None or event.time < incident.last_at:
        return None
    because = f"{event.type} of {event.subject}"
    return known.keep(store.close(connection, incident, seq, because, event.time))
