"""The tables of the directory.

A change of a row is committed together with the outbox row for its view, and with the audit event.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from keyferry.contracts.tenancy import KeyPolicy, Tier
from keyferry.runtime.database.event_outbox import event_counter_table, event_outbox_table
from keyferry.runtime.database.outbox import outbox_table

SCHEMA = "tenant_directory"

metadata = MetaData(schema=SCHEMA)
tenants_table = Table(
    "tenants",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("suspended", Boolean, nullable=False, server_default="false"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("key_policy", Text),
    Column("drop_unsupported", Boolean, nullable=False, server_default="false"),
    Column("allow_unapproved", Boolean, nullable=False, server_default="false"),
    Column("limits", JSONB(none_as_null=True)),
    Column("byok", Text, nullable=False, server_default="default"),
    Column("content", Text, nullable=False, server_default="off"),
    Column("content_days", SmallInteger, nullable=False, server_default="30"),
    Column("deleted_at", DateTime(timezone=True)),
    Column("time_zone", Text, nullable=False, server_default="UTC"),
    Column("tier_set_by", Text),
    CheckConstraint(
        f"tier IN ({', '.join(repr(tier.value) for tier in Tier)})",
        name="tenants_tier_known",
    ),
    CheckConstraint(
        f"key_policy IN ({', '.join(repr(policy.value) for policy in KeyPolicy)})",
        name="tenants_key_policy_known",
    ),
)
tokens_table = Table(
    "client_tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey(tenants_table.c.tenant), nullable=False),
    Column("label", Text, nullable=False),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("pepper_version", SmallInteger, nullable=False),
    Column("last4", Text, nullable=False),
    Column("allowed_models", ARRAY(Text)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("limits", JSONB(none_as_null=True)),
    Column("team", Text),
    Column("member", Text),
    Column("allowed_operations", ARRAY(Text)),
    Column("allowed_apis", ARRAY(Text)),
    Column("allowed_origins", ARRAY(Text)),
    Column("disabled_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True)),
    CheckConstraint("fingerprint ~ '^[0-9a-f]{64}$'", name="client_tokens_fingerprint_hex"),
    CheckConstraint("expires_at > created_at", name="client_tokens_expire_later"),
    CheckConstraint("cardinality(allowed_models) > 0", name="client_tokens_allow_something"),
    CheckConstraint("cardinality(allowed_operations) > 0", name="client_tokens_allow_an_operation"),
    CheckConstraint("cardinality(allowed_apis) > 0", name="client_tokens_allow_an_api"),
    CheckConstraint("cardinality(allowed_origins) > 0", name="client_tokens_allow_an_origin"),
    Index("client_tokens_by_tenant", "tenant", "created_at"),
)
services_table = Table(
    "internal_services",
    metadata,
    Column("nkey_public", Text, primary_key=True),
    Column("tenant", Text, ForeignKey(tenants_table.c.tenant), nullable=False),
    Column("name", Text, nullable=False),
    Column("grant_public_key", Text, nullable=False, unique=True),
    Column("operations", ARRAY(Text)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    Column("revoked_by", Text),
    CheckConstraint("nkey_public ~ '^U[A-Z2-7]{55}$'", name="internal_services_nkey_of_a_user"),
    CheckConstraint("grant_public_key ~ '^[A-Za-z0-9_-]{43}$'", name="internal_services_grant_key_base64"),
    CheckConstraint("cardinality(operations) > 0", name="internal_services_allow_something"),
    CheckConstraint("(revoked_at IS NULL) = (revoked_by IS NULL)", name="internal_services_revoked_by_someone"),
)
Index(
    "internal_services_live",
    services_table.c.tenant,
    services_table.c.name,
    unique=True,
    postgresql_where=services_table.c.revoked_at.is_(None),
)
Index("internal_services_by_tenant", services_table.c.tenant, services_table.c.name, services_table.c.created_at)
secrets_table = Table(
    "client_token_secrets",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("token_id", Text, ForeignKey(tokens_table.c.token_id, ondelete="CASCADE"), nullable=False),
    Column("last4", Text, nullable=False),
    Column("valid_until", DateTime(timezone=True)),
    CheckConstraint("fingerprint ~ '^[0-9a-f]{64}$'", name="client_token_secrets_fingerprint_hex"),
    Index("client_token_secrets_by_token", "token_id"),
)
"""Every secret that a client token has or had, so that none is registered twice; `valid_until` is null for the current one."""
deletions = Table(
    "deletions",
    metadata,
    Column("tenant", Text, ForeignKey(tenants_table.c.tenant), primary_key=True),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    Column("swept_at", DateTime(timezone=True)),
)
deletion_parts = Table(
    "deletion_parts",
    metadata,
    Column("tenant", Text, ForeignKey(deletions.c.tenant), primary_key=True),
    Column("service", Text, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("tables", JSONB, nullable=False),
    Column("counted", Boolean, nullable=False, server_default="false"),
    Column("waits_for", Text),
)
outbox = outbox_table(metadata)
event_outbox = event_outbox_table(metadata)
audit_sequence = event_counter_table(metadata, "audit_sequence")
