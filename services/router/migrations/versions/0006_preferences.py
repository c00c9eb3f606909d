"""Saved preferences by scope."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        """
        CREATE TABLE preferences (
            tenant      text   NOT NULL,
            scope       text   NOT NULL CHECK (scope IN ('platform', 'tenant', 'team', 'member', 'client_token')),
            scope_id    text   NOT NULL,
            revision    bigint NOT NULL CHECK (revision > 0),
            preferences jsonb  NOT NULL CHECK (jsonb_typeof(preferences) = 'object'),
            saved_at    timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant, scope, scope_id)
        )
        """
    )


def downgrade() -> None:
    """Refuse: the preferences would be lost."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
