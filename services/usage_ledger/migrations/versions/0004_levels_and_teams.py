"""With which power level a model was chosen, and which team and member of the tenant made the request."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.execute(
        "ALTER TABLE attempts ADD COLUMN power_level text CHECK (power_level IN ('eco', 'balanced', 'precision')),"
        " ADD COLUMN team text, ADD COLUMN member text"
    )


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
