"""Row-level security: a request of one tenant sees no other tenant's rows."""

from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation, grant_to_tenants

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Isolate the tables with rows of tenants, and allow to add to the outboxes."""
    for table in ("tenants", "client_tokens", "internal_services"):
        enable_tenant_isolation(op, table)
    for outbox in ("outbox", "event_outbox"):
        grant_to_tenants(op, outbox, "INSERT")


def downgrade() -> None:
    """Refuse: builds before this one do not set the tenant, but need no fewer rights."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
