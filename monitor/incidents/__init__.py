"""What is wrong, since when, and until when: a function of the log, whatever the rules are."""

from monitor.incidents.closing import BY_SYSTEM, Reopened, close, close_found, reopen
from monitor.incidents.course import Change, Course, Open, apply
from monitor.incidents.files import name_file
from monitor.incidents.forget import forget
from monitor.incidents.order import latest_of_failures
from monitor.incidents.signals import Meaning, Signal, concerns, signal_of
from monitor.incidents.store import (
    CLOSED,
    OPEN,
    Incident,
    Wanted,
    acknowledge,
    begin_later,
    confirm_later,
    confirmed,
    find,
    find_all,
    mark_flapping,
    open_ones,
    page,
    recent,
    retract,
    still_open,
    to_confirm,
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
    "Reopened",
    "Signal",
    "Wanted",
    "acknowledge",
    "apply",
    "begin_later",
    "close",
    "close_found",
    "concerns",
    "confirm_later",
    "confirmed",
    "find",
    "find_all",
    "forget",
    "latest_of_failures",
    "mark_flapping",
    "name_file",
    "open_ones",
    "page",
    "recent",
    "reopen",
    "retract",
    "signal_of",
    "still_open",
    "to_confirm",
    "unacknowledge",
]
