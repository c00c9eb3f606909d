"""Reading attempts and transfers by time, and how far balances were verified."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

# Rows are in order of time, so that an index of ranges of pages takes nearly no space and no time.
_INDEXES = (
    "CREATE INDEX attempts_by_start ON attempts USING brin (started_at) WITH (pages_per_range = 32, autosummarize = on)",
    "CREATE INDEX transfers_by_sequence ON transfers USING brin (sequence) WITH (pages_per_range = 32, autosummarize = on)",
    "CREATE INDEX transfers_by_time ON transfers USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on)",
)
_VERIFIED = """
CREATE TABLE verified_accounts (
    name            text   PRIMARY KEY REFERENCES accounts,
    debits_posted   bigint NOT NULL,
    credits_posted  bigint NOT NULL,
    debits_pending  bigint NOT NULL,
    credits_pending bigint NOT NULL
)
"""
_PROGRESS = """
CREATE TABLE account_verification (
    only_one      boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    verified_end  bigint  NOT NULL DEFAULT 0,
    next_end      bigint  NOT NULL DEFAULT 0,
    next_xid      xid8    NOT NULL DEFAULT '0',
    verified_day  date
)
"""


def upgrade() -> None:
    """Create them."""
    for statement in (*_INDEXES, _VERIFIED, _PROGRESS):
        op.execute(statement)
    op.execute("INSERT INTO account_verification DEFAULT VALUES")


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
