"""Incidents, decisions and notifications; silences, watches; deliveries that each go to one recipient.

What is in the outbox goes on: a mail to several recipients becomes one to each of those who lack it, and what
they have is kept as sent.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

import sqlalchemy as sa
from alembic import op

from monitor.database.types import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BATCH = 500  # old deliveries in memory at once
KINDS = {"run_failed": "failure", "run_success": "success"}
BEFORE = "deliveries_before_0004"


def upgrade() -> None:
    _create_tables()
    op.execute(f"CREATE TABLE {BEFORE} AS SELECT * FROM deliveries")  # noqa: S608 (the name above)
    op.drop_table("deliveries")
    _create_deliveries()
    _fill(op.get_bind())
    op.drop_table(BEFORE)


def _create_tables() -> None:
    op.create_table(
        "decisions",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        sa.Column("deployment", sa.String(length=100), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=True),
        sa.Column("rule", sa.String(length=200), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=True),
        sa.Column("silence_id", sa.BigInteger(), nullable=True),
        sa.Column("notification_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_decisions_event_id"), "decisions", ["event_id"])
    op.create_index(op.f("ix_decisions_incident_id"), "decisions", ["incident_id"])
    op.create_index(op.f("ix_decisions_notification_id"), "decisions", ["notification_id"])

    op.create_table(
        "incidents",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("deployment", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("opened_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("closed_seq", sa.BigInteger(), nullable=True),
        sa.Column("closed_because", sa.Text(), nullable=True),
        sa.Column("flapping", sa.Boolean(), nullable=False),
        sa.Column("acked_at", UtcDateTime(), nullable=True),
        sa.Column("acked_by", sa.Text(), nullable=True),
        sa.Column("ack_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_incidents_deployment_key_opened_at"), "incidents", ["deployment", "key", "opened_at"]
    )
    op.create_index(op.f("ix_incidents_state_opened_at"), "incidents", ["state", "opened_at"])

    op.create_table(
        "notifications",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("rule", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("template", sa.String(length=100), nullable=False),
        sa.Column("group_key", sa.String(length=64), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=True),
        sa.Column("deployment", sa.String(length=100), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("sealed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_notifications_rule_group_key_id"), "notifications", ["rule", "group_key", "id"])

    op.create_table(
        "notification_incidents",
        sa.Column("incident_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("notification_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("incident_id", "notification_id"),
    )
    op.create_index(
        op.f("ix_notification_incidents_notification_id"), "notification_incidents", ["notification_id"]
    )
    op.create_table(
        "silences",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("match", sa.JSON(), nullable=False),
        sa.Column("deployment", sa.String(length=100), nullable=True),
        sa.Column("dag_id", sa.Text(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_silences_ends_at"), "silences", ["ends_at"])

    op.create_table(
        "unsubscribed",
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("rule", sa.String(length=200), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("address", "rule"),
    )
    op.create_table(
        "watch_findings",
        sa.Column("deployment", sa.String(length=100), nullable=False),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=1500), nullable=False),
        sa.Column("found", sa.String(length=200), nullable=False),
        sa.Column("raised_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("deployment", "type", "subject"),
    )
    with op.batch_alter_table("dags", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tags", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("owners", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("schedule", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("next_run_after", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("is_stale", sa.Boolean(), nullable=True))
        batch_op.add_column(sa.Column("seen_at", UtcDateTime(), nullable=True))


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("notification_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=True),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        sa.Column("deployment", sa.String(length=100), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("rule", sa.String(length=200), nullable=False),
        sa.Column("template", sa.String(length=100), nullable=False),
        sa.Column("recipients", sa.JSON(), nullable=False),
        sa.Column("remaining", sa.JSON(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("message_id", sa.String(length=250), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=False),
        sa.Column("claim", sa.String(length=32), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("handed_at", UtcDateTime(), nullable=True),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "notification_id",
            "channel",
            "recipient",
            name=op.f("uq_deliveries_notification_id_channel_recipient"),
        ),
    )
    for columns in (
        ["channel", "settled_at"],
        ["dag_id", "run_id"],
        ["state", "channel", "next_attempt_at", "id"],
        ["state", "lease_until"],
    ):
        op.create_index(op.f(f"ix_deliveries_{'_'.join(columns)}"), "deliveries", columns)


def _fill(connection: sa.Connection) -> None:
    tables = sa.MetaData()
    tables.reflect(connection, only=[BEFORE, "deliveries", "notifications", "decisions", "delivery_attempts"])
    before, deliveries = tables.tables[BEFORE], tables.tables["deliveries"]
    attempts = tables.tables["delivery_attempts"]
    free = count((connection.scalar(sa.select(sa.func.max(before.c.id))) or 0) + 1)
    for old in _rows(connection, before):
        connection.execute(tables.tables["notifications"].insert().values(_notification(old)))
        connection.execute(tables.tables["decisions"].insert().values(_decision(old)))
        rows = [row | {"id": next(free) if number else old["id"]} for number, row in enumerate(_split(old))]
        connection.execute(deliveries.insert(), rows)
        said = connection.execute(sa.select(attempts).where(attempts.c.delivery_id == old["id"])).mappings()
        words = [{name: value for name, value in one.items() if name != "id"} for one in said]
        again = [word | {"delivery_id": row["id"]} for row in rows[1:] for word in words]
        if again:
            connection.execute(attempts.insert(), again)
    if connection.dialect.name == "postgresql":  # ids were given, which its sequences do not see
        for name in ("deliveries", "notifications"):
            connection.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{name}', 'id'),"  # noqa: S608 (the two above)
                f" (SELECT coalesce(max(id), 0) + 1 FROM {name}), false)"
            )


def _rows(connection: sa.Connection, before: sa.Table) -> Iterator[dict[str, Any]]:
    typed = sa.table(
        BEFORE,
        *(sa.column(column.name, _type(column)) for column in before.columns),
    )
    after = 0
    query = sa.select(typed).where(typed.c.id > sa.bindparam("after")).order_by(typed.c.id).limit(BATCH)
    while found := connection.execute(query, {"after": after}).mappings().all():
        yield from (dict(row) for row in found)
        after = found[-1]["id"]


def _type(column: sa.Column[Any]) -> Any:
    """A table that is made of a query keeps no types on SQLite."""
    if column.name in ("recipients", "remaining"):
        return sa.JSON()
    return UtcDateTime() if column.name.endswith(("_at", "_until")) else column.type


def _split(old: dict[str, Any]) -> Iterator[dict[str, Any]]:
    lacking = old["recipients"] if old["remaining"] is None else old["remaining"]
    for recipient in old["recipients"]:
        row = {name: value for name, value in old.items() if name != "id"}
        row |= {"notification_id": old["id"], "channel": "email", "recipient": recipient}
        row |= {"kind": KINDS.get(old["template"], "notice"), "recipients": [recipient]}
        if recipient in lacking:
            yield row | {"remaining": [recipient]}
        else:
            sent = {"state": "sent", "reason": "sent", "settled_at": old["settled_at"] or old["created_at"]}
            nobody_s = {"claim": None, "lease_until": None, "handed_at": None}
            yield row | {"remaining": []} | sent | nobody_s


def _notification(old: dict[str, Any]) -> dict[str, Any]:
    same = {name: old[name] for name in ("id", "rule", "template", "deployment", "created_at")}
    kind = KINDS.get(old["template"], "notice")
    return same | {
        "kind": kind,
        "group_key": "",
        "due_at": old["created_at"],
        "sealed_at": old["created_at"],
    }


def _decision(old: dict[str, Any]) -> dict[str, Any]:
    same = {
        name: old[name] for name in ("event_seq", "event_id", "deployment", "dag_id", "rule", "created_at")
    }
    told = old["state"] != "suppressed"
    return same | {
        "outcome": "told" if told else "suppressed",
        "reason": f"rule {old['rule']!r}" if told else old["reason"],
        "notification_id": old["id"],
    }
