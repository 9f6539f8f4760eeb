"""Up to where Airflow has been compared with the log. Only this module names its table."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from monitor.database.schema import watermarks


def load(connection: Connection, deployment: str) -> dict[str, datetime]:
    """Each listing's watermark by its name."""
    query = select(watermarks.c.name, watermarks.c.moment).where(watermarks.c.deployment == deployment)
    return {row.name: row.moment for row in connection.execute(query)}


def save(connection: Connection, deployment: str, marks: Mapping[str, datetime], now: datetime) -> None:
    """Set these watermarks."""
    forget(connection, deployment, marks.keys())
    rows = [
        {"deployment": deployment, "name": name, "moment": moment, "updated_at": now}
        for name, moment in marks.items()
    ]
    connection.execute(insert(watermarks), rows)


def forget(connection: Connection, deployment: str, names: Collection[str]) -> None:
    """Have none of these names."""
    some = (watermarks.c.deployment == deployment, watermarks.c.name.in_(names))
    connection.execute(delete(watermarks).where(*some))
