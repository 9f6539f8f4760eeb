"""The database: its engine, its tables, its migrations, and the signals and locks between monitors."""
