"""The header of each request that describes the spool it comes from, so that the monitor can show it."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from collections.abc import Sequence

from airflow_windsock.counter import SharedCounter
from airflow_windsock.spool import Spool, SpooledEvent

HEADER = "windsock-spool"
FAILED = "failed_hooks"  # the file in the spool that counts hooks which could not report
MAX_HOST = 48  # characters of the host's name: the monitor takes 64 with what follows
MOMENT = 20  # digits at the beginning of a file's name: when it was put, in nanoseconds


class StatusHeader:
    """The header that reports the spool's state.
    The name in it distinguishes hosts, and several spools of a host."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._failed = SharedCounter(spool.root / FAILED)
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:MAX_HOST]
        self._name = f"{host}-{hashlib.sha256(str(spool.root).encode()).hexdigest()[:8]}"

    def format(self, events: Sequence[SpooledEvent]) -> str:
        """Return the header's value for a request with these events, the oldest first."""
        moments = [int(event.name[:MOMENT]) for event in events[:1] if event.name[:MOMENT].isdigit()]
        oldest = max(0, (time.time_ns() - moments[0]) // 10**9) if moments else 0
        return (
            f"name={self._name};waiting={max(len(events), self._spool.waiting)};oldest={oldest};"
            f"refused={int(self._spool.refused)};failed={int(self._failed)}"
        )
