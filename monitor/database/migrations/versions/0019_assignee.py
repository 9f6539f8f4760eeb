"""When an acknowledgement of an incident lapses, and who has taken the incident over."""

import sqlalchemy as sa
from alembic import op

from monitor.database.types import UtcDateTime

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.add_column(sa.Column("ack_until", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("assignee", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("assigned_at", UtcDateTime(), nullable=True))
