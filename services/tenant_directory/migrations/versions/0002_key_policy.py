"""Whose provider keys may pay for a tenant, and whether fields that a provider cannot take are left out."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("key_policy", sa.Text))
    op.add_column("tenants", sa.Column("drop_unsupported", sa.Boolean, nullable=False, server_default="false"))
    op.create_check_constraint(
        "tenants_key_policy_known", "tenants", "key_policy IN ('platform', 'own', 'own_then_platform')"
    )


def downgrade() -> None:
    op.drop_constraint("tenants_key_policy_known", "tenants")
    op.drop_column("tenants", "drop_unsupported")
    op.drop_column("tenants", "key_policy")
