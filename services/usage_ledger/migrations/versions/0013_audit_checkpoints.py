"""How far each chain of the audit has been verified."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        "CREATE TABLE audit_checkpoints (tenant text PRIMARY KEY, position bigint NOT NULL, digest text NOT NULL,"
        " full_at timestamptz NOT NULL, signature text NOT NULL)"
    )


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
