"""Deletions of tenants, and how far each service is."""

from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_DELETIONS = """
CREATE TABLE deletions (
    tenant       text        PRIMARY KEY REFERENCES tenants (tenant),
    requested_at timestamptz NOT NULL,
    requested_by text        NOT NULL,
    finished_at  timestamptz,
    swept_at     timestamptz
)
"""
_PARTS = """
CREATE TABLE deletion_parts (
    tenant    text    NOT NULL REFERENCES deletions (tenant),
    service   text    NOT NULL,
    place     integer NOT NULL,
    done      boolean NOT NULL,
    tables    jsonb   NOT NULL CHECK (jsonb_typeof(tables) = 'array'),
    counted   boolean NOT NULL DEFAULT false,
    waits_for text,
    PRIMARY KEY (tenant, service)
)
"""


def upgrade() -> None:
    """Create the tables, and the mark of a deleted tenant."""
    op.execute("ALTER TABLE tenants ADD COLUMN deleted_at timestamptz")
    op.execute(
        "ALTER TABLE tenants ADD CONSTRAINT deleted_tenants_stay_suspended CHECK (deleted_at IS NULL OR suspended)"
    )
    op.execute(_DELETIONS)
    op.execute(_PARTS)
    for table in ("deletions", "deletion_parts"):
        enable_tenant_isolation(op, table)


def downgrade() -> None:
    """Refuse: the reports exist nowhere else."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
