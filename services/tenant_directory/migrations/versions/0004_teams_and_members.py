"""The team and the member that a client token belongs to."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.execute("ALTER TABLE client_tokens ADD COLUMN team text, ADD COLUMN member text")


def downgrade() -> None:
    """Refuse: the scopes of tokens would be lost."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
