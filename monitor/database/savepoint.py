"""A part of a transaction that may fail by itself.

Odd on purpose: past SQLAlchemy's `begin_nested`, whose own work takes longer than deciding about ten events.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from monitor.database.prepared import on_driver

_NAME = "windsock_part"  # an inner one hides an outer one of this name until it is released (both databases)


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """What the block wrote is taken back where it raises; the transaction goes on either way."""
    on_driver(connection, f"SAVEPOINT {_NAME}", ())
    try:
        yield
    except BaseException:
        if not connection.invalidated:  # else there is nobody to tell, and the error says so
            on_driver(connection, f"ROLLBACK TO SAVEPOINT {_NAME}", ())
            on_driver(connection, f"RELEASE SAVEPOINT {_NAME}", ())
        raise
    on_driver(connection, f"RELEASE SAVEPOINT {_NAME}", ())
