"""Customers in Lago, events that it refuses, payments to book there, and from when on usage is reported."""

from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_CUSTOMERS = """
CREATE TABLE lago_customers (
    tenant                   text        PRIMARY KEY,
    state                    text        NOT NULL CHECK (state IN ('reported', 'skipped')),
    external_customer_id     text        NOT NULL,
    external_subscription_id text        NOT NULL,
    wallet_id                text,
    created_by               text        NOT NULL,
    updated_at               timestamptz NOT NULL
)
"""
_EVENTS = """
CREATE TABLE lago_events (
    attempt_id text        COLLATE "C" PRIMARY KEY,
    tenant     text        NOT NULL,
    ended_at   timestamptz NOT NULL,
    properties jsonb       NOT NULL,
    reason     text        NOT NULL,
    parked_at  timestamptz NOT NULL,
    replays    integer     NOT NULL CHECK (replays >= 0)
)
"""
_PURCHASES = """
CREATE TABLE lago_purchases (
    payment_id      text        PRIMARY KEY,
    tenant          text        NOT NULL,
    kind            text        NOT NULL CHECK (kind IN ('purchase', 'taken_back', 'returned')),
    credits         text        NOT NULL,
    amount_minor    bigint      NOT NULL CHECK (amount_minor >= 0),
    currency        text        NOT NULL,
    paid_at         timestamptz NOT NULL,
    state           text        NOT NULL CHECK (state IN ('pending', 'booked', 'done', 'skipped', 'refused')),
    transaction_id  text,
    invoice_id      text,
    attempts        integer     NOT NULL CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL,
    detail          text
)
"""
_PROGRESS = """
CREATE TABLE lago_progress (
    only_row         smallint PRIMARY KEY CHECK (only_row = 1),
    since            timestamptz,
    accepted         bigint   NOT NULL,
    known            bigint   NOT NULL,
    skipped          bigint   NOT NULL,
    last_accepted_at timestamptz
)
"""


def upgrade() -> None:
    """Create the tables."""
    for statement in (_CUSTOMERS, _EVENTS, _PURCHASES, _PROGRESS):
        op.execute(statement)
    op.execute(
        "CREATE INDEX lago_purchases_due ON lago_purchases (next_attempt_at) WHERE state IN ('pending', 'booked')"
    )
    for table in ("lago_customers", "lago_events", "lago_purchases"):
        enable_tenant_isolation(op, table, privileges=("SELECT",))


def downgrade() -> None:
    """Refuse: what was reported would not be known any more."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
