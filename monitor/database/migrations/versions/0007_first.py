"""The first schema, at the revision that the oldest databases in use have."""

import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op

from monitor.database.types import UtcDateTime

revision = "0007"
down_revision = None
branch_labels = None
depends_on = None

HAS_ASSET = sa.text("asset_uri IS NOT NULL")


def upgrade() -> None:
    _create_log()
    _create_runs()
    _create_assets_and_dags()
    _create_incidents()
    _create_notifications()
    _create_deliveries()
    _create_access()


def _column(name: str, kind: Any, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable, autoincrement=False)


def _number() -> sa.Column[int]:
    """Return the primary key of a table whose rows the database numbers."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("id", kind, autoincrement=True, nullable=False)


def _create_index(table: str, *columns: str, **options: Any) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns), **options)


def _create_log() -> None:
    op.create_table(
        "events",
        _column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite")),
        _column("source", sa.String(120)),
        _column("id", sa.String(200)),
        _column("type", sa.String(60)),
        _column("subject", sa.Text()),
        _column("time", UtcDateTime()),
        _column("received_at", UtcDateTime()),
        _column("deployment", sa.String(100)),
        _column("dag_id", sa.Text(), nullable=True),
        _column("run_id", sa.Text(), nullable=True),
        _column("task_id", sa.Text(), nullable=True),
        _column("state", sa.String(20), nullable=True),
        _column("asset_uri", sa.Text(), nullable=True),
        _column("body", sa.Text()),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("source", "id", name=op.f("uq_events_source_id")),
    )
    _create_index("events", "dag_id", "run_id", "seq")
    _create_index("events", "received_at")
    _create_index("events", "dag_id", "seq")
    _create_index("events", "type", "seq")
    _create_index("events", "asset_uri", "seq", sqlite_where=HAS_ASSET, postgresql_where=HAS_ASSET)
    log_state = op.create_table(
        "log_state",
        _column("id", sa.Integer()),
        _column("epoch", sa.String(32)),
        _column("last_seq", sa.BigInteger()),
        _column("pruned_seq", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(log_state.insert().values(id=1, epoch=secrets.token_hex(4), last_seq=0, pruned_seq=0))
    op.create_table(
        "log_marks",
        _column("at", UtcDateTime()),
        _column("seq", sa.BigInteger()),
        sa.PrimaryKeyConstraint("at"),
    )
    op.create_table(
        "watermarks",
        _column("deployment", sa.String(100)),
        _column("name", sa.String(50)),
        _column("moment", UtcDateTime()),
        _column("updated_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("deployment", "name"),
    )


def _create_runs() -> None:
    op.create_table(
        "dag_runs",
        _column("deployment", sa.String(100)),
        _column("dag_id", sa.String(250)),
        _column("run_id", sa.String(250)),
        _column("run_key", sa.String(32)),
        _column("state", sa.String(20)),
        _column("run_type", sa.String(50), nullable=True),
        _column("logical_date", UtcDateTime(), nullable=True),
        _column("queued_at", UtcDateTime(), nullable=True),
        _column("start_date", UtcDateTime(), nullable=True),
        _column("end_date", UtcDateTime(), nullable=True),
        _column("message", sa.Text(), nullable=True),
        _column("last_seq", sa.BigInteger()),
        sa.PrimaryKeyConstraint("deployment", "dag_id", "run_id"),
    )
    _create_index("dag_runs", "dag_id", "last_seq")
    _create_index("dag_runs", "last_seq")
    _create_index("dag_runs", "state", "last_seq")
    op.create_table(
        "task_instances",
        _column("deployment", sa.String(100)),
        _column("dag_id", sa.String(250)),
        _column("run_id", sa.String(250)),
        _column("task_id", sa.String(250)),
        _column("map_index", sa.Integer()),
        _column("ti_id", sa.String(36)),
        _column("try_number", sa.Integer()),
        _column("max_tries", sa.Integer()),
        _column("state", sa.String(20)),
        _column("operator", sa.Text(), nullable=True),
        _column("hostname", sa.Text(), nullable=True),
        _column("start_date", UtcDateTime(), nullable=True),
        _column("end_date", UtcDateTime(), nullable=True),
        _column("error", sa.JSON(), nullable=True),
        _column("last_seq", sa.BigInteger()),
        sa.PrimaryKeyConstraint("deployment", "dag_id", "run_id", "task_id", "map_index"),
    )
    op.create_table(
        "tries",
        _column("deployment", sa.String(100)),
        _column("dag_id", sa.String(250)),
        _column("run_id", sa.String(250)),
        _column("task_id", sa.String(250)),
        _column("map_index", sa.Integer()),
        _column("try_number", sa.Integer()),
        _column("ti_id", sa.String(36), nullable=True),
        _column("state", sa.String(20)),
        _column("filed", sa.Boolean()),
        _column("last_seq", sa.BigInteger()),
        sa.PrimaryKeyConstraint("deployment", "dag_id", "run_id", "task_id", "map_index", "try_number"),
    )


def _create_assets_and_dags() -> None:
    op.create_table(
        "assets",
        _column("deployment", sa.String(100)),
        _column("uri", sa.String(1500)),
        _column("name", sa.Text()),
        _column("group", sa.Text(), nullable=True),
        _column("updates", sa.Integer()),
        _column("updated_at", UtcDateTime(), nullable=True),
        _column("extra", sa.JSON(), nullable=True),
        _column("source_dag_id", sa.Text(), nullable=True),
        _column("source_run_id", sa.Text(), nullable=True),
        _column("source_task_id", sa.Text(), nullable=True),
        _column("last_seq", sa.BigInteger()),
        sa.PrimaryKeyConstraint("deployment", "uri"),
    )
    _create_index("assets", "last_seq")
    op.create_table(
        "import_errors",
        _column("deployment", sa.String(100)),
        _column("error_id", sa.String(200)),
        _column("filename", sa.Text()),
        _column("bundle_name", sa.Text(), nullable=True),
        _column("open", sa.Boolean()),
        _column("times", sa.Integer()),
        _column("last_seq", sa.BigInteger()),
        sa.PrimaryKeyConstraint("deployment", "error_id"),
    )
    op.create_table(
        "dags",
        _column("deployment", sa.String(100)),
        _column("dag_id", sa.String(250)),
        _column("is_paused", sa.Boolean()),
        _column("times_paused", sa.Integer()),
        _column("times_unpaused", sa.Integer()),
        _column("last_seq", sa.BigInteger(), nullable=True),
        _column("tags", sa.JSON(), nullable=True),
        _column("owners", sa.JSON(), nullable=True),
        _column("schedule", sa.Text(), nullable=True),
        _column("next_run_after", UtcDateTime(), nullable=True),
        _column("is_stale", sa.Boolean(), nullable=True),
        _column("seen_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("deployment", "dag_id"),
    )
    op.create_table(
        "watch_findings",
        _column("deployment", sa.String(100)),
        _column("type", sa.String(60)),
        _column("subject", sa.String(1500)),
        _column("found", sa.String(200)),
        _column("raised_at", UtcDateTime()),
        _column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("deployment", "type", "subject"),
    )


def _create_incidents() -> None:
    op.create_table(
        "incidents",
        _number(),
        _column("deployment", sa.String(100)),
        _column("key", sa.String(300)),
        _column("dag_id", sa.Text(), nullable=True),
        _column("title", sa.Text()),
        _column("state", sa.String(10)),
        _column("failures", sa.Integer()),
        _column("opened_at", UtcDateTime()),
        _column("opened_seq", sa.BigInteger()),
        _column("last_at", UtcDateTime()),
        _column("last_seq", sa.BigInteger()),
        _column("closed_at", UtcDateTime(), nullable=True),
        _column("closed_seq", sa.BigInteger(), nullable=True),
        _column("closed_because", sa.Text(), nullable=True),
        _column("flapping", sa.Boolean()),
        _column("acked_at", UtcDateTime(), nullable=True),
        _column("acked_by", sa.Text(), nullable=True),
        _column("ack_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    _create_index("incidents", "deployment", "key", "opened_at")
    _create_index("incidents", "state", "opened_at")
    op.create_table(
        "silences",
        _number(),
        _column("match", sa.JSON()),
        _column("deployment", sa.String(100), nullable=True),
        _column("dag_id", sa.Text(), nullable=True),
        _column("author", sa.Text()),
        _column("reason", sa.Text()),
        _column("created_at", UtcDateTime()),
        _column("starts_at", UtcDateTime()),
        _column("ends_at", UtcDateTime()),
        _column("ended_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    _create_index("silences", "ends_at")


def _create_notifications() -> None:
    op.create_table(
        "decisions",
        _number(),
        _column("event_seq", sa.BigInteger()),
        _column("event_id", sa.String(200)),
        _column("deployment", sa.String(100)),
        _column("dag_id", sa.Text(), nullable=True),
        _column("rule", sa.String(200)),
        _column("outcome", sa.String(20)),
        _column("reason", sa.Text()),
        _column("incident_id", sa.BigInteger(), nullable=True),
        _column("silence_id", sa.BigInteger(), nullable=True),
        _column("notification_id", sa.BigInteger(), nullable=True),
        _column("created_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("id"),
    )
    _create_index("decisions", "event_id")
    _create_index("decisions", "incident_id")
    _create_index("decisions", "notification_id")
    op.create_table(
        "notifications",
        _number(),
        _column("rule", sa.String(200)),
        _column("kind", sa.String(20)),
        _column("template", sa.String(100)),
        _column("group_key", sa.String(64)),
        _column("incident_id", sa.BigInteger(), nullable=True),
        _column("deployment", sa.String(100)),
        _column("created_at", UtcDateTime()),
        _column("due_at", UtcDateTime()),
        _column("sealed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    _create_index("notifications", "rule", "group_key", "id")
    op.create_table(
        "notification_incidents",
        _column("incident_id", sa.BigInteger()),
        _column("notification_id", sa.BigInteger()),
        sa.PrimaryKeyConstraint("incident_id", "notification_id"),
    )
    _create_index("notification_incidents", "notification_id")


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        _number(),
        _column("notification_id", sa.BigInteger()),
        _column("channel", sa.String(20)),
        _column("recipient", sa.String(320)),
        _column("kind", sa.String(20)),
        _column("incident_id", sa.BigInteger(), nullable=True),
        _column("event_seq", sa.BigInteger()),
        _column("event_id", sa.String(200)),
        _column("deployment", sa.String(100)),
        _column("dag_id", sa.Text(), nullable=True),
        _column("run_id", sa.Text(), nullable=True),
        _column("rule", sa.String(200)),
        _column("template", sa.String(100)),
        _column("recipients", sa.JSON()),
        _column("remaining", sa.JSON(), nullable=True),
        _column("state", sa.String(20)),
        _column("reason", sa.Text()),
        _column("subject", sa.Text(), nullable=True),
        _column("message_id", sa.String(250)),
        _column("attempts", sa.Integer()),
        _column("created_at", UtcDateTime()),
        _column("next_attempt_at", UtcDateTime()),
        _column("claim", sa.String(32), nullable=True),
        _column("lease_until", UtcDateTime(), nullable=True),
        _column("handed_at", UtcDateTime(), nullable=True),
        _column("settled_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "notification_id",
            "channel",
            "recipient",
            name=op.f("uq_deliveries_notification_id_channel_recipient"),
        ),
    )
    _create_index("deliveries", "channel", "settled_at")
    _create_index("deliveries", "dag_id", "run_id")
    _create_index("deliveries", "state", "channel", "next_attempt_at", "id")
    _create_index("deliveries", "state", "lease_until")
    op.create_table(
        "delivery_attempts",
        _number(),
        _column("delivery_id", sa.BigInteger()),
        _column("at", UtcDateTime()),
        _column("outcome", sa.String(20)),
        _column("answer", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
    )
    _create_index("delivery_attempts", "delivery_id")
    op.create_table(
        "told_before",
        _column("key", sa.String(32)),
        _column("state", sa.String(20)),
        _column("at", UtcDateTime()),
        _column("message_id", sa.String(250)),
        _column("subject", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    _create_index("told_before", "at")
    op.create_table(
        "unsubscribed",
        _column("address", sa.String(320)),
        _column("rule", sa.String(200)),
        _column("at", UtcDateTime()),
        sa.PrimaryKeyConstraint("address", "rule"),
    )


def _create_access() -> None:
    op.create_table(
        "tokens",
        _number(),
        _column("hash", sa.String(64)),
        _column("prefix", sa.String(20)),
        _column("name", sa.String(100)),
        _column("scopes", sa.JSON()),
        _column("created_by", sa.Text(), nullable=True),
        _column("dags", sa.JSON()),
        _column("created_at", UtcDateTime()),
        _column("expires_at", UtcDateTime()),
        _column("last_used_at", UtcDateTime(), nullable=True),
        _column("revoked_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash", name=op.f("uq_tokens_hash")),
        sqlite_autoincrement=True,
    )
    _create_index("tokens", "created_by")
    op.create_table(
        "sessions",
        _column("hash", sa.String(64)),
        _column("owner", sa.Text()),
        _column("sealed", sa.LargeBinary()),
        _column("expires_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("hash"),
    )
    _create_index("sessions", "expires_at")
    _create_index("sessions", "owner")
    op.create_table(
        "failed_attempts",
        _column("hash", sa.String(64)),
        _column("number", sa.Integer()),
        _column("began_at", UtcDateTime()),
        _column("ends_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("hash"),
    )
    _create_index("failed_attempts", "ends_at")
