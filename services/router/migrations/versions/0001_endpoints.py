"""Tenants' own endpoints, and the outbox that feeds the view."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE endpoints (
            tenant     text     NOT NULL,
            name       text     NOT NULL,
            base_url   text     NOT NULL,
            models     jsonb    NOT NULL CHECK (jsonb_typeof(models) = 'array'),
            priority   integer  NOT NULL CHECK (priority BETWEEN 0 AND 1000),
            enabled    boolean  NOT NULL,
            saved_at   timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant, name)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE outbox (
            id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            bucket text   NOT NULL,
            key    text   NOT NULL,
            value  bytea
        )
        """
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
