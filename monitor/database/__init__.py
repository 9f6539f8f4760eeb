"""The database: its tables, its connections, its migrations."""

from monitor.database.engine import Database, is_too_long
from monitor.database.schema import UtcDateTime, metadata

__all__ = ["Database", "UtcDateTime", "is_too_long", "metadata"]
