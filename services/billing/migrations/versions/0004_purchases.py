"""Customers at Stripe, purchases of credits, automatic top-ups and subscriptions."""

import sqlalchemy as sa
from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATES = "'opening', 'open', 'processing', 'paid', 'credited', 'expired', 'failed', 'cancelled'"
_FINAL = "'cancelled', 'credited', 'expired', 'failed'"
_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the four tables."""
    _create_customers()
    _create_purchases()
    _create_top_ups()
    _create_subscriptions()
    for table in ("customers", "purchases", "top_ups", "subscriptions"):
        enable_tenant_isolation(op, table)


def _create_customers() -> None:
    op.create_table(
        "customers",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("creation_key", sa.Text, nullable=False),
        sa.Column("keyed_at", _AT, nullable=False),
        sa.Column("customer", sa.Text, unique=True),
        sa.Column("payment_method", sa.Text),
        sa.Column("payment_method_label", sa.Text),
        sa.Column("saved_at", _AT),
    )


def _create_purchases() -> None:
    op.create_table(
        "purchases",
        sa.Column("purchase", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("package", sa.Text),
        sa.Column("amount_cents", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("credits_micro_usd", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("session", sa.Text, unique=True),
        sa.Column("url", sa.Text),
        sa.Column("expires_at", _AT),
        sa.Column("payment_intent", sa.Text, unique=True),
        sa.Column("return_path", sa.Text),
        sa.Column("save_payment_method", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.Column("read_at", _AT),
        sa.Column("paid_at", _AT),
        sa.Column("credited_at", _AT),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("obstacles", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_step_at", _AT),
        sa.UniqueConstraint("tenant", "idempotency_key", name="purchases_once_per_key"),
        sa.CheckConstraint("kind IN ('checkout', 'top_up')", name="purchases_kind_known"),
        sa.CheckConstraint(f"state IN ({_STATES})", name="purchases_state_known"),
        sa.CheckConstraint("amount_cents > 0 AND credits_micro_usd > 0", name="purchases_take_something"),
    )
    op.create_index("purchases_by_tenant", "purchases", ["tenant", "created_at"])
    op.create_index(
        "purchases_one_top_up_under_way",
        "purchases",
        ["tenant"],
        unique=True,
        postgresql_where=sa.text(f"kind = 'top_up' AND state NOT IN ({_FINAL})"),
    )
    op.create_index(
        "purchases_due", "purchases", ["next_step_at"], postgresql_where=sa.text("next_step_at IS NOT NULL")
    )


def _create_top_ups() -> None:
    op.create_table(
        "top_ups",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("threshold_micro_usd", sa.BigInteger, nullable=False),
        sa.Column("amount_cents", sa.BigInteger, nullable=False),
        sa.Column("ceiling_cents", sa.BigInteger, nullable=False),
        sa.Column("paused_at", _AT),
        sa.Column("paused_reason", sa.Text),
        sa.Column("held_until", _AT),
        sa.Column("consent_at", _AT),
        sa.Column("consent_by", sa.Text),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("cycle", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("check_at", _AT),
        sa.CheckConstraint("amount_cents > 0 AND ceiling_cents >= amount_cents", name="top_ups_allow_one_payment"),
        sa.CheckConstraint("threshold_micro_usd >= 0", name="top_ups_threshold_not_negative"),
        sa.CheckConstraint("(paused_at IS NULL) = (paused_reason IS NULL)", name="top_ups_paused_with_a_reason"),
        sa.CheckConstraint("NOT enabled OR consent_at IS NOT NULL", name="top_ups_with_consent"),
    )
    op.create_index("top_ups_due", "top_ups", ["check_at"])


def _create_subscriptions() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("subscription", sa.Text, unique=True),
        sa.Column("session", sa.Text),
        sa.Column("session_key", sa.Text),
        sa.Column("tier", sa.Text),
        sa.Column("paid_tier", sa.Text),
        sa.Column("paid_until", _AT),
        sa.Column("status", sa.Text),
        sa.Column("cancels", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("period_ends_at", _AT),
        sa.Column("failing_since", _AT),
        sa.Column("applied_tier", sa.Text),
        sa.Column("set_by_operator", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("check_at", _AT),
    )
    op.create_index("subscriptions_due", "subscriptions", ["check_at"])


def downgrade() -> None:
    """Refuse: payments would be forgotten."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
