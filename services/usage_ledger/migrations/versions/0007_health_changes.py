"""The changes of targets' health, and the indexes from which outages and their affected requests are computed."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_CHANGES = """
CREATE TABLE health_changes (
    change_id text PRIMARY KEY,
    target_key text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    origin text,
    key_class text NOT NULL,
    tenant text,
    endpoint text,
    key_id text,
    state text NOT NULL,
    reason text NOT NULL,
    failure_class text,
    forced boolean NOT NULL,
    holds_until timestamptz,
    changed_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
)
"""


def upgrade() -> None:
    """Create the table and the indexes."""
    op.execute(_CHANGES)
    # A key's pauses are kept as history only; outages are those of targets.
    op.execute("CREATE INDEX health_changes_by_time ON health_changes (changed_at) WHERE key_id IS NULL")
    op.execute("CREATE INDEX health_changes_by_target ON health_changes (target_key, changed_at)")
    op.execute("CREATE INDEX attempts_failed_by_provider ON attempts (provider, started_at) WHERE outcome = 'failed'")


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
