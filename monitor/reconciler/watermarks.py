"""Up to where Airflow has been compared with the log. Only this module names its table."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, select, true

from monitor.database.bulk import Write, replacing
from monitor.database.schema import watermarks

_SAVE = Write(watermarks, replacing(watermarks, lambda _new: true()))
"""An upsert: two replicas may save the same at once, for a moment (replicas/turns.py)."""


def load(connection: Connection, deployment: str) -> dict[str, datetime]:
    """Each listing's watermark by its name."""
    query = select(watermarks.c.name, watermarks.c.moment).where(watermarks.c.deployment == deployment)
    return {row.name: row.moment for row in connection.execute(query)}


def save(connection: Connection, deployment: str, marks: Mapping[str, datetime], now: datetime) -> None:
    """Set these watermarks."""
    rows = [
        {"deployment": deployment, "name": name, "moment": moment, "updated_at": now}
        for name, moment in sorted(marks.items())  # all in one order, or two would wait for each other
    ]
    _SAVE.rows(connection, rows)


def forget(connection: Connection, deployment: str, names: Collection[str]) -> None:
    """Have none of these names."""
    some = (watermarks.c.deployment == deployment, watermarks.c.name.in_(names))
    connection.execute(delete(watermarks).where(*some))
