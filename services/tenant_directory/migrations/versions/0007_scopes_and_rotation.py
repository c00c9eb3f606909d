"""What client tokens are limited to besides models, their earlier secrets, and when they were last used."""

import sqlalchemy as sa
from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and the table of secrets with those that there are."""
    op.execute(
        "ALTER TABLE client_tokens ADD COLUMN allowed_operations text[], ADD COLUMN allowed_apis text[],"
        " ADD COLUMN allowed_origins text[], ADD COLUMN disabled_at timestamptz, ADD COLUMN last_used_at timestamptz,"
        " ADD CONSTRAINT client_tokens_allow_an_operation CHECK (cardinality(allowed_operations) > 0),"
        " ADD CONSTRAINT client_tokens_allow_an_api CHECK (cardinality(allowed_apis) > 0),"
        " ADD CONSTRAINT client_tokens_allow_an_origin CHECK (cardinality(allowed_origins) > 0)"
    )
    op.create_table(
        "client_token_secrets",
        sa.Column("fingerprint", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("token_id", sa.Text, sa.ForeignKey("client_tokens.token_id", ondelete="CASCADE"), nullable=False),
        sa.Column("last4", sa.Text, nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True)),
        sa.CheckConstraint("fingerprint ~ '^[0-9a-f]{64}$'", name="client_token_secrets_fingerprint_hex"),
    )
    op.create_index("client_token_secrets_by_token", "client_token_secrets", ["token_id"])
    op.execute(
        "INSERT INTO client_token_secrets (fingerprint, tenant, token_id, last4)"
        " SELECT fingerprint, tenant, token_id, last4 FROM client_tokens"
    )
    enable_tenant_isolation(op, "client_token_secrets", privileges=("SELECT", "INSERT", "UPDATE"))


def downgrade() -> None:
    """Refuse: tokens would lose what they are limited to."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
