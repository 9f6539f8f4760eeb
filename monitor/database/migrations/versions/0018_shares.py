"""The text by which a user's sessions, tokens and silences are counted, however the name was spelled.

Sessions end, because theirs follows from what is sealed. Older tokens and silences are counted by name."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.text("DELETE FROM sessions"))
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("share", sa.String(length=100), nullable=False))
        batch_op.create_index(op.f("ix_sessions_share"), ["share"])
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.add_column(sa.Column("share", sa.String(length=100), nullable=True))
        batch_op.create_index(op.f("ix_tokens_share"), ["share"])
    with op.batch_alter_table("silences", schema=None) as batch_op:
        batch_op.add_column(sa.Column("share", sa.String(length=100), nullable=True))
