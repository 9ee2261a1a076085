"""An index by UUID whose new entries are kept apart until there are many."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables, fill the large one, and drop the index that it takes the place of."""
    for name in ("holders", "new_holders"):
        op.create_table(
            name,
            sa.Column("uuid", sa.LargeBinary(16), nullable=False),
            sa.Column("target_id", sa.SmallInteger, nullable=False),
            sa.Column("indicator_id", sa.BigInteger, nullable=False),
            sa.PrimaryKeyConstraint("uuid", "target_id", "indicator_id"),
            sqlite_with_rowid=False,
        )
    op.execute(
        "INSERT INTO holders (uuid, target_id, indicator_id) "
        "SELECT uuid, target_id, indicator_id FROM ledger ORDER BY uuid, target_id, indicator_id"
    )
    op.drop_index("ledger_uuid", "ledger")
