"""The database: its tables, its connections, its migrations."""

from monitor.database.engine import Database
from monitor.database.schema import UtcDateTime, metadata

__all__ = ["Database", "UtcDateTime", "metadata"]
