"""Attempts with what is not queried packed, beside rows of earlier builds as they are. No row is read or written."""

from alembic import op

revision = "0022"
down_revision = "0019"
branch_labels = None
depends_on = None

_OPTIONAL = ("decision_id", "usage_source", "worker_id", "spool_seq", "unkept")
_WHOLE = " AND ".join(f"{name} IS NOT NULL" for name in _OPTIONAL if name != "decision_id")
_PRICE_IS_NAMED = "(price_version IS NOT NULL) = (pricing = 'priced')"
_ATTEMPTS = (
    "ADD COLUMN decision_uuid uuid",
    "ADD COLUMN trace_uuid uuid",
    "ADD COLUMN packed bytea",
    *(f"ALTER COLUMN {name} DROP NOT NULL" for name in _OPTIONAL),
    "DROP CONSTRAINT attempts_price_is_named",
    # Rows that are there were checked by stricter rules: nothing needs to read them again.
    f"ADD CONSTRAINT attempts_price_is_named CHECK (packed IS NOT NULL OR {_PRICE_IS_NAMED}) NOT VALID",
    f"ADD CONSTRAINT attempts_are_whole CHECK (packed IS NOT NULL OR ({_WHOLE})) NOT VALID",
    "ADD CONSTRAINT attempts_have_one_decision CHECK ((decision_id IS NULL) <> (decision_uuid IS NULL)) NOT VALID",
)
_PACKING = """
CREATE TABLE packing (
    only_one    boolean     PRIMARY KEY DEFAULT true CHECK (only_one),
    packed_from timestamptz NOT NULL
)
"""
_PACKED_FROM = """
INSERT INTO packing (packed_from)
SELECT CASE WHEN EXISTS (SELECT FROM attempts) OR EXISTS (SELECT FROM decisions) THEN now() + interval '1 day'
            ELSE timestamptz '1970-01-01Z' END
"""


def upgrade() -> None:
    """Add the columns. Processes of the build before go on: what they write is whole, and what they read, for a day."""
    op.execute(f"ALTER TABLE attempts {', '.join(_ATTEMPTS)}")
    op.execute(_PACKING)
    op.execute(_PACKED_FROM)


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
