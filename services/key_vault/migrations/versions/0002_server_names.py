"""Names of the servers that keys are for."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE provider_keys ADD COLUMN name text")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
