"""Import errors that are open, and which DAGs are paused."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "import_errors",
        sa.Column("deployment", sa.String(length=100), nullable=False),
        sa.Column("error_id", sa.String(length=200), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("bundle_name", sa.Text(), nullable=True),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("deployment", "error_id"),
    )
    op.create_table(
        "dags",
        sa.Column("deployment", sa.String(length=100), nullable=False),
        sa.Column("dag_id", sa.String(length=250), nullable=False),
        sa.Column("is_paused", sa.Boolean(), nullable=False),
        sa.Column("times_paused", sa.Integer(), nullable=False),
        sa.Column("times_unpaused", sa.Integer(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("deployment", "dag_id"),
    )
