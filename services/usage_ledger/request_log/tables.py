"""The tables of the request log beside attempts: facets by day, and refused requests."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, Table, Text
from sqlalchemy.dialects.postgresql import BIT, JSONB

from services.usage_ledger.database import metadata

facets = Table(
    "request_facets",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("quarters", BIT(96)),
)
refused_requests = Table(
    "refused_requests",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("request_id", Text),
    Column("tenant", Text),
    Column("attempt_number", BigInteger),
    Column("kind", Text),
    Column("stream", Boolean),
    Column("model_asked", Text),
    Column("operation", Text),
    Column("power_level", Text),
    Column("team", Text),
    Column("member", Text),
    Column("client_token_id", Text),
    Column("tags", JSONB),
    Column("failure_class", Text),
    Column("message", Text),
    Column("trace_id", Text),
    Column("decided_at", DateTime(timezone=True)),
    Column("recorded_at", DateTime(timezone=True)),
)
"""Decisions that refused a request. They are kept apart, as decisions are kept for a shorter time."""
