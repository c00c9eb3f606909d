"""The tables about Lago."""

from sqlalchemy import BigInteger, Column, DateTime, Integer, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from services.billing.schema import BILLING_SCHEMA

_Timestamp = DateTime(timezone=True)
lago_customers = Table(
    "lago_customers",
    BILLING_SCHEMA.metadata,
    Column("tenant", Text, primary_key=True),
    Column("state", Text),
    Column("external_customer_id", Text),
    Column("external_subscription_id", Text),
    Column("wallet_id", Text),
    Column("created_by", Text),
    Column("updated_at", _Timestamp),
)
lago_events = Table(
    "lago_events",
    BILLING_SCHEMA.metadata,
    Column("attempt_id", Text, primary_key=True),
    Column("tenant", Text),
    Column("ended_at", _Timestamp),
    Column("properties", JSONB),
    Column("reason", Text),
    Column("parked_at", _Timestamp),
    Column("replays", Integer),
)
"""Events that Lago refuses. All others are in the stream of attempts until Lago has them."""
lago_purchases = Table(
    "lago_purchases",
    BILLING_SCHEMA.metadata,
    Column("payment_id", Text, primary_key=True),
    Column("tenant", Text),
    Column("kind", Text),
    Column("credits", Text),
    Column("amount_minor", BigInteger),
    Column("currency", Text),
    Column("paid_at", _Timestamp),
    Column("state", Text),
    Column("transaction_id", Text),
    Column("invoice_id", Text),
    Column("attempts", Integer),
    Column("next_attempt_at", _Timestamp),
    Column("detail", Text),
)
"""Payments that were settled at Stripe, and how far their invoices in Lago are."""
lago_progress = Table(
    "lago_progress",
    BILLING_SCHEMA.metadata,
    Column("only_row", SmallInteger, primary_key=True),
    Column("since", _Timestamp),
    Column("accepted", BigInteger),
    Column("known", BigInteger),
    Column("skipped", BigInteger),
    Column("last_accepted_at", _Timestamp),
)
"""From when on attempts are reported, and what has been."""
