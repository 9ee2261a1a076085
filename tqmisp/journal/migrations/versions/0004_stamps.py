"""What an unchanged run needs: stamps of rows, and an index of the attributes that are not simply delivered."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add column and index; no row is recognised until it was read once more, and what had to be sent again has to."""
    op.add_column("ledger", sa.Column("stamp", sa.BigInteger, nullable=False, server_default="0"))
    ledger = sa.table("ledger", sa.column("fingerprint", sa.LargeBinary), sa.column("stamp", sa.BigInteger))
    op.execute(sa.update(ledger).where(ledger.c.fingerprint == bytes(8)).values(stamp=-1))
    where = sa.text("state <> 0 OR stamp = -1")
    op.create_index("ledger_aside", "ledger", ["target_id", "state"], sqlite_where=where, postgresql_where=where)
