"""Import errors by bundle and path within it."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from monitor.database.types import UtcDateTime
from monitor.events.identity import CHANGING, DIGEST_DIGITS, digest

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

KEY = "import_error:"
MAX_KEY = 300  # characters: the column's
GONE = "closed by the upgrade: the log no longer knows which file it was about, so no event could end it"

EVENTS = sa.table("events", *map(sa.column, ("seq", "id", "deployment", "body")))


def upgrade() -> None:
    with op.batch_alter_table("import_errors", schema=None) as batch_op:
        batch_op.add_column(sa.Column("path", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("trace", sa.String(length=32), nullable=True))
    connection = op.get_bind()
    _keep_traces(connection)
    _name_incidents(connection)


def _keep_traces(connection: sa.Connection) -> None:
    """Of the errors that are open, so that they are known again under their new ids."""
    table = sa.table("import_errors", *map(sa.column, ("deployment", "error_id", "open", "trace")))
    mine = (EVENTS.c.id == table.c.error_id) & (EVENTS.c.deployment == table.c.deployment)
    query = sa.select(table.c.deployment, table.c.error_id, EVENTS.c.body).select_from(
        table.join(EVENTS, mine)
    )
    for row in connection.execute(query.where(table.c.open == sa.true())).all():
        trace = json.loads(row.body)["data"].get("stacktrace")
        if trace is not None:
            services = (table.c.deployment == row.deployment, table.c.error_id == row.error_id)
            told = digest(CHANGING.sub("*", trace))
            connection.execute(table.update().where(*services).values(trace=told))


def _name_incidents(connection: sa.Connection) -> None:
    incidents = sa.table(
        "incidents",
        *map(sa.column, ("id", "key", "title", "state", "last_seq", "closed_because", "closed_by")),
        *(sa.column(name, UtcDateTime()) for name in ("closed_at", "last_at")),
    )
    query = (
        sa.select(incidents.c.id, incidents.c.last_at, EVENTS.c.body)
        .select_from(incidents.outerjoin(EVENTS, EVENTS.c.seq == incidents.c.last_seq))
        .where(incidents.c.state == "open", incidents.c.key.startswith(KEY))
    )
    for row in connection.execute(query).all():
        change: dict[str, Any] = {"state": "closed", "closed_at": row.last_at, "closed_because": GONE}
        change["closed_by"] = "Windsock"
        if row.body:
            data = json.loads(row.body)["data"]
            change = _named(data.get("bundle_name"), data["filename"])
        connection.execute(incidents.update().where(incidents.c.id == row.id).values(change))


def _named(bundle_name: str | None, path: str) -> dict[str, Any]:
    key = f"{KEY}{path}" if bundle_name is None else f"{KEY}{bundle_name}:{path}"
    if len(key) > MAX_KEY:
        key = f"{key[: MAX_KEY - DIGEST_DIGITS - 1]}:{digest(key)}"
    return {"key": key, "title": f"{path} cannot be imported"}
