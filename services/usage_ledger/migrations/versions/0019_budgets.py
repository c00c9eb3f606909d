"""Budgets, and what is spent of each by window and hour."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.execute("""
CREATE TABLE budgets (
    budget_id   text        PRIMARY KEY CHECK (budget_id ~ '^bud_[a-z0-9]{1,60}$'),
    tenant      text        NOT NULL,
    scope       text        NOT NULL CHECK (scope IN ('tenant', 'team', 'member', 'client_token', 'key', 'model')),
    value       text        CHECK ((scope = 'tenant') = (value IS NULL)),
    name        text,
    time_window jsonb       NOT NULL CHECK (jsonb_typeof(time_window) = 'object'),
    limit_micro_usd bigint  NOT NULL CHECK (limit_micro_usd BETWEEN 1 AND 1000000000000000),
    hard        boolean     NOT NULL,
    thresholds  jsonb       NOT NULL CHECK (jsonb_typeof(thresholds) = 'array'),
    enabled     boolean     NOT NULL,
    revision    bigint      NOT NULL CHECK (revision >= 1),
    created_at  timestamptz NOT NULL,
    removed_at  timestamptz
)""")
    op.execute(
        "CREATE UNIQUE INDEX budgets_once ON budgets (tenant, scope, coalesce(value, ''), time_window)"
        " WHERE removed_at IS NULL"
    )
    # The hours of a rolling window belong to no other window: they have the first moment of all as theirs.
    op.execute("""
CREATE TABLE budget_spending (
    budget_id       text           NOT NULL REFERENCES budgets (budget_id),
    window_start    timestamptz    NOT NULL,
    hour            timestamptz    NOT NULL,
    spent_micro_usd numeric(38, 0) NOT NULL CHECK (spent_micro_usd >= 0),
    attempts        bigint         NOT NULL CHECK (attempts > 0),
    unpriced        bigint         NOT NULL CHECK (unpriced >= 0),
    PRIMARY KEY (budget_id, window_start, hour)
)""")


def downgrade() -> None:
    """Refuse: the budgets exist nowhere else."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
