"""What attempts were charged, by which tier, level and billing plan, and what they could spend at most."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.execute(
        "ALTER TABLE attempts"
        " ADD COLUMN tier text CHECK (tier IN ('free', 'starter', 'professional', 'enterprise')),"
        " ADD COLUMN charged_level text CHECK (charged_level IN ('eco', 'balanced', 'precision')),"
        " ADD COLUMN reservation jsonb,"
        " ADD COLUMN charge_micro_usd bigint CHECK (charge_micro_usd >= 0),"
        " ADD COLUMN absorbed_micro_usd bigint CHECK (absorbed_micro_usd >= 0),"
        " ADD COLUMN spend_micro_usd bigint CHECK (spend_micro_usd >= 0),"
        " ADD COLUMN plan_version text"
    )


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
