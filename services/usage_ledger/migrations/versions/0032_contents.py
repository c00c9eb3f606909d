"""Stored content, and the data keys that encrypt it."""

from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_KEYS = """
CREATE TABLE content_keys (
    tenant        text        PRIMARY KEY,
    encrypted_key bytea       NOT NULL,
    created_at    timestamptz NOT NULL
)
"""
_CONTENTS = """
CREATE TABLE contents (
    attempt_id  text        COLLATE "C" PRIMARY KEY,
    tenant      text        NOT NULL,
    request_id  text        NOT NULL,
    policy      text        NOT NULL CHECK (policy IN ('redacted', 'full')),
    recorded_at timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    content     bytea       NOT NULL,
    CONSTRAINT contents_are_kept_for_90_days_at_most CHECK (expires_at <= recorded_at + interval '90 days')
)
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(_KEYS)
    op.execute(_CONTENTS)
    op.execute("CREATE INDEX contents_by_request ON contents (tenant, request_id)")
    op.execute("CREATE INDEX contents_by_end ON contents (expires_at)")
    for table in ("content_keys", "contents"):
        enable_tenant_isolation(op, table, privileges=("SELECT",))


def downgrade() -> None:
    """Refuse: the data keys would be lost."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
