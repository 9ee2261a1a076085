"""The first tables: targets, runs, watermarks, events, slices, ledger and refusals."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "targets",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", sa.Float),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("target_id", sa.Integer, sa.ForeignKey("targets.id"), nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("receipt", sa.Text),
    )
    op.create_table(
        "watermarks",
        sa.Column("target_id", sa.Integer, sa.ForeignKey("targets.id"), nullable=False),
        sa.Column("scope", sa.String(64), nullable=False),
        sa.Column("touched_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("target_id", "scope"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("target_id", sa.Integer, sa.ForeignKey("targets.id"), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("info", sa.Text, nullable=False),
        sa.Column("date", sa.String(10), nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("attributes", sa.Integer, nullable=False),
        sa.UniqueConstraint("target_id", "uuid"),
    )
    op.create_table(
        "slices",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("target_id", sa.Integer, sa.ForeignKey("targets.id"), nullable=False),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("event_id", sa.Integer, sa.ForeignKey("events.id"), nullable=False),
        sa.Column("items", sa.Integer, nullable=False),
        sa.Column("opened_at", sa.Float, nullable=False),
        sa.Column("closed_at", sa.Float),
    )
    op.create_index("slices_open", "slices", ["target_id", "closed_at"])
    op.create_table(
        "ledger",
        sa.Column("indicator_id", sa.BigInteger, nullable=False),
        sa.Column("target_id", sa.SmallInteger, nullable=False),
        sa.Column("uuid", sa.LargeBinary(16), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(8), nullable=False),
        sa.Column("fold", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Integer, nullable=False),
        sa.Column("slice_id", sa.Integer, nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("indicator_id", "target_id", "uuid"),
        sqlite_with_rowid=False,
    )
    op.create_index("ledger_uuid", "ledger", ["uuid", "target_id"])
    op.create_table(
        "refusals",
        sa.Column("target_id", sa.Integer, nullable=False),
        sa.Column("indicator_id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
    )
    op.create_index("refusals_indicator", "refusals", ["target_id", "indicator_id"])
