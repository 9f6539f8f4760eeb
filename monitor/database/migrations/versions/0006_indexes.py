"""Indexes by which a page, or a feed with a filter, takes as long with a million events as with few."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OF_AN_ASSET = sa.text("asset_uri IS NOT NULL")


def upgrade() -> None:
    op.create_index(op.f("ix_events_dag_id_seq"), "events", ["dag_id", "seq"])
    op.create_index(op.f("ix_events_type_seq"), "events", ["type", "seq"])
    op.create_index(
        op.f("ix_events_asset_uri_seq"),
        "events",
        ["asset_uri", "seq"],
        sqlite_where=OF_AN_ASSET,
        postgresql_where=OF_AN_ASSET,
    )
    op.create_index(op.f("ix_dag_runs_state_last_seq"), "dag_runs", ["state", "last_seq"])
