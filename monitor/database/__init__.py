"""The database: its engine, tables, migrations, and what several monitors on it share."""
