"""The spending of provider keys by calendar month, which was summed from the attempts each time."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE key_spending (
    key_id       text           NOT NULL,
    month        text           NOT NULL,
    tenant       text           NOT NULL,
    spent_usd    numeric(30, 12),
    attempts     bigint         NOT NULL CHECK (attempts >= 0),
    unpriced     bigint         NOT NULL CHECK (unpriced >= 0),
    last_used_at timestamptz    NOT NULL,
    PRIMARY KEY (key_id, month)
) WITH (fillfactor = 70)
"""
_FILL = """
INSERT INTO key_spending
SELECT key_id, to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM'),
       max(CASE key_source WHEN 'platform' THEN 'platform' ELSE tenant END),
       sum(cost_usd), count(*), count(*) FILTER (WHERE pricing = 'unpriced'), max(started_at)
FROM attempts WHERE key_id IS NOT NULL GROUP BY 1, 2
"""


def upgrade() -> None:
    """Create the table with what was spent so far, and drop the index that the sums needed."""
    op.execute(_TABLE)
    op.execute(_FILL)
    op.execute("CREATE INDEX key_spending_by_month ON key_spending (month)")
    op.execute("DROP INDEX attempts_by_key")


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
