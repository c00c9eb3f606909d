"""Past decisions of one tenant, or of all, newest first."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the indexes."""
    op.execute("CREATE INDEX decisions_by_time ON decisions (tenant, decided_at DESC, decision_id DESC)")
    op.execute("CREATE INDEX decisions_of_all_by_time ON decisions (decided_at DESC, decision_id DESC)")


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
