"""The tables of people and their sessions."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY

from services.tenant_directory.tables import metadata, tenants_table

users_table = Table(
    "users",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("last_sign_in_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("issuer", "subject", name="users_by_subject"),
)
sessions_table = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("user_id", Text, ForeignKey(users_table.c.user_id, ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("operator", Boolean, nullable=False),
    Column("chosen_tenant", Text, ForeignKey(tenants_table.c.tenant)),
    Column("channel", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("idle_seconds", Integer, nullable=False),
    Column("last_seen_at", DateTime(timezone=True), nullable=False),
    Column("acr", Text),
    Column("amr", ARRAY(Text), nullable=False),
    Column("auth_time", DateTime(timezone=True)),
    CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="sessions_digest_hex"),
    CheckConstraint("expires_at > created_at", name="sessions_expire_later"),
    CheckConstraint("idle_seconds > 0", name="sessions_may_be_idle"),
    Index("sessions_by_user", "user_id", "created_at"),
    Index("sessions_by_expiry", "expires_at"),
)
"""A session is its person's, and no tenant's: `chosen_tenant` is only what the person has chosen to act for."""
used_codes_table = Table(
    "used_sign_in_codes",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="used_sign_in_codes_digest_hex"),
    Index("used_sign_in_codes_by_expiry", "expires_at"),
)
"""Codes of the built-in login that were exchanged, until they would have expired."""
