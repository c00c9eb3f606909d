"""What the billing's tables have of a tenant, and what becomes of it when the tenant is deleted. Pure.

Every table with a column `tenant` has a row here: a test compares the list with the schema.
"""

from keyferry.contracts.erasure import Treatment
from keyferry.runtime.database.erasure import TenantTable

_BOOKS = "for the books, as the law on accounting asks (in Germany ten years, HGB § 257 and AO § 147)"
TENANT_TABLES: tuple[TenantTable, ...] = (
    TenantTable(
        name="lago_customers",
        treatment=Treatment.REMOVED,
        reason="which customer it was in Lago; Lago keeps its invoices",
    ),
    TenantTable(name="lago_events", treatment=Treatment.REMOVED, reason="usage that Lago had refused"),
    TenantTable(
        name="lago_purchases",
        treatment=Treatment.KEPT,
        reason="which of its payments were booked in Lago, so that none is booked again",
    ),
    TenantTable(
        name="stripe_effects",
        treatment=Treatment.KEPT,
        reason=f"what its payments did to its credits, with the ids of refunds and disputes, kept {_BOOKS}",
        owner="payment_id IN (SELECT payment_id FROM billing.stripe_payments WHERE tenant = :tenant)",
    ),
    TenantTable(
        name="stripe_payments",
        treatment=Treatment.KEPT,
        reason=f"its payments with their ids and amounts, kept {_BOOKS}; who paid, and how, only Stripe has",
    ),
    TenantTable(
        name="reconciliations", treatment=Treatment.REMOVED, reason="comparisons of its usage with providers' figures"
    ),
    TenantTable(name="reconciliation_schedules", treatment=Treatment.REMOVED, reason="its monthly comparisons"),
    TenantTable(
        name="customers",
        treatment=Treatment.REMOVED,
        reason="which customer it was at Stripe, and its saved payment method; Stripe keeps what it has",
    ),
    TenantTable(name="top_ups", treatment=Treatment.REMOVED, reason="its automatic top-up"),
    TenantTable(
        name="subscriptions",
        treatment=Treatment.REMOVED,
        reason="its subscription, which ends at Stripe with its period",
    ),
    TenantTable(
        name="purchases",
        treatment=Treatment.KEPT,
        reason="what was paid when and for how many credits, for the books",
    ),
)
