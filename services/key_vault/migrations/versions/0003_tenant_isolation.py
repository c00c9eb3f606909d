"""Row-level security: a request of one tenant sees no other tenant's rows."""

from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation, grant_to_tenants

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OF_THE_KEY = "(SELECT k.tenant FROM provider_keys AS k WHERE k.key_id = {table}.key_id)"


def upgrade() -> None:
    """Isolate the tables with rows of tenants, directly or through a key, and allow to add to the outboxes."""
    for table in ("provider_keys", "data_keys"):
        enable_tenant_isolation(op, table)
    for table in ("key_records", "spend"):
        enable_tenant_isolation(op, table, owner=_OF_THE_KEY.format(table=table))
    # Fingerprints of the platform's own keys.
    enable_tenant_isolation(op, "platform_fingerprints", owner="'platform'", privileges=("SELECT", "INSERT", "DELETE"))
    # What a key's test is sealed to: the public keys of running workers.
    grant_to_tenants(op, "workers", "SELECT")
    for outbox in ("outbox", "event_outbox"):
        grant_to_tenants(op, outbox, "INSERT")


def downgrade() -> None:
    """Refuse: builds before this one do not set the tenant, but need no fewer rights."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
