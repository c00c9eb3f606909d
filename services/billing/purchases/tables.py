"""The tables of purchases.

At most one automatic payment of a tenant is under way: an index says so, for all processes.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from keyferry.contracts.purchases import FINAL_STATES, PurchaseKind, PurchaseState
from services.billing.schema import BILLING_SCHEMA


def _one_of(column: str, values: type[PurchaseKind] | type[PurchaseState]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


UNFINISHED = f"state NOT IN ({', '.join(sorted(repr(state.value) for state in FINAL_STATES))})"

customers_table = Table(
    "customers",
    BILLING_SCHEMA.metadata,
    Column("tenant", Text, primary_key=True),
    Column("creation_key", Text, nullable=False),
    Column("keyed_at", DateTime(timezone=True), nullable=False),
    Column("customer", Text, unique=True),
    Column("payment_method", Text),
    Column("payment_method_label", Text),
    Column("saved_at", DateTime(timezone=True)),
)
"""`creation_key` is the idempotency key under which Stripe is asked for the customer, stored before it is asked."""
purchases_table = Table(
    "purchases",
    BILLING_SCHEMA.metadata,
    Column("purchase", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("package", Text),
    Column("amount_cents", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("credits_micro_usd", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("session", Text, unique=True),
    Column("url", Text),
    Column("expires_at", DateTime(timezone=True)),
    Column("payment_intent", Text, unique=True),
    Column("return_path", Text),
    Column("save_payment_method", Boolean, nullable=False, server_default="false"),
    Column("idempotency_key", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("read_at", DateTime(timezone=True)),
    Column("paid_at", DateTime(timezone=True)),
    Column("credited_at", DateTime(timezone=True)),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("obstacles", Integer, nullable=False, server_default="0"),
    Column("next_step_at", DateTime(timezone=True)),
    UniqueConstraint("tenant", "idempotency_key", name="purchases_once_per_key"),
    CheckConstraint(_one_of("kind", PurchaseKind), name="purchases_kind_known"),
    CheckConstraint(_one_of("state", PurchaseState), name="purchases_state_known"),
    CheckConstraint("amount_cents > 0 AND credits_micro_usd > 0", name="purchases_take_something"),
    Index("purchases_by_tenant", "tenant", "created_at"),
)
"""`read_at`: when Stripe was asked last. `next_step_at`: when a process works on it next. `obstacles`: outages in a row."""
Index(
    "purchases_one_top_up_under_way",
    purchases_table.c.tenant,
    unique=True,
    postgresql_where=(purchases_table.c.kind == PurchaseKind.TOP_UP.value)
    & purchases_table.c.state.not_in(sorted(state.value for state in FINAL_STATES)),
)
Index(
    "purchases_due",
    purchases_table.c.next_step_at,
    postgresql_where=purchases_table.c.next_step_at.is_not(None),
)
top_ups_table = Table(
    "top_ups",
    BILLING_SCHEMA.metadata,
    Column("tenant", Text, primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("threshold_micro_usd", BigInteger, nullable=False),
    Column("amount_cents", BigInteger, nullable=False),
    Column("ceiling_cents", BigInteger, nullable=False),
    Column("paused_at", DateTime(timezone=True)),
    Column("paused_reason", Text),
    Column("held_until", DateTime(timezone=True)),
    Column("consent_at", DateTime(timezone=True)),
    Column("consent_by", Text),
    Column("revision", BigInteger, nullable=False),
    Column("cycle", BigInteger, nullable=False, server_default="0"),
    Column("check_at", DateTime(timezone=True)),
    CheckConstraint("amount_cents > 0 AND ceiling_cents >= amount_cents", name="top_ups_allow_one_payment"),
    CheckConstraint("threshold_micro_usd >= 0", name="top_ups_threshold_not_negative"),
    CheckConstraint("(paused_at IS NULL) = (paused_reason IS NULL)", name="top_ups_paused_with_a_reason"),
    CheckConstraint("NOT enabled OR consent_at IS NOT NULL", name="top_ups_with_consent"),
    Index("top_ups_due", "check_at"),
)
"""`held_until` is the end of a month whose ceiling is reached. `cycle` grows whenever a payment begins or ends, so that a balance
that was read before it is not acted on after it."""
subscriptions_table = Table(
    "subscriptions",
    BILLING_SCHEMA.metadata,
    Column("tenant", Text, primary_key=True),
    Column("subscription", Text, unique=True),
    Column("session", Text),
    Column("session_key", Text),
    Column("tier", Text),
    Column("paid_tier", Text),
    Column("paid_until", DateTime(timezone=True)),
    Column("status", Text),
    Column("cancels", Boolean, nullable=False, server_default="false"),
    Column("period_ends_at", DateTime(timezone=True)),
    Column("failing_since", DateTime(timezone=True)),
    Column("applied_tier", Text),
    Column("set_by_operator", Boolean, nullable=False, server_default="false"),
    Column("check_at", DateTime(timezone=True)),
    Index("subscriptions_due", "check_at"),
)
"""`tier` is that of the price at Stripe; `paid_tier` a higher one that is paid until `paid_until`; `applied_tier` what the tenant
directory was asked for last."""
