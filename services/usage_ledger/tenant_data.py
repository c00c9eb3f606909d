"""What the ledger's tables have of a tenant, and what becomes of it when the tenant is deleted.

Every table with a column `tenant` has a row here: a test compares the list with the schema.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.erasure import Treatment
from keyferry.contracts.ledger_management import BUDGETS_VIEW
from keyferry.contracts.routing_management import RATINGS_VIEW
from keyferry.runtime.database.erasure import TenantTable, ViewKeys
from services.usage_ledger.database import SCHEMA

_REMOVED, _REDUCED, _KEPT = Treatment.REMOVED, Treatment.REDUCED, Treatment.KEPT
_BOOKS = "for the books, as the law on accounting asks (in Germany ten years, HGB § 257 and AO § 147)"
_AUDIT = "the audit, whose chain shows that no entry was changed or removed; it names who did what, and no content"
_BUDGETS = f"budget_id IN (SELECT budget_id FROM {SCHEMA}.budgets WHERE tenant = :tenant)"  # noqa: S608
_SUM_UP = f"""
INSERT INTO {SCHEMA}.erased_attempts AS sums
    (tenant, month, provider, key_source, attempts, unpriced, cost_usd, charge_micro_usd, absorbed_micro_usd)
SELECT tenant, to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM'), provider, key_source, count(*),
    count(*) FILTER (WHERE pricing = 'unpriced'), coalesce(sum(cost_usd), 0), coalesce(sum(charge_micro_usd), 0),
    coalesce(sum(absorbed_micro_usd), 0)
FROM removed GROUP BY 1, 2, 3, 4
ON CONFLICT (tenant, month, provider, key_source) DO UPDATE SET
    attempts = sums.attempts + excluded.attempts, unpriced = sums.unpriced + excluded.unpriced,
    cost_usd = sums.cost_usd + excluded.cost_usd, charge_micro_usd = sums.charge_micro_usd + excluded.charge_micro_usd,
    absorbed_micro_usd = sums.absorbed_micro_usd + excluded.absorbed_micro_usd
"""  # noqa: S608 - no values
_DETACHED = text(
    f"SELECT partition FROM {SCHEMA}.detached_partitions"  # noqa: S608
    f" WHERE parent = :parent AND dropped_at IS NULL AND to_regclass('{SCHEMA}.' || quote_ident(partition)) IS NOT NULL"
)


async def _detached_attempts(connection: AsyncConnection) -> list[str]:
    return [f"{SCHEMA}.{name}" for name in await connection.scalars(_DETACHED, {"parent": "attempts"})]


async def _detached_decisions(connection: AsyncConnection) -> list[str]:
    return [f"{SCHEMA}.{name}" for name in await connection.scalars(_DETACHED, {"parent": "decisions"})]


TENANT_TABLES = (
    TenantTable(
        name="content_keys",
        treatment=_REMOVED,
        reason="the key without which no stored prompt or answer can be read",
    ),
    TenantTable(name="contents", treatment=_REMOVED, reason="stored prompts and answers"),
    TenantTable(
        name="ratings",
        treatment=_REMOVED,
        reason="ratings of answers, with their comments",
        view=ViewKeys(RATINGS_VIEW, lambda row: str(row["tenant"])),
    ),
    TenantTable(name="request_facets", treatment=_REMOVED, reason="what its requests could be found by"),
    TenantTable(name="refused_requests", treatment=_REMOVED, reason="requests that were refused"),
    TenantTable(
        name="decisions",
        treatment=_REMOVED,
        reason="how its requests were routed",
        detached=_detached_decisions,
    ),
    TenantTable(
        name="corrected_attempts",
        treatment=_REMOVED,
        reason="what attempts cost after a re-rating; the transfers of the re-rating stay",
    ),
    TenantTable(
        name="attempts",
        treatment=_REDUCED,
        reason=f"single calls with their team, member, operation, tags and trace; sums of a month are kept {_BOOKS}",
        into=_SUM_UP,
        detached=_detached_attempts,
    ),
    TenantTable(name="usage_rollups", treatment=_REMOVED, reason="its usage by quarter hour and day"),
    TenantTable(name="usage_values", treatment=_REMOVED, reason="what its usage was counted by"),
    TenantTable(name="key_spending", treatment=_REMOVED, reason="what was spent with its provider keys"),
    TenantTable(name="budget_spending", treatment=_REMOVED, reason="what was spent of its budgets", owner=_BUDGETS),
    TenantTable(
        name="budgets",
        treatment=_REMOVED,
        reason="its budgets",
        view=ViewKeys(BUDGETS_VIEW, lambda row: f"{row['tenant']}.{row['budget_id']}"),
    ),
    TenantTable(name="alert_steps", treatment=_REMOVED, reason="when its alerts fired and were resolved"),
    TenantTable(name="alerts", treatment=_REMOVED, reason="its alerts"),
    TenantTable(name="alert_rules", treatment=_REMOVED, reason="its alert rules"),
    TenantTable(name="alert_sequences", treatment=_REMOVED, reason="how many changes its alerts had"),
    TenantTable(name="alert_causes", treatment=_REMOVED, reason="that its alerts had to be looked at again"),
    TenantTable(name="alert_reports", treatment=_REMOVED, reason="what other services said about it"),
    TenantTable(name="credit_settings", treatment=_REMOVED, reason="below which balance its credits counted as low"),
    TenantTable(name="health_changes", treatment=_REMOVED, reason="outages of its own keys and servers"),
    TenantTable(
        name="erased_attempts",
        treatment=_KEPT,
        reason=f"what its calls cost and were charged, by month, provider and kind of key, kept {_BOOKS}",
    ),
    TenantTable(
        name="accounts",
        treatment=_KEPT,
        reason=f"its accounts of credits and of what it owed, emptied, kept {_BOOKS}",
        owner="name IN ('credits/' || :tenant, 'debt/' || :tenant)",
    ),
    TenantTable(
        name="transfers",
        treatment=_KEPT,
        reason=f"credits that it was given, has bought or got back, kept {_BOOKS}",
        owner="credit IN ('credits/' || :tenant, 'debt/' || :tenant) AND debit LIKE 'platform/%'",
    ),
    TenantTable(
        name="credit_payments",
        treatment=_KEPT,
        reason=f"what it paid, was refunded and disputed, with the ids of the payment provider, kept {_BOOKS}",
    ),
    TenantTable(
        name="account_days",
        treatment=_KEPT,
        reason=f"what was paid in credits each day, kept {_BOOKS}",
        owner="account = 'credits/' || :tenant",
    ),
    TenantTable(
        name="statement_months",
        treatment=_KEPT,
        reason=f"when its months began and ended, of which its statements are, kept {_BOOKS}",
    ),
    TenantTable(name="credit_leases", treatment=_KEPT, reason=f"credits that routers held for it, kept {_BOOKS}"),
    TenantTable(name="rerated_tenants", treatment=_KEPT, reason=f"corrections of what it was charged, kept {_BOOKS}"),
    TenantTable(
        name="rerated_attempts",
        treatment=_KEPT,
        reason=f"amounts of corrections, without anything else about the call, kept {_BOOKS}",
    ),
    TenantTable(name="audit_entries", treatment=_KEPT, reason=_AUDIT),
    TenantTable(name="audit_chain_heads", treatment=_KEPT, reason=_AUDIT),
    TenantTable(name="audit_checkpoints", treatment=_KEPT, reason=_AUDIT),
)
