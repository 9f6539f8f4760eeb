"""Since when Windsock tells of a deployment. What happened before is the past: it is logged, and nobody is
mailed about it, or a first start would mail every failure that Airflow remembers.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from monitor.database.prepared import Statement
from monitor.database.schema import watermarks

ORIGIN = "origin"
BEFORE_FIRST_SIGHT = timedelta(minutes=5)
"""What happened so shortly before Windsock first heard of a deployment is told: whoever installs it and sees
a run fail meanwhile expects the mail."""


def origin_of(connection: Connection, deployment: str, now: datetime) -> datetime:
    """The moment from which on a deployment is told of; set at the first question, kept for ever."""
    known = _known(connection, deployment)
    if known is not None:
        return known
    moment = now - BEFORE_FIRST_SIGHT
    row = {"deployment": deployment, "name": ORIGIN, "moment": moment, "updated_at": now}
    try:
        with connection.begin_nested():
            connection.execute(insert(watermarks).values(row))
    except IntegrityError:  # another monitor was faster: its word counts
        return _known(connection, deployment) or moment
    return moment


def _known(connection: Connection, deployment: str) -> datetime | None:
    found = _MOMENT.first(connection, deployment=deployment)
    return found["moment"] if found else None


_MOMENT = Statement(
    lambda _insert: select(watermarks.c.moment).where(
        watermarks.c.deployment == bindparam("deployment"), watermarks.c.name == ORIGIN
    )
)
