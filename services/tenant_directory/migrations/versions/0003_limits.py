"""Limits of tenants and of client tokens."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; null is the tier's limits for a tenant, and none of its own for a client token."""
    op.add_column("tenants", sa.Column("limits", JSONB(none_as_null=True)))
    op.add_column("client_tokens", sa.Column("limits", JSONB(none_as_null=True)))


def downgrade() -> None:
    """Refuse: limits that were set would be lost."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
