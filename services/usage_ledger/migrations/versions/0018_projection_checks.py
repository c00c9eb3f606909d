"""When each projection was last compared with its records, and what was found."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        "CREATE TABLE projection_checks (name text PRIMARY KEY, checked_at timestamptz NOT NULL, report jsonb NOT NULL)"
    )


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
