"""Where Airflow and the log's last word on the very same thing disagree: what must be told again.

A state that is set by hand and set back comes to ids that the log knows already, so the log would go on
saying what was in between. The end that Airflow holds is told again, under the next free `<id>:2`, `:3`, ….

Only ends: a report of an end that is ahead of Airflow's commit looks like a run set back to `running`, and a
run or try that truly begins again has another start, or another UUID, and so another id.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection

from monitor import board, event_log
from monitor.board import LastWord
from monitor.events import Event
from monitor.events.identity import nth

TRIED_AT_ONCE = 8  # numbers looked up in one statement; who is set back more often costs one more


def contradictions(
    connection: Connection, source: str, events: Mapping[str, Event], settled_before: datetime
) -> list[Event]:
    """Which of these ends must be told again, each under its next free id.

    `events` are built from Airflow's rows, by id, and the log knows each of the ids. A last word counts only
    where it was logged before `settled_before`, which is to be earlier than Airflow was asked by more than
    a commit takes: a younger one may be newer than Airflow's answer, or ahead of Airflow's commit.
    """
    ends = [event for event in events.values() if board.is_end(event)]
    words = board.last_words(connection, ends)
    opposed = [(event, words[event.id]) for event in ends if event.id in words and _opposes(event, words)]
    logged = event_log.received(connection, {word.seq for _, word in opposed})
    settled = [event for event, word in opposed if _settled(logged.get(word.seq), settled_before)]
    return _told_again(connection, source, settled)


def _opposes(event: Event, words: Mapping[str, LastWord]) -> bool:
    return bool(words[event.id].state != event.get("state"))


def _settled(logged: datetime | None, before: datetime) -> bool:
    return logged is None or logged < before  # None: so old that it is forgotten


def _told_again(connection: Connection, source: str, events: Iterable[Event]) -> list[Event]:
    """The events under the first of `:2`, `:3`, … that the log lacks; numbers are given without gaps."""
    waiting, free, first = {event.id: event for event in events}, [], 2
    while waiting:
        tried = {plain: [nth(plain, number) for number in _numbers(first)] for plain in waiting}
        lacking = event_log.missing(connection, source, (one for ids in tried.values() for one in ids))
        for plain, ids in tried.items():
            if found := next((one for one in ids if one in lacking), None):
                free.append(waiting.pop(plain).renamed(found))
        first += TRIED_AT_ONCE
    return free


def _numbers(first: int) -> range:
    return range(first, first + TRIED_AT_ONCE)
