"""What was told of each try of a task, filled from what the log holds."""

import json
from collections.abc import Iterator
from itertools import islice

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = ("deployment", "dag_id", "run_id", "task_id", "map_index", "try_number")
BATCH = 1_000  # events in memory at once, and rows in one statement


def upgrade() -> None:
    op.create_table(
        "tries",
        sa.Column("deployment", sa.String(length=100), nullable=False),
        sa.Column("dag_id", sa.String(length=250), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("task_id", sa.String(length=250), nullable=False),
        sa.Column("map_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("try_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ti_id", sa.String(length=36), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("filed", sa.Boolean(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*KEY),
    )
    _fill(op.get_bind())


def _fill(connection: sa.Connection) -> None:
    """Two passes over the log, each in its order: what began, and over it what ended, the last word last."""
    columns = (*KEY, "ti_id", "state", "filed", "last_seq")
    marks = ", ".join(f":{name}" for name in columns)
    changed = ", ".join(f"{name} = excluded.{name}" for name in columns[len(KEY) :])
    statement = sa.text(
        f"INSERT INTO tries ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 (the names above)
        f" ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET {changed}"
    )
    for which in ("state = 'running'", "state <> 'running'"):
        told = _told(connection, which)
        while rows := list(islice(told, BATCH)):
            connection.execute(statement, rows)


def _told(connection: sa.Connection, which: str) -> Iterator[dict[str, object]]:
    after = 0
    query = sa.text(
        "SELECT seq, deployment, body FROM events"  # noqa: S608 (the two above)
        f" WHERE seq > :after AND type LIKE 'airflow.task_instance.%' AND {which} ORDER BY seq LIMIT {BATCH}"
    )
    while found := connection.execute(query, {"after": after}).all():
        for seq, deployment, body in found:
            data = json.loads(body)["data"]
            row = {name: data[name] for name in (*KEY[1:4], "try_number", "ti_id", "state")}
            mapped = {"map_index": data.get("map_index", -1)}
            yield row | mapped | {"deployment": deployment, "filed": False, "last_seq": seq}
        after = found[-1].seq
