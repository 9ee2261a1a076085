"""New entries of the index by UUID without an order of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move the entries that are there, and make their table anew."""
    op.execute(
        "INSERT INTO holders (uuid, target_id, indicator_id) "
        "SELECT uuid, target_id, indicator_id FROM new_holders WHERE true ON CONFLICT DO NOTHING"
    )
    op.drop_table("new_holders")
    op.create_table(
        "new_holders",
        sa.Column("uuid", sa.LargeBinary(16), nullable=False),
        sa.Column("target_id", sa.SmallInteger, nullable=False),
        sa.Column("indicator_id", sa.BigInteger, nullable=False),
    )
