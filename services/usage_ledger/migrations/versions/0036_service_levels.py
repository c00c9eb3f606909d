"""Counts of good and bad events, of which service levels are made."""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

_COUNTS = """
CREATE TABLE service_level_counts (
    slot         timestamptz NOT NULL,
    level        text        NOT NULL CHECK (level ~ '^[a-z_]{1,40}$'),
    instance_id  text        NOT NULL,
    service      text        NOT NULL,
    good         bigint      NOT NULL CHECK (good >= 0),
    bad          bigint      NOT NULL CHECK (bad >= 0),
    PRIMARY KEY (slot, level, instance_id)
)
"""


def upgrade() -> None:
    """Add the table."""
    op.execute(_COUNTS)


def downgrade() -> None:
    """Refuse, as for every migration of the ledger."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
