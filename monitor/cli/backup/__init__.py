"""The backups of the database, their restore, and the copy from SQLite to PostgreSQL."""
