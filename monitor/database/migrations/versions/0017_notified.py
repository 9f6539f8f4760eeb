"""The outcome of a decision that has a notification is `notified`; it was `told`."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE decisions SET outcome = 'notified' WHERE outcome = 'told'")
