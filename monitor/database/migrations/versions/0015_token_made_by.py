"""The token that made a token: both end when that one is revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.add_column(sa.Column("made_by", sa.BigInteger(), nullable=True))
        batch_op.create_index(batch_op.f("ix_tokens_made_by"), ["made_by"], unique=False)
