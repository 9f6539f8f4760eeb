"""Silences of one incident."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("silences", sa.Column("incident_key", sa.String(length=300), nullable=True))
    op.add_column("silences", sa.Column("incident_title", sa.Text(), nullable=True))
