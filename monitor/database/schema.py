"""Every table. SQL that names one of them has its home in one module, given beside it."""

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC on every database; SQLite's own type forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a zone")
        return value.astimezone(timezone.utc)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return (
            moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
        )


# event_log.py. One row: its lock, held until commit, serialises appends, so that seq grows in commit order
# on PostgreSQL too and no reader steps over a number whose transaction commits late.
log_state = Table(
    "log_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", String(32), nullable=False),  # another log (a restored or new database): another epoch
    Column("last_seq", BigInteger, nullable=False),
    Column("pruned_seq", BigInteger, nullable=False),  # everything up to here is gone
)

# event_log.py
events = Table(
    "events",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("source", String(120), nullable=False),
    Column("id", String(200), nullable=False),
    Column("type", String(60), nullable=False),
    Column("subject", Text, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("deployment", String(100), nullable=False),
    Column("dag_id", Text),
    Column("run_id", Text),
    Column("task_id", Text),
    Column("state", String(20)),
    Column("asset_uri", Text),
    Column("body", Text, nullable=False),  # the event as it is told, encoded once
    UniqueConstraint("source", "id"),
    Index(None, "dag_id", "run_id", "seq"),
    Index(None, "received_at"),
)

# board/states.py: what the dashboard reads, always a function of the log
dag_runs = Table(
    "dag_runs",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("dag_id", String(250), primary_key=True),
    Column("run_id", String(250), primary_key=True),
    Column("run_key", String(32), nullable=False),  # the occurrence: another after a clear
    Column("state", String(20), nullable=False),
    Column("run_type", String(50)),
    Column("logical_date", UtcDateTime),
    Column("queued_at", UtcDateTime),
    Column("start_date", UtcDateTime),
    Column("end_date", UtcDateTime),
    Column("message", Text),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "last_seq"),
    Index(None, "dag_id", "last_seq"),
)

# board/states.py
task_instances = Table(
    "task_instances",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("dag_id", String(250), primary_key=True),
    Column("run_id", String(250), primary_key=True),
    Column("task_id", String(250), primary_key=True),
    Column("map_index", Integer, primary_key=True, autoincrement=False),
    Column("ti_id", String(36), nullable=False),
    Column("try_number", Integer, nullable=False),
    Column("max_tries", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("operator", Text),
    Column("hostname", Text),
    Column("start_date", UtcDateTime),
    Column("end_date", UtcDateTime),
    Column("error", JSON),  # {"type", "message", "traceback"} or null
    Column("last_seq", BigInteger, nullable=False),
)

# board/tries.py: what was told of each try, the earlier ones too
tries = Table(
    "tries",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("dag_id", String(250), primary_key=True),
    Column("run_id", String(250), primary_key=True),
    Column("task_id", String(250), primary_key=True),
    Column("map_index", Integer, primary_key=True, autoincrement=False),
    Column("try_number", Integer, primary_key=True, autoincrement=False),
    Column("ti_id", String(36)),  # null: told without it
    Column("state", String(20), nullable=False),
    Column("filed", Boolean, nullable=False),  # true: as Airflow has filed it, and so for good
    Column("last_seq", BigInteger, nullable=False),
)

# board/states.py
assets = Table(
    "assets",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("uri", String(1500), primary_key=True),
    Column("name", Text, nullable=False),
    Column("group", Text),
    Column("updates", Integer, nullable=False),
    Column("updated_at", UtcDateTime),
    Column("extra", JSON),
    Column("source_dag_id", Text),
    Column("source_run_id", Text),
    Column("source_task_id", Text),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "last_seq"),
)

# board/dags.py: import errors, each by the id under which it was told first
import_errors = Table(
    "import_errors",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("error_id", String(200), primary_key=True),
    Column("filename", Text, nullable=False),
    Column("bundle_name", Text),
    Column("open", Boolean, nullable=False),  # false: mended
    Column("times", Integer, nullable=False),  # how often it was told: mended and broken again
    Column("last_seq", BigInteger, nullable=False),
)

# board/dags.py: whether each DAG is paused
dags = Table(
    "dags",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("dag_id", String(250), primary_key=True),
    Column("is_paused", Boolean, nullable=False),
    Column("times_paused", Integer, nullable=False),  # how often that was told
    Column("times_unpaused", Integer, nullable=False),
    Column("last_seq", BigInteger),  # null: as it was first seen, of which nobody is told
)

# outbox.py: one row a mail to be sent, written in the transaction that logs its event
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("event_seq", BigInteger, nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("deployment", String(100), nullable=False),
    Column("dag_id", Text),
    Column("run_id", Text),
    Column("rule", String(200), nullable=False),
    Column("template", String(100), nullable=False),
    Column("recipients", JSON, nullable=False),  # list of addresses
    Column("remaining", JSON),  # those whom no server has accepted it for yet; null: all of them
    Column("state", String(20), nullable=False),
    Column("reason", Text, nullable=False),  # why it is in this state, for people
    Column("subject", Text),  # once rendered
    Column("message_id", String(250), nullable=False),  # fixed for the delivery's life, across retries
    Column("attempts", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("claim", String(32)),  # who holds the lease: another token for each claim
    Column("lease_until", UtcDateTime),
    Column("handed_at", UtcDateTime),  # committed just before the mail server is spoken to (outbox/queue.py)
    Column("settled_at", UtcDateTime),
    Index(None, "state", "next_attempt_at"),
    Index(None, "dag_id", "run_id"),
    UniqueConstraint("deployment", "event_id", "rule"),
)

# outbox.py: what the server said, each time
delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("delivery_id", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("answer", Text, nullable=False),
    Index(None, "delivery_id"),
)

# reconciler/watermarks.py: up to where Airflow has been compared with the log
watermarks = Table(
    "watermarks",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("name", String(50), primary_key=True),
    Column("moment", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
