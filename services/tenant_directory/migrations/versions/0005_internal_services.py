"""Tenants' own programs on the bus."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "internal_services",
        sa.Column("nkey_public", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, sa.ForeignKey("tenants.tenant"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("grant_public_key", sa.Text, nullable=False, unique=True),
        sa.Column("operations", ARRAY(sa.Text)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_by", sa.Text),
        sa.CheckConstraint("nkey_public ~ '^U[A-Z2-7]{55}$'", name="internal_services_nkey_of_a_user"),
        sa.CheckConstraint("grant_public_key ~ '^[A-Za-z0-9_-]{43}$'", name="internal_services_grant_key_base64"),
        sa.CheckConstraint("cardinality(operations) > 0", name="internal_services_allow_something"),
        sa.CheckConstraint("(revoked_at IS NULL) = (revoked_by IS NULL)", name="internal_services_revoked_by_someone"),
    )
    op.create_index(
        "internal_services_live",
        "internal_services",
        ["tenant", "name"],
        unique=True,
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_index("internal_services_by_tenant", "internal_services", ["tenant", "name", "created_at"])


def downgrade() -> None:
    """Refuse: programs would lose their access."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
