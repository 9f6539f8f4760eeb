"""How the comparison with an Airflow stands, in the database: for the replicas that do not do it themselves.

Moments only, beside the watermarks: Airflow's own words are in the log of the replica that asks it.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.reconciler import watermarks
from monitor.reconciler.listings import LISTINGS
from monitor.reconciler.standing import MAX_BACK_OFF, ReconcilerStatus

GOOD, SILENT, FAILING, SEEN = "compared", "silent_since", "failing", "looked"
"""Their names among the watermarks: see `save`."""
STALE = timedelta(seconds=2 * MAX_BACK_OFF + 60)
"""The longest pause between two looks, and time for a long one: what is older says nothing of now."""
ELSEWHERE = "another replica compares it, and cannot at the moment: its log says why"


def save(connection: Connection, status: ReconcilerStatus, now: datetime) -> None:
    """What is known after a look."""
    failing = now if status.last_error is not None else None
    moments = {GOOD: status.last_good, SILENT: status.silent_since, FAILING: failing, SEEN: now}
    known = {name: moment for name, moment in moments.items() if moment is not None}
    watermarks.forget(connection, status.deployment, moments.keys() - known)
    watermarks.save(connection, status.deployment, known, now)


def load(connection: Connection, deployment: str, now: datetime) -> ReconcilerStatus:
    """What the replica that compares knew after its last look; nothing where that is long ago."""
    found = watermarks.load(connection, deployment)
    marks = {each.name: found[each.name] for each in LISTINGS if each.name in found}
    if SEEN not in found or now - found[SEEN] > STALE:
        found = {}
    silent_since = found.get(SILENT)
    return ReconcilerStatus(
        deployment,
        last_good=found.get(GOOD),
        last_error=ELSEWHERE if silent_since or FAILING in found else None,
        watermark=min(marks.values(), default=None),
        marks=marks,
        silent_since=silent_since,
    )
