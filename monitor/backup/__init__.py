"""Backups of the database, their return, and the move from SQLite to PostgreSQL."""

from monitor.backup.after import Restored, after_restore
from monitor.backup.errors import BackupError

__all__ = ["BackupError", "Restored", "after_restore"]
