"""Row-level security: a request of one tenant sees no other tenant's rows."""

from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation, grant_to_tenants

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLES = ("endpoints", "rules_published", "rule_drafts", "rule_draft_revisions")


def upgrade() -> None:
    """Isolate the tables with rows of tenants, and allow to add to the outboxes."""
    for table in _TABLES:
        enable_tenant_isolation(op, table)
    enable_tenant_isolation(op, "rule_versions", privileges=("SELECT", "INSERT"))
    # The platform's preferences are in force for everyone.
    enable_tenant_isolation(op, "preferences", shown_to_all="tenant = 'platform'")
    for outbox in ("outbox", "event_outbox"):
        grant_to_tenants(op, outbox, "INSERT")


def downgrade() -> None:
    """Refuse: builds before this one do not set the tenant, but need no fewer rights."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
