"""Payments that Stripe took, what they do to credits, its events, and the daily comparison."""

from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_PAYMENTS = """
CREATE TABLE stripe_payments (
    payment_id        text        PRIMARY KEY,
    tenant            text        NOT NULL,
    purchase_id       text,
    credits_micro_usd bigint      NOT NULL CHECK (credits_micro_usd >= 0),
    amount_minor      bigint      NOT NULL CHECK (amount_minor >= 0),
    currency          text        NOT NULL,
    livemode          boolean     NOT NULL,
    charge_id         text,
    receipt_url       text,
    state             text        NOT NULL,
    detail            text,
    refunded_minor    bigint      NOT NULL,
    taken_micro_usd   bigint      NOT NULL,
    paid_at           timestamptz NOT NULL
)
"""
_EFFECTS = """
CREATE TABLE stripe_effects (
    kind             text        NOT NULL,
    object_id        text        NOT NULL,
    payment_id       text        NOT NULL REFERENCES stripe_payments (payment_id),
    position         integer     NOT NULL,
    amount_minor     bigint      NOT NULL CHECK (amount_minor >= 0),
    amount_micro_usd bigint      NOT NULL CHECK (amount_micro_usd >= 0),
    happened_at      timestamptz NOT NULL,
    decided_at       timestamptz NOT NULL,
    posted_at        timestamptz,
    PRIMARY KEY (kind, object_id),
    UNIQUE (payment_id, position)
)
"""
_EVENTS = """
CREATE TABLE stripe_events (
    event_id        text        PRIMARY KEY,
    type            text        NOT NULL,
    object_type     text        NOT NULL,
    object_id       text,
    payment_id      text,
    livemode        boolean     NOT NULL,
    created_at      timestamptz NOT NULL,
    received_at     timestamptz NOT NULL,
    deliveries      bigint      NOT NULL,
    state           text        NOT NULL CHECK (state IN ('pending', 'done', 'ignored', 'parked')),
    attempts        bigint      NOT NULL,
    next_attempt_at timestamptz,
    detail          text,
    CONSTRAINT stripe_events_are_due_while_pending CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL))
)
"""
_HEALTH = """
CREATE TABLE stripe_health (
    subject  text    PRIMARY KEY,
    failures bigint  NOT NULL,
    detail   text,
    reported boolean NOT NULL
)
"""
_REPORTS = "CREATE TABLE stripe_reconciliations (day date PRIMARY KEY, report jsonb NOT NULL)"
_INDEXES = (
    "CREATE INDEX stripe_payments_by_tenant ON stripe_payments (tenant, paid_at, payment_id)",
    "CREATE INDEX stripe_effects_unposted ON stripe_effects (decided_at) WHERE posted_at IS NULL",
    "CREATE INDEX stripe_events_due ON stripe_events (next_attempt_at) WHERE state = 'pending'",
    "CREATE INDEX stripe_events_by_time ON stripe_events (received_at, event_id)",
    "CREATE INDEX stripe_events_parked ON stripe_events (received_at) WHERE state = 'parked'",
)
_OF_THE_PAYMENT = "(SELECT p.tenant FROM stripe_payments AS p WHERE p.payment_id = stripe_effects.payment_id)"


def upgrade() -> None:
    """Create the tables."""
    for statement in (_PAYMENTS, _EFFECTS, _EVENTS, _HEALTH, _REPORTS, *_INDEXES):
        op.execute(statement)
    enable_tenant_isolation(op, "stripe_payments", privileges=("SELECT",))
    enable_tenant_isolation(op, "stripe_effects", owner=_OF_THE_PAYMENT, privileges=("SELECT",))


def downgrade() -> None:
    """Refuse: the amounts that were decided exist nowhere else."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
