"""The tables of comparisons with providers."""

from sqlalchemy import Boolean, Column, DateTime, Integer, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from keyferry.contracts.money import PLACES
from services.billing.schema import BILLING_SCHEMA

_Timestamp = DateTime(timezone=True)
reconciliations = Table(
    "reconciliations",
    BILLING_SCHEMA.metadata,
    Column("reconciliation_id", Text, primary_key=True),
    Column("tenant", Text),
    Column("provider", Text),
    Column("head", JSONB),
    Column("rows", JSONB),
)
"""`head` is the report without its rows."""
reconciliation_schedules = Table(
    "reconciliation_schedules",
    BILLING_SCHEMA.metadata,
    Column("tenant", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("enabled", Boolean),
    Column("day_of_month", Integer),
    Column("tolerance_usd", Numeric(27, PLACES)),
    Column("tolerance_percent", Integer),
    Column("next_run_at", _Timestamp),
    Column("last_run_at", _Timestamp),
    Column("last_reconciliation_id", Text),
    Column("last_error", Text),
)
