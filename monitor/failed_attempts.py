"""Wrong passwords and tokens, counted by name in windows that begin with the first, in every monitor on the
same database. Only this module names their table.
"""

import hashlib
import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, delete, func, select

from monitor.database.bulk import Write
from monitor.database.schema import failed_attempts as table

FAILURES = 10  # for one name (a user, or an address) in a window; then it has to wait
WINDOW_SECONDS = 300
MAX_NAMES = 10_000  # that are counted; the oldest are forgotten, so the table stays bounded


def wait(connection: Connection, names: Iterable[str], now: datetime) -> int:
    """Seconds until all of these names may try again; 0: now."""
    query = select(func.max(table.c.ends_at)).where(
        table.c.hash.in_([_hash(name) for name in names]),
        table.c.number >= FAILURES,
        table.c.ends_at > now,
    )
    until: datetime | None = connection.execute(query).scalar_one()
    return math.ceil((until - now).total_seconds()) if until else 0


def fail(connection: Connection, names: Iterable[str], now: datetime) -> None:
    """Count one more failure of each name."""
    ends = now + timedelta(seconds=WINDOW_SECONDS)
    hashes = sorted(_hash(name) for name in names)  # in one order, or two monitors could wait for each other
    _COUNT.rows(connection, [{"hash": one, "number": 1, "began_at": now, "ends_at": ends} for one in hashes])
    surplus = connection.execute(select(func.count()).select_from(table)).scalar_one() - MAX_NAMES
    if surplus > 0:
        oldest = select(table.c.hash).order_by(table.c.ends_at).limit(surplus)
        connection.execute(delete(table).where(table.c.hash.in_(oldest.scalar_subquery())))


def forget(connection: Connection, now: datetime) -> int:
    """Those whose window is over; answers how many. There are never more than MAX_NAMES."""
    return connection.execute(delete(table).where(table.c.ends_at <= now)).rowcount


def forget_all(connection: Connection) -> None:
    connection.execute(delete(table))


def _count(insert: Any) -> Any:
    put = insert(table)
    new = put.excluded
    is_over = table.c.ends_at <= new.began_at
    counted = {
        "number": case((is_over, new.number), else_=table.c.number + new.number),
        "began_at": case((is_over, new.began_at), else_=table.c.began_at),
        "ends_at": case((is_over, new.ends_at), else_=table.c.ends_at),
    }
    return put.on_conflict_do_update(index_elements=table.primary_key, set_=counted)


_COUNT = Write(table, _count)


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
