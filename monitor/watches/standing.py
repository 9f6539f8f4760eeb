"""What watches have told, so that it is told once, whatever restarts. Only this module names its table."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from monitor.database import sweep
from monitor.database.schema import watch_findings
from monitor.watches.finding import Finding, Key, Open

MAX_SUBJECT = 1_500  # characters, the column's


def open_findings(connection: Connection, deployment: str) -> dict[Key, Open]:
    """What is wrong and was told."""
    query = select(watch_findings).where(
        watch_findings.c.deployment == deployment, watch_findings.c.ended_at.is_(None)
    )
    rows = connection.execute(query)
    found = [Open(row.type, row.subject, row.found, row.raised_at) for row in rows]
    return {one.key: one for one in found}


_HERE = (
    (watch_findings.c.deployment == bindparam("at_deployment"))
    & (watch_findings.c.type == bindparam("at_type"))
    & (watch_findings.c.subject == bindparam("at_subject"))
)


def _places(deployment: str, keys: Collection[Key]) -> list[dict[str, object]]:
    return [{"at_deployment": deployment, "at_type": kind, "at_subject": subject} for kind, subject in keys]


def raise_all(connection: Connection, deployment: str, findings: Collection[Finding], now: datetime) -> None:
    """Keep that these were told, in place of what was told before of the same subjects."""
    if not findings:
        return
    connection.execute(delete(watch_findings).where(_HERE), _places(deployment, [f.key for f in findings]))
    rows = [
        {"type": one.type, "subject": one.subject, "found": one.found, "raised_at": now} for one in findings
    ]
    connection.execute(insert(watch_findings), [row | {"deployment": deployment} for row in rows])


def end_all(connection: Connection, deployment: str, keys: Collection[Key], now: datetime) -> None:
    """Keep that these are over."""
    if keys:
        ended = update(watch_findings).where(_HERE).values(ended_at=now)
        connection.execute(ended, _places(deployment, keys))


def forget(connection: Connection, before: datetime, after: sweep.Key) -> sweep.Swept:
    """Those that were over before a moment."""
    return sweep.walk(connection, watch_findings, after, watch_findings.c.ended_at < before)
