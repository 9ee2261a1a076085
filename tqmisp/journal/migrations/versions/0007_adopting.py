"""Whether a target takes over what MISP has of ours, until all of it has been read once."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; earlier versions took over in their first run alone."""
    op.add_column("targets", sa.Column("adopting", sa.Boolean, nullable=False, server_default=sa.false()))
