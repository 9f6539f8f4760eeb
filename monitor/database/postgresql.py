"""The connection to PostgreSQL, with a bound on every wait for the server or the network.

Each connection asks the server to watch over its client, by the `tcp_*` settings of a session. A host that
vanishes (power, network) sends no farewell. Without these settings the server would keep that host's locks
for the two hours of the system's own keep-alive.

`life` distinguishes a server from one that was restarted or has taken another server's place. What the
monitor then does is in delivery/failover.py, because it compares the mails that were sent.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError

from monitor.errors import SettingsError

CONNECT_TIMEOUT = 5  # seconds: a running server answers in milliseconds, and the next look comes soon
PEER_IDLE = 5  # seconds of silence after which the other side is asked whether it is there
PEER_INTERVAL = 2  # seconds from one such question to the next
PEER_COUNT = 3  # questions without an answer: it is gone
PEER_GONE = PEER_IDLE + PEER_INTERVAL * PEER_COUNT
"""Seconds after which either side gives up one that has vanished, and the server its locks."""
LOCK_TIMEOUT = PEER_GONE + 4
"""Seconds that a statement waits for a lock: longer than one who holds it can have vanished."""
IDLE_IN_TRANSACTION_TIMEOUT = 10
"""Seconds that a transaction may rest between two statements: it may hold the log's lock, and all replicas
wait for that. The longest rest is the work on a batch of events, well under a second."""
MAX_NAME = 63  # bytes of an application_name that PostgreSQL keeps
READ_ONLY = "25006"  # what a former primary answers, once another has taken its place
DRIVER = "postgresql+psycopg"


def set_driver(url: URL) -> URL:
    """Return the address with the driver's name.
    Providers write `postgres://` or `postgresql://`. Raises SettingsError."""
    if find_spec("psycopg") is None:
        raise SettingsError(
            "WINDSOCK_DATABASE_URL: PostgreSQL's driver is not installed: pip install "
            "'windsock-monitor[postgresql]'"
        )
    return url.set(drivername=DRIVER)


def connect_args(url: URL, name: str, statement_timeout: float) -> dict[str, Any]:
    """Return libpq's parameters of a connection, without those that the address sets.
    `name` is what pg_stat_activity shows. `statement_timeout` is in seconds."""
    session = {
        "statement_timeout": _ms(statement_timeout),
        "lock_timeout": _ms(LOCK_TIMEOUT),
        "idle_in_transaction_session_timeout": _ms(IDLE_IN_TRANSACTION_TIMEOUT),
        "tcp_keepalives_idle": PEER_IDLE,
        "tcp_keepalives_interval": PEER_INTERVAL,
        "tcp_keepalives_count": PEER_COUNT,
        "tcp_user_timeout": _ms(PEER_GONE),
    }
    arguments = {
        "application_name": name.encode()[:MAX_NAME].decode(errors="ignore"),
        "connect_timeout": CONNECT_TIMEOUT,
        "keepalives_idle": PEER_IDLE,
        "keepalives_interval": PEER_INTERVAL,
        "keepalives_count": PEER_COUNT,
        "tcp_user_timeout": _ms(PEER_GONE),
        # After a failover the old primary may still answer, or the name still lead to it.
        "target_session_attrs": "read-write",
    }
    options = " ".join(f"-c {setting}={value}" for setting, value in session.items())
    user_options = str(url.query.get("options", ""))  # the later one wins
    own = {key: value for key, value in arguments.items() if key not in url.query}
    return own | {"options": f"{options} {user_options}".strip()}


def make_engine(url: URL, name: str, pool_size: int, statement_timeout: float) -> Engine:
    """Return an engine of `pool_size` connections and never more.
    Its users have as many threads (engine.py)."""
    engine = create_engine(
        url,
        pool_pre_ping=True,  # after a restart of the server no old connection is handed out
        pool_size=pool_size,
        max_overflow=0,
        connect_args=connect_args(url, name, statement_timeout),
    )
    event.listen(engine, "handle_error", _leave_former_primary)
    return engine


@dataclass(frozen=True)
class Life:
    """The life of a server, from its start to its end."""

    started_at: datetime
    timeline: str
    """The timeline. It changes with each server that takes a primary's place, or is restored to a moment
    (PostgreSQL's documentation, "Timelines"). Empty if the provider hides it."""


_STARTED = text("SELECT pg_postmaster_start_time()")
_TIMELINE = text("SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)")


def life(connection: Connection) -> Life:
    """Return the life of the server behind a connection."""
    started_at = connection.execute(_STARTED).scalar_one()
    try:
        with connection.begin_nested():
            return Life(started_at, connection.execute(_TIMELINE).scalar_one())
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return Life(started_at, "")


def _leave_former_primary(context: ExceptionContext) -> None:
    """Discard a connection on which writing has become impossible.
    The next connection finds the new primary."""
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


def _ms(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))
