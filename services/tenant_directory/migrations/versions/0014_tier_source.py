"""Who has decided the tier of a tenant."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Tiers that differ from the usual one were set by operators: no subscription may change them."""
    op.execute("ALTER TABLE tenants ADD COLUMN tier_set_by text")
    op.execute("UPDATE tenants SET tier_set_by = 'operator' WHERE tier <> 'starter'")


def downgrade() -> None:
    """Refuse: tiers that operators have set could be changed by subscriptions."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
