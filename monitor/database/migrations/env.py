"""The entry point of Alembic, which uses the connection and the transaction of `migrate`."""

from alembic import context

from monitor.database.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter a table in place
)
context.run_migrations()
