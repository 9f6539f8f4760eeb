"""What is wrong, since when, and until when: a function of the log, whatever the rules are."""

from monitor.incidents.course import Change, Course, apply
from monitor.incidents.signals import Meaning, Signal, overtaken_by, signal_of
from monitor.incidents.store import (
    CLOSED,
    OPEN,
    Incident,
    Wanted,
    acknowledge,
    find,
    find_all,
    mark_flapping,
    open_of,
    open_ones,
    page,
    recent,
    retract,
    unacknowledge,
)

__all__ = [
    "CLOSED",
    "OPEN",
    "Change",
    "Course",
    "Incident",
    "Meaning",
    "Signal",
    "Wanted",
    "acknowledge",
    "apply",
    "find",
    "find_all",
    "mark_flapping",
    "open_of",
    "open_ones",
    "overtaken_by",
    "page",
    "recent",
    "retract",
    "signal_of",
    "unacknowledge",
]
