"""The months that statements are of, and finding attempts by when they were recorded."""

from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_MONTHS = """
CREATE TABLE statement_months (
    tenant    text        NOT NULL,
    month     date        NOT NULL CHECK (extract(day FROM month) = 1),
    tz        text        NOT NULL,
    since     timestamptz NOT NULL,
    until     timestamptz NOT NULL CHECK (until > since),
    closed_at timestamptz NOT NULL CHECK (closed_at >= until),
    PRIMARY KEY (tenant, month),
    UNIQUE (tenant, since)
)
"""
# Rows are in order of it, so that an index of ranges of pages takes nearly no space and no time.
_INDEX = """
CREATE INDEX attempts_by_record ON attempts USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on)
"""


def upgrade() -> None:
    """Create the table and the index."""
    op.execute(_MONTHS)
    enable_tenant_isolation(op, "statement_months", privileges=("SELECT", "INSERT"))
    op.execute(_INDEX)


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
