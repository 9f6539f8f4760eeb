"""The deployments whose Airflows accepted the password: of each session, and of each token's creator.

Sessions end, because theirs is sealed. A token's DAGs were shown to its creator by exactly these deployments.
A token without a list of DAGs is left open: `tokens.adopt` decides at the next start.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.text("DELETE FROM sessions"))
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("authenticated_by", sa.Text(), nullable=False))
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.add_column(sa.Column("authenticated_by", sa.Text(), nullable=True))
    _fill_in(op.get_bind())


def _fill_in(connection: sa.Connection) -> None:
    tokens = sa.table(
        "tokens",
        sa.column("id"),
        sa.column("created_by"),
        sa.column("dags", sa.JSON()),
        sa.column("authenticated_by"),
    )
    query = sa.select(tokens.c.id, tokens.c.dags).where(tokens.c.created_by.is_not(None))
    for token_id, dags in connection.execute(query).all():
        if dags:
            names = json.dumps(sorted({deployment for deployment, _ in dags}))
            connection.execute(
                sa.update(tokens).where(tokens.c.id == token_id).values(authenticated_by=names)
            )
