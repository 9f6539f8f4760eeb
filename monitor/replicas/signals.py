"""What a transaction tells the other replicas: PostgreSQL passes it on once it is committed, and only then.

A signal says that there is something to look for, never what: it may be lost with a connection, and every
loop that it wakes polls as well. This replica hears its own; looking once more costs a query.
"""

from sqlalchemy import Connection

CHANNEL = "windsock"
FEED = "feed"
"""The log has grown."""
DELIVERY = "delivery"
"""Something is to be sent."""


def reconcile(deployment: str) -> str:
    """A listener of this deployment says that an asset was updated: Airflow is to be asked at once."""
    return f"reconcile {deployment}"


def run_ended(deployment: str) -> str:
    """The end of a run of this deployment is in the log: its tasks are to be compared at once."""
    return f"run_ended {deployment}"


def signal(connection: Connection, *words: str) -> None:
    """Tell these when the transaction is committed. Nothing on SQLite: there is nobody else."""
    if words and connection.dialect.name == "postgresql":
        # One statement, whatever there is to tell; the server leaves out what is told twice.
        connection.exec_driver_sql(_SIGNAL, (CHANNEL, list(words)))


_SIGNAL = "SELECT pg_notify(%s, word) FROM unnest(%s::text[]) AS word"
