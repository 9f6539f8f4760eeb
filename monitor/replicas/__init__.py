"""Several monitors on one PostgreSQL: what one commits wakes the others (NOTIFY), and what only one is to do
is done by whoever has the turn (advisory locks). On SQLite a monitor is alone, and has every turn."""

from monitor.replicas.failed_works import FailedWorks
from monitor.replicas.link import Link
from monitor.replicas.listener import Listener
from monitor.replicas.signals import DELIVERY, FEED, reconcile, run_ended, signal
from monitor.replicas.turns import Alone, SharedTurns, Turns, by_turns, holders, turns_of

__all__ = [
    "DELIVERY",
    "FEED",
    "Alone",
    "FailedWorks",
    "Link",
    "Listener",
    "SharedTurns",
    "Turns",
    "by_turns",
    "holders",
    "reconcile",
    "run_ended",
    "signal",
    "turns_of",
]
