"""Tenants, client tokens and the outbox for their views; the tenant `platform`."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and the tenant `platform`."""
    op.create_table(
        "tenants",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("tier", sa.Text, nullable=False),
        sa.Column("suspended", sa.Boolean, nullable=False, server_default="false"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("key_policy", sa.Text),
        sa.Column("drop_unsupported", sa.Boolean, nullable=False, server_default="false"),
        sa.Column("allow_unapproved", sa.Boolean, nullable=False, server_default="false"),
        sa.CheckConstraint("tier IN ('free', 'starter', 'professional', 'enterprise')", name="tenants_tier_known"),
        sa.CheckConstraint("key_policy IN ('platform', 'own', 'own_then_platform')", name="tenants_key_policy_known"),
    )
    op.create_table(
        "client_tokens",
        sa.Column("token_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, sa.ForeignKey("tenants.tenant"), nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False, unique=True),
        sa.Column("pepper_version", sa.SmallInteger, nullable=False),
        sa.Column("last4", sa.Text, nullable=False),
        sa.Column("allowed_models", ARRAY(sa.Text)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("fingerprint ~ '^[0-9a-f]{64}$'", name="client_tokens_fingerprint_hex"),
        sa.CheckConstraint("expires_at > created_at", name="client_tokens_expire_later"),
        sa.CheckConstraint("cardinality(allowed_models) > 0", name="client_tokens_allow_something"),
    )
    op.create_index("client_tokens_by_tenant", "client_tokens", ["tenant", "created_at"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary),
    )
    op.execute("INSERT INTO tenants (tenant, name, tier) VALUES ('platform', 'Platform', 'enterprise')")


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("outbox")
    op.drop_table("client_tokens")
    op.drop_table("tenants")
