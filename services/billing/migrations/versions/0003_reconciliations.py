"""Comparisons with providers' own figures, and those of each month."""

from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_REPORTS = """
CREATE TABLE reconciliations (
    reconciliation_id text  COLLATE "C" PRIMARY KEY,
    tenant            text  NOT NULL,
    provider          text  NOT NULL,
    head              jsonb NOT NULL,
    rows              jsonb NOT NULL
)
"""
_SCHEDULES = """
CREATE TABLE reconciliation_schedules (
    tenant                 text           NOT NULL,
    provider               text           NOT NULL,
    enabled                boolean        NOT NULL,
    day_of_month           integer        NOT NULL CHECK (day_of_month BETWEEN 2 AND 28),
    tolerance_usd          numeric(27,12) NOT NULL CHECK (tolerance_usd >= 0),
    tolerance_percent      integer        NOT NULL CHECK (tolerance_percent BETWEEN 0 AND 100),
    next_run_at            timestamptz    CHECK (enabled = (next_run_at IS NOT NULL)),
    last_run_at            timestamptz,
    last_reconciliation_id text,
    last_error             text,
    PRIMARY KEY (tenant, provider)
)
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(_REPORTS)
    op.execute("CREATE INDEX reconciliations_by_tenant ON reconciliations (tenant, reconciliation_id)")
    op.execute(_SCHEDULES)
    op.execute("CREATE INDEX reconciliation_schedules_due ON reconciliation_schedules (next_run_at)")
    enable_tenant_isolation(op, "reconciliations", privileges=("SELECT", "INSERT"))
    enable_tenant_isolation(op, "reconciliation_schedules")


def downgrade() -> None:
    """Refuse: the reports would be lost."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
