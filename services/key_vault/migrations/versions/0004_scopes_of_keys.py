"""The team or the member that a key is for."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE provider_keys ADD COLUMN team text, ADD COLUMN member text,
        ADD CONSTRAINT provider_keys_one_scope CHECK (team IS NULL OR member IS NULL)
    """)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
