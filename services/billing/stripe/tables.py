"""The tables of payments, of events of Stripe, and of the daily comparison."""

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from services.billing.schema import BILLING_SCHEMA

_Timestamp = DateTime(timezone=True)
stripe_payments = Table(
    "stripe_payments",
    BILLING_SCHEMA.metadata,
    Column("payment_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("purchase_id", Text),
    Column("credits_micro_usd", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("charge_id", Text),
    Column("receipt_url", Text),
    Column("state", Text, nullable=False),
    Column("detail", Text),
    Column("refunded_minor", BigInteger, nullable=False),
    Column("taken_micro_usd", BigInteger, nullable=False),
    Column("paid_at", _Timestamp, nullable=False),
)
"""Payments for credits, as Stripe had them when they were last read. A parked one has no effects."""
stripe_effects = Table(
    "stripe_effects",
    BILLING_SCHEMA.metadata,
    Column("kind", Text, primary_key=True),
    Column("object_id", Text, primary_key=True),
    Column("payment_id", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("amount_micro_usd", BigInteger, nullable=False),
    Column("happened_at", _Timestamp, nullable=False),
    Column("decided_at", _Timestamp, nullable=False),
    Column("posted_at", _Timestamp),
)
"""What payments do to credits. An amount is decided once and stored before the ledger is asked to post it."""
stripe_events = Table(
    "stripe_events",
    BILLING_SCHEMA.metadata,
    Column("event_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("object_type", Text, nullable=False),
    Column("object_id", Text),
    Column("payment_id", Text),
    Column("livemode", Boolean, nullable=False),
    Column("created_at", _Timestamp, nullable=False),
    Column("received_at", _Timestamp, nullable=False),
    Column("deliveries", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("next_attempt_at", _Timestamp),
    Column("detail", Text),
)
"""The inbox: an event is here before Stripe gets an answer, so it may forget it."""
stripe_health = Table(
    "stripe_health",
    BILLING_SCHEMA.metadata,
    Column("subject", Text, primary_key=True),
    Column("failures", BigInteger, nullable=False),
    Column("detail", Text),
    Column("reported", Boolean, nullable=False),
)
"""How often in a row something failed, and whether an alert was raised over it."""
stripe_reconciliations = Table(
    "stripe_reconciliations",
    BILLING_SCHEMA.metadata,
    Column("day", Date, primary_key=True),
    Column("report", JSONB, nullable=False),
)
