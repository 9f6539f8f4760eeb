"""Indexes for what is looked up under the log's lock: import errors, what is open, what waits.

An import error is found by the end of its path, backwards. The columns hold 200 characters of it.
"""

import sqlalchemy as sa
from alembic import op

from monitor.database.types import PathEnd

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

END = 200


def upgrade() -> None:
    with op.batch_alter_table("import_errors", schema=None) as batch_op:
        batch_op.add_column(sa.Column("file_end", PathEnd, nullable=True))
        batch_op.add_column(sa.Column("path_end", PathEnd, nullable=True))
    _fill_in(op.get_bind())
    for columns, where in (
        (("deployment", "trace", "file_end"), "path_end IS NULL"),
        (("deployment", "trace", "path_end", "bundle_name"), "path_end IS NOT NULL"),
    ):
        _create(f"ix_import_errors_{'_'.join(columns)}", "import_errors", columns, where)
    _create("ix_import_errors_located", "import_errors", ("deployment", "file_end"), "path IS NOT NULL")
    op.create_index(
        "ix_import_errors_open",
        "import_errors",
        ["deployment", "file_end"],
        sqlite_where=sa.text("path_end IS NULL AND open = 1"),
        postgresql_where=sa.text("path_end IS NULL AND open"),
    )
    _create("ix_incidents_open", "incidents", ("deployment", "key"), "state != 'closed'")
    _create("ix_notifications_open", "notifications", ("rule", "group_key"), "sealed_at IS NULL")


def _create(name: str, table: str, columns: tuple[str, ...], where: str) -> None:
    part = sa.text(where)
    op.create_index(name, table, list(columns), sqlite_where=part, postgresql_where=part)


def _fill_in(connection: sa.Connection) -> None:
    names = ("deployment", "error_id", "filename", "bundle_name", "path", "file_end", "path_end")
    table = sa.table("import_errors", *map(sa.column, names))
    for row in connection.execute(sa.select(*(table.c[name] for name in names[:5]))).all():
        is_whole = row.bundle_name is None or row.path is not None
        path = row.path if row.path is not None or row.bundle_name is None else row.filename
        ends = {"file_end": _end(row.filename) if is_whole else None, "path_end": path and _end(path)}
        its = (table.c.deployment == row.deployment, table.c.error_id == row.error_id)
        connection.execute(sa.update(table).where(*its).values(ends))


def _end(path: str) -> str:
    return path[: -END - 1 : -1]
