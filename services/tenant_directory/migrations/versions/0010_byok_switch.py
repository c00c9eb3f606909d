"""Whether the provider keys of a tenant are used."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.execute(
        "ALTER TABLE tenants ADD COLUMN byok text NOT NULL DEFAULT 'default'"
        " CONSTRAINT tenants_byok_known CHECK (byok IN ('on', 'off', 'default'))"
    )


def downgrade() -> None:
    """Refuse: the switches would be lost."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
