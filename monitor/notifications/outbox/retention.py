"""The pruning of the ledger by age.

`forget` deletes notifications with all that belongs to them. `forget_decisions` deletes decisions without a
notification. monitor/retention.py calls both once a day.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select

from monitor.database.schema import (
    decisions,
    deliveries,
    delivery_attempts,
    notification_incidents,
    notifications,
)
from monitor.database.statements import BATCH, Key, SweepResult, walk
from monitor.notifications.outbox.threads import ON_THEIR_WAY

StillOpen = Callable[[Connection, Iterable[int]], set[int]]
"""A function that returns those of these incidents that are open."""
AT_ONCE = 200  # notifications in one transaction, with their deliveries, attempts and decisions


def forget(connection: Connection, before: datetime, after: Key, still_open: StillOpen) -> SweepResult:
    """Delete the next notifications, in the order of their ids, that were made before a moment.

    Kept are those with a delivery still on its way, and those of open incidents, because later notifications
    depend on who was notified. The latest is kept too, so that its number is never reused."""
    latest = connection.execute(select(func.max(notifications.c.id))).scalar_one()
    page = (
        select(notifications.c.id)
        .where(
            notifications.c.id > (after[0] if after else 0),
            notifications.c.id < (latest or 0),
            notifications.c.created_at < before,
        )
        .order_by(notifications.c.id)
        .limit(AT_ONCE)
    )
    ids = list(connection.execute(page).scalars())
    if not ids:
        return SweepResult(0, None)
    gone, is_all = _forget(connection, sorted(set(ids) - _ids_to_keep(connection, ids, still_open)))
    return SweepResult(gone, after if not is_all else (ids[-1],) if len(ids) == AT_ONCE else None)


def _ids_to_keep(connection: Connection, ids: Sequence[int], still_open: StillOpen) -> set[int]:
    # Locked, so that at this moment no person can have one of them sent again.
    states = select(deliveries.c.notification_id, deliveries.c.state).where(
        deliveries.c.notification_id.in_(ids)
    )
    rows = connection.execute(states.with_for_update())
    unsent = {row.notification_id for row in rows if row.state in ON_THEIR_WAY}
    last_sent = connection.execute(
        select(notification_incidents).where(notification_incidents.c.notification_id.in_(ids))
    ).all()
    still = still_open(connection, (row.incident_id for row in last_sent))
    return unsent | {row.notification_id for row in last_sent if row.incident_id in still}


def _forget(connection: Connection, ids: Sequence[int]) -> tuple[int, bool]:
    """Delete rows of notifications.
    Return how many, and whether that was all: an outage's notification may have thousands."""
    of_delivery = select(deliveries.c.id).where(deliveries.c.notification_id.in_(ids))
    gone = 0
    for table, which in (
        (decisions, decisions.c.notification_id.in_(ids)),
        (delivery_attempts, delivery_attempts.c.delivery_id.in_(of_delivery)),
    ):
        gone += (some := _some(connection, table, which))
        if some == BATCH:
            return gone, False
    for table, which in (
        (deliveries, deliveries.c.notification_id.in_(ids)),
        (notification_incidents, notification_incidents.c.notification_id.in_(ids)),
        (notifications, notifications.c.id.in_(ids)),
    ):
        gone += connection.execute(delete(table).where(which)).rowcount
    return gone, True


def _some(connection: Connection, table: Table, which: ColumnElement[bool]) -> int:
    some = select(table.c.id).where(which).limit(BATCH)
    return connection.execute(delete(table).where(table.c.id.in_(some.scalar_subquery()))).rowcount


def forget_decisions(connection: Connection, before: datetime, after: Key) -> SweepResult:
    """Delete decisions without a notification. The others are deleted with their notifications."""
    old = (decisions.c.created_at < before) & decisions.c.notification_id.is_(None)
    return walk(connection, decisions, after, old, young=decisions.c.created_at >= before)
