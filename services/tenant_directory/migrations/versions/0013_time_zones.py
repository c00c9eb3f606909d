"""The time zone of a tenant's days."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.execute("ALTER TABLE tenants ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC'")


def downgrade() -> None:
    """Refuse: the zones would be lost."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
