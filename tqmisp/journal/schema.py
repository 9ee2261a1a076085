"""The tables of the journal.

About 140 bytes an indicator: UUIDs and fingerprints are raw bytes, states small numbers.
"""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

HEAD = "0007"
"""The newest migration; a journal that carries it needs no look at the others."""

metadata = MetaData()


class State(IntEnum):
    """What the ledger knows of an attribute."""

    LIVE = 0
    """Delivered, provided that its slice is closed."""
    MERGED = 1
    """Another indicator became the same attribute; this one shares it."""
    RETIRED = 2
    """Withdrawn, since it left the selection, and still in MISP without to_ids."""
    QUARANTINED = 3
    """Refused by the server."""
    PLANNED = 4
    """Promised by a run that died, and not found in MISP afterwards."""
    DELETED = 5
    """Deleted in MISP by people: it stays out."""
    REMOVED = 6
    """Withdrawn by deleting it softly."""


PRESENT = (State.LIVE, State.RETIRED)
"""States of attributes that MISP counts."""
WITHDRAWN = frozenset({State.RETIRED, State.REMOVED})
"""States of attributes that come back when their indicators are selected again."""


STALE = -1
"""A stamp that no row has: whatever ThreatQ gives next is a change."""
ASIDE = "ledger.state <> 0 OR ledger.stamp = -1"
"""Attributes that are not simply delivered: few, and with an index that SQLite uses where a query says just this."""

targets = Table(
    "targets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("owner", Text),
    Column("lease_until", Float),
    Column("learned", Text),
    Column("adopting", Boolean, nullable=False, server_default=false()),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", String(36), nullable=False),
    Column("target_id", Integer, ForeignKey("targets.id"), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("outcome", String(32), nullable=False),
    Column("receipt", Text),
)

watermarks = Table(
    "watermarks",
    metadata,
    Column("target_id", Integer, ForeignKey("targets.id"), nullable=False),
    Column("scope", String(64), nullable=False),
    Column("touched_at", String(32), nullable=False),
    PrimaryKeyConstraint("target_id", "scope"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("target_id", Integer, ForeignKey("targets.id"), nullable=False),
    Column("uuid", String(36), nullable=False),
    Column("info", Text, nullable=False),
    Column("date", String(10), nullable=False),
    Column("part", Integer, nullable=False),
    Column("attributes", Integer, nullable=False),
    Column("closed", Boolean, nullable=False, server_default=false()),
    Column("due", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("target_id", "uuid"),
)

slices = Table(
    "slices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("target_id", Integer, ForeignKey("targets.id"), nullable=False),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
    Column("event_id", Integer, ForeignKey("events.id"), nullable=False),
    Column("items", Integer, nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("closed_at", Float),
    Index("slices_open", "target_id", "closed_at"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("indicator_id", BigInteger, nullable=False),
    Column("target_id", SmallInteger, nullable=False),
    Column("uuid", LargeBinary(16), nullable=False),
    Column("fingerprint", LargeBinary(8), nullable=False),
    Column("fold", BigInteger, nullable=False),
    Column("event_id", Integer, nullable=False),
    Column("slice_id", Integer, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("marks", LargeBinary, nullable=False, server_default=""),
    Column("stamp", BigInteger, nullable=False, server_default="0"),
    # the target does not come first: SQLite would rather read all rows of a target than use the index beside it
    PrimaryKeyConstraint("indicator_id", "target_id", "uuid"),
    Index(
        "ledger_aside",
        "target_id",
        "state",
        sqlite_where=text("state <> 0 OR stamp = -1"),
        postgresql_where=text("state <> 0 OR stamp = -1"),
    ),
    sqlite_with_rowid=False,
)


holders = Table(
    "holders",
    metadata,
    Column("uuid", LargeBinary(16), nullable=False),
    Column("target_id", SmallInteger, nullable=False),
    Column("indicator_id", BigInteger, nullable=False),
    PrimaryKeyConstraint("uuid", "target_id", "indicator_id"),
    sqlite_with_rowid=False,
)
"""Where the rows of an attribute are in the ledger; see :mod:`tqmisp.journal.holders`."""

new_holders = Table(
    "new_holders",
    metadata,
    Column("uuid", LargeBinary(16), nullable=False),
    Column("target_id", SmallInteger, nullable=False),
    Column("indicator_id", BigInteger, nullable=False),
)
"""The same of rows that are not in ``holders`` yet, in no order."""

leaving = Table(
    "leaving",
    metadata,
    Column("indicator_id", BigInteger, nullable=False),
    Column("target_id", SmallInteger, nullable=False),
    Column("uuid", LargeBinary(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("code", String(64), nullable=False),
    Column("label", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("run_id", Integer, nullable=False),
    PrimaryKeyConstraint("indicator_id", "target_id", "uuid"),
)
"""Attributes whose indicators have left the selection, until they are withdrawn."""

seen = Table(
    "seen",
    metadata,
    Column("indicator_id", BigInteger, nullable=False),
    Column("target_id", SmallInteger, nullable=False),
    PrimaryKeyConstraint("indicator_id", "target_id"),
    sqlite_with_rowid=False,
)
"""Indicators that a complete reading of the selection has come across."""

sweeps = Table(
    "sweeps",
    metadata,
    Column("target_id", Integer, ForeignKey("targets.id"), primary_key=True),
    Column("scope", String(64), nullable=False),
    Column("plan", Text, nullable=False),
)
"""The reading that is under way, or was when its run died, and how far all of it is accounted for."""

refusals = Table(
    "refusals",
    metadata,
    Column("target_id", Integer, nullable=False),
    Column("indicator_id", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("code", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("run_id", Integer, nullable=False),
    Index("refusals_indicator", "target_id", "indicator_id"),
)

_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def create(connection: Connection) -> None:
    """Make all tables as the newest migration leaves them, and say that it has been run."""
    metadata.create_all(connection)
    _version.create(connection)
    connection.execute(_version.insert().values(version_num=HEAD))
