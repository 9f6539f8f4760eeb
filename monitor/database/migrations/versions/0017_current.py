"""The changes from the first databases in use to the names of today.

Incidents are named by what ends them: the order of runs, mapped tasks, runs that are stuck or late. Import
errors are named by bundle and by path within it. An open incident that no event could end any more is closed.

Sessions and tokens keep the deployments whose Airflows accepted the password. Sessions end, because theirs is
sealed. A token's DAGs were shown to its creator by exactly these deployments. A token without a list of DAGs
is left open, and `tokens.adopt` decides at the next start.

The outcome of a decision that has a notification is `notified`. It was `told`."""

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from monitor.database.types import UtcDateTime
from monitor.events.identity import CHANGING, DIGEST_DIGITS, digest

revision = "0017"
down_revision = "0007"
branch_labels = None
depends_on = None

IMPORT_ERROR = "import_error:"
MAX_KEY = 300  # characters: the column's
GONE = "closed by the upgrade: what it was about is no longer in the log, so no event could end it"
FILE_GONE = "closed by the upgrade: the log no longer knows which file it was about, so no event could end it"
MOMENTS = ("latest_moment", "latest_start", "latest_undated_start")
EVENTS = sa.table("events", *map(sa.column, ("seq", "id", "deployment", "body")))


def upgrade() -> None:
    op.execute(sa.text("DELETE FROM sessions"))
    _add_columns()
    connection = op.get_bind()
    _name_anew(connection)
    _keep_traces(connection)
    _name_incidents(connection)
    _attribute_tokens(connection)
    op.execute("UPDATE decisions SET outcome = 'notified' WHERE outcome = 'told'")


def _add_columns() -> None:
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.add_column(sa.Column("closed_by", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("quiet_seconds", sa.Integer(), nullable=True))
        for name in (*MOMENTS, "confirm_since", "confirm_at"):
            batch_op.add_column(sa.Column(name, UtcDateTime(), nullable=True))
    op.create_index(op.f("ix_incidents_confirm_at"), "incidents", ["confirm_at"])
    with op.batch_alter_table("notifications", schema=None) as batch_op:
        batch_op.add_column(sa.Column("gathered_into", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.add_column(sa.Column("deployments", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("made_by", sa.BigInteger(), nullable=True))
        batch_op.create_index(batch_op.f("ix_tokens_made_by"), ["made_by"], unique=False)
        batch_op.add_column(sa.Column("authenticated_by", sa.Text(), nullable=True))
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("authenticated_by", sa.Text(), nullable=False))
    with op.batch_alter_table("silences", schema=None) as batch_op:
        batch_op.add_column(sa.Column("incident_key", sa.String(length=300), nullable=True))
        batch_op.add_column(sa.Column("incident_title", sa.Text(), nullable=True))
    with op.batch_alter_table("dags", schema=None) as batch_op:
        batch_op.add_column(sa.Column("is_partitioned", sa.Boolean(), nullable=True))
    with op.batch_alter_table("import_errors", schema=None) as batch_op:
        batch_op.add_column(sa.Column("path", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("trace", sa.String(length=32), nullable=True))
    op.create_table(
        "write_checks",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("written_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


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
        .where(incidents.c.state == "open", incidents.c.key.startswith(IMPORT_ERROR))
    )
    for row in connection.execute(query).all():
        change: dict[str, Any] = {"state": "closed", "closed_at": row.last_at, "closed_because": FILE_GONE}
        change["closed_by"] = "Windsock"
        if row.body:
            data = json.loads(row.body)["data"]
            change = _named(data.get("bundle_name"), data["filename"])
        connection.execute(incidents.update().where(incidents.c.id == row.id).values(change))


def _named(bundle_name: str | None, path: str) -> dict[str, Any]:
    key = f"{IMPORT_ERROR}{path}" if bundle_name is None else f"{IMPORT_ERROR}{bundle_name}:{path}"
    return _key(key) | {"title": f"{path} cannot be imported"}


def _attribute_tokens(connection: sa.Connection) -> None:
    tokens = sa.table(
        "tokens",
        sa.column("id"),
        sa.column("created_by"),
        sa.column("dags", sa.JSON()),
        sa.column("authenticated_by"),
    )
    query = sa.select(tokens.c.id, tokens.c.dags).where(tokens.c.created_by.is_not(None))
    for token_id, dags in connection.execute(query).all():
        if dags:
            names = json.dumps(sorted({deployment for deployment, _ in dags}))
            connection.execute(
                sa.update(tokens).where(tokens.c.id == token_id).values(authenticated_by=names)
            )
