"""The names of fields whose values could not be kept, beside the attempt that was recorded without them."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.execute(
        "ALTER TABLE attempts ADD COLUMN unkept jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(unkept) = 'array')"
    )


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
