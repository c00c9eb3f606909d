"""What is stored of a tenant's prompts and answers, and for how long."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.execute(
        "ALTER TABLE tenants ADD COLUMN content text NOT NULL DEFAULT 'off'"
        " CONSTRAINT tenants_content_known CHECK (content IN ('off', 'redacted', 'full'))"
    )
    op.execute(
        "ALTER TABLE tenants ADD COLUMN content_days smallint NOT NULL DEFAULT 30"
        " CONSTRAINT tenants_content_days_bounded CHECK (content_days BETWEEN 1 AND 90)"
    )


def downgrade() -> None:
    """Refuse: the policies would be lost."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
