"""Which changes of a rule were passed over because they did not come in time."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Processes of the earlier build leave it as it is."""
    op.execute("ALTER TABLE alert_positions ADD COLUMN skipped bigint[] NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    """Refuse: changes that come late would be dropped."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
