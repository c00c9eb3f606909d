"""Whether a tenant's own keys may be used for models that the approved catalog does not have."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("allow_unapproved", sa.Boolean, nullable=False, server_default="false"))


def downgrade() -> None:
    op.drop_column("tenants", "allow_unapproved")
