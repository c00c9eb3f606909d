"""Below which balance a tenant's credits count as low."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "credit_settings",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("low_below_micro_usd", sa.BigInteger),
        sa.CheckConstraint("low_below_micro_usd >= 0", name="credit_settings_threshold_is_an_amount"),
    )


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
