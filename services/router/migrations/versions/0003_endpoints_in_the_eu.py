"""Which endpoints process requests inside the European Union."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.execute("ALTER TABLE endpoints ADD COLUMN eu boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    """Refuse: the marks would be lost."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
