"""What is wrong, since when, and until when: a function of the log, whatever the rules are."""

from monitor.incidents.course import Change, Course, Open, apply
from monitor.incidents.forget import forget
from monitor.incidents.signals import Meaning, Signal, concerns, signal_of
from monitor.incidents.store import (
    CLOSED,
    OPEN,
    Incident,
    Wanted,
    acknowledge,
    begin_later,
    find,
    find_all,
    mark_flapping,
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
    "Open",
    "Signal",
    "Wanted",
    "acknowledge",
    "apply",
    "begin_later",
    "concerns",
    "find",
    "find_all",
    "forget",
    "mark_flapping",
    "open_ones",
    "page",
    "recent",
    "retract",
    "signal_of",
    "unacknowledge",
]
