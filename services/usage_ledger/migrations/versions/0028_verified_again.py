"""Compare accounts from their first transfer again: one that was committed late may be missing in what was verified."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forget how far accounts were verified."""
    op.execute("DELETE FROM verified_accounts")
    op.execute("UPDATE account_verification SET verified_end = 0, next_end = 0, next_xid = '0', verified_day = NULL")


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
