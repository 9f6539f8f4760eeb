"""What is forgotten of incidents by age: those that are over."""

from datetime import datetime

from sqlalchemy import Connection

from monitor.database.schema import incidents as table
from monitor.database.sweep import Swept, oldest
from monitor.incidents.store import CLOSED


def forget(connection: Connection, before: datetime) -> Swept:
    """Those that were closed before a moment. One that is open is kept for as long as it is."""
    old = table.c.state == CLOSED, table.c.opened_at < before, table.c.closed_at < before
    return oldest(connection, table, table.c.opened_at, *old)
