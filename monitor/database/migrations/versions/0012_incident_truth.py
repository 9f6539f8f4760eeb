"""What names an incident and what ends it: the order of runs, mapped tasks, runs that are stuck or late."""

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from monitor.database.types import UtcDateTime
from monitor.events.identity import DIGEST_DIGITS, digest

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

MAX_KEY = 300  # characters: the column's
GONE = "closed by the upgrade: what it was about is no longer in the log, so no event could end it"
MOMENTS = ("latest_moment", "latest_start", "latest_undated_start")


def upgrade() -> None:
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.add_column(sa.Column("quiet_seconds", sa.Integer(), nullable=True))
        for name in (*MOMENTS, "confirm_since", "confirm_at"):
            batch_op.add_column(sa.Column(name, UtcDateTime(), nullable=True))
    op.create_index(op.f("ix_incidents_confirm_at"), "incidents", ["confirm_at"])
    with op.batch_alter_table("notifications", schema=None) as batch_op:
        batch_op.add_column(sa.Column("gathered_into", sa.BigInteger(), nullable=True))
    _name_anew(op.get_bind())


def _name_anew(connection: sa.Connection) -> None:
    """Give each open incident the key and the moments that its last failure has by now."""
    incidents = sa.table(
        "incidents",
        *(sa.column(name) for name in ("id", "key", "state", "last_seq", "closed_because", "closed_by")),
        *(sa.column(name, UtcDateTime()) for name in (*MOMENTS, "closed_at", "last_at")),
    )
    events = sa.table("events", sa.column("seq"), sa.column("body"))
    query = (
        sa.select(incidents.c.id, incidents.c.key, incidents.c.last_at, events.c.body)
        .select_from(incidents.outerjoin(events, events.c.seq == incidents.c.last_seq))
        .where(incidents.c.state == "open")
    )
    for row in connection.execute(query).all():
        change = _changes(row.key, json.loads(row.body) if row.body else None)
        if change is None:
            change = {"state": "closed", "closed_at": row.last_at, "closed_because": GONE}
            change["closed_by"] = "Windsock"
        if change:
            connection.execute(incidents.update().where(incidents.c.id == row.id).values(change))


def _changes(key: str, event: dict[str, Any] | None) -> dict[str, Any] | None:
    """None: nothing could end an incident of this key any more."""
    kind, _, name = key.partition(":")
    data = event["data"] if event else None
    match kind:
        case "dag":
            return _order(data) if data else {}
        case "task":
            index = data.get("map_index", -1) if data else -1
            return {} if index in (None, -1) else _key(f"{key}[{index}]")
        case "windsock.run.missing":
            return {"latest_moment": _moment(data["expected_at"])} if data else {}
        case "windsock.run.late" | "windsock.run.stuck":
            return _key(f"{kind}:{name}/{data['run_id']}") if data else None
        case _:
            return {}


def _order(data: dict[str, Any]) -> dict[str, Any]:
    start, logical = (_moment(data.get(name)) for name in ("start_date", "logical_date"))
    end = _moment(data.get("data_interval_end"))
    moment = max(logical, end or logical) if logical else None
    return dict(zip(MOMENTS, (moment, start, None if moment else start), strict=True))


def _key(key: str) -> dict[str, Any]:
    return {"key": key if len(key) <= MAX_KEY else f"{key[: MAX_KEY - DIGEST_DIGITS - 1]}:{digest(key)}"}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
