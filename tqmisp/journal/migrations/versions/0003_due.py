"""Which events are still to be published, whatever run has written to them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; nothing is due of what earlier versions have written."""
    op.add_column("events", sa.Column("due", sa.Boolean, nullable=False, server_default=sa.false()))
