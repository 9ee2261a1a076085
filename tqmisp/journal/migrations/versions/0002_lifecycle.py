"""What lifecycle, comparison with MISP and resuming need."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and tables."""
    op.add_column("targets", sa.Column("learned", sa.Text))
    op.add_column("events", sa.Column("closed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("ledger", sa.Column("marks", sa.LargeBinary, nullable=False, server_default=""))
    op.create_table(
        "leaving",
        sa.Column("indicator_id", sa.BigInteger, nullable=False),
        sa.Column("target_id", sa.SmallInteger, nullable=False),
        sa.Column("uuid", sa.LargeBinary(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("indicator_id", "target_id", "uuid"),
    )
    op.create_table(
        "seen",
        sa.Column("indicator_id", sa.BigInteger, nullable=False),
        sa.Column("target_id", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("indicator_id", "target_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sweeps",
        sa.Column("target_id", sa.Integer, sa.ForeignKey("targets.id"), primary_key=True),
        sa.Column("scope", sa.String(64), nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
    )
