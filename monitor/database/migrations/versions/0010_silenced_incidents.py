"""Silences of one incident."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("silences", schema=None) as batch_op:
        batch_op.add_column(sa.Column("incident_key", sa.String(length=300), nullable=True))
        batch_op.add_column(sa.Column("incident_title", sa.Text(), nullable=True))
