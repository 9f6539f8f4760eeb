"""What is wrong, since when, and until when: a function of the log, whatever the rules are."""

from monitor.incidents.closing import BY_SYSTEM, close
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
    still_open,
    unacknowledge,
)

__all__ = [
    "BY_SYSTEM",
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
    "close",
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
    "still_open",
    "unacknowledge",
]
