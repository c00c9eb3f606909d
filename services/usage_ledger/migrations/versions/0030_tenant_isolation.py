"""Row-level security: a request of one tenant sees no other tenant's rows.

Partitions have no rights of their own: the tenant role reaches them through their table only. Corrections get the tenant of their
attempt, since looking it up in each row would make every sum slower.
"""

from alembic import op

from keyferry.runtime.database.tenant_isolation import (
    CURRENT_TENANT,
    enable_tenant_isolation,
    grant_to_tenants,
)

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_READ_ONLY = ("SELECT",)
_READ = (
    *("decisions", "refused_requests", "request_facets", "usage_values", "usage_rollups"),
    *("key_spending", "credit_leases", "corrected_attempts", "rerated_attempts", "rerated_tenants", "audit_entries"),
)
_WRITTEN = ("ratings", "budgets", "credit_settings", "audit_chain_heads", "audit_checkpoints")

_ACCOUNT = "coalesce(parent, name)"
_OF_THE_ACCOUNT = f"""
CASE split_part({_ACCOUNT}, '/', 1)
    WHEN 'platform' THEN NULL
    WHEN 'budget' THEN (SELECT b.tenant FROM budgets AS b WHERE b.budget_id = split_part({_ACCOUNT}, '/', 2))
    ELSE split_part({_ACCOUNT}, '/', 2)
END
"""  # noqa: S608 - an expression of names of our own, as are those below
_OF_EITHER_ACCOUNT = f"""
(SELECT {CURRENT_TENANT} WHERE EXISTS (SELECT FROM accounts AS a WHERE a.name IN (transfers.debit, transfers.credit)))
"""  # noqa: S608
_OF_ITS_ACCOUNT = f"(SELECT {CURRENT_TENANT} WHERE EXISTS (SELECT FROM accounts AS a WHERE a.name = {{column}}))"  # noqa: S608
_OF_THE_BUDGET = "(SELECT b.tenant FROM budgets AS b WHERE b.budget_id = budget_spending.budget_id)"
_OR_SHARED = f"coalesce(tenant, {CURRENT_TENANT})"
"""The health of a target that many tenants use belongs to none."""


def upgrade() -> None:
    """Isolate the tables with rows of tenants, directly or through another table, and allow to use what has none."""
    _name_tenants_of_corrections()
    enable_tenant_isolation(op, "attempts", privileges=_READ_ONLY, copied_into=True)
    for table in _READ:
        enable_tenant_isolation(op, table, privileges=_READ_ONLY)
    for table in _WRITTEN:
        enable_tenant_isolation(op, table)
    for table, owner in (
        ("accounts", _OF_THE_ACCOUNT),
        ("transfers", _OF_EITHER_ACCOUNT),
        ("account_days", _OF_ITS_ACCOUNT.format(column="account_days.account")),
        ("verified_accounts", _OF_ITS_ACCOUNT.format(column="verified_accounts.name")),
        ("budget_spending", _OF_THE_BUDGET),
        ("health_changes", _OR_SHARED),
    ):
        enable_tenant_isolation(op, table, owner=owner, privileges=_READ_ONLY)
    grant_to_tenants(op, "outbox", "INSERT")


def _name_tenants_of_corrections() -> None:
    op.execute("ALTER TABLE corrected_attempts ADD COLUMN tenant text")
    op.execute("""
        UPDATE corrected_attempts AS corrected SET tenant = rerated.tenant
        FROM rerated_attempts AS rerated
        WHERE (rerated.attempt_id, rerated.rerate_id) = (corrected.attempt_id, corrected.rerate_id)
    """)
    op.execute("ALTER TABLE corrected_attempts ALTER COLUMN tenant SET NOT NULL")


def downgrade() -> None:
    """Refuse: builds before this one do not set the tenant, but need no fewer rights."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
