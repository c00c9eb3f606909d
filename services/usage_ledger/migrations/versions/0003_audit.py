"""The audit: an append-only chain for each tenant."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE audit_entries (
            tenant      text        NOT NULL,
            position    bigint      NOT NULL CHECK (position >= 1),
            event_id    text        NOT NULL UNIQUE,
            service     text        NOT NULL,
            sequence    bigint      NOT NULL CHECK (sequence >= 1),
            event       jsonb       NOT NULL CHECK (jsonb_typeof(event) = 'object'),
            previous    text        NOT NULL CHECK (previous ~ '^[0-9a-f]{64}$'),
            digest      text        NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
            recorded_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, position)
        )
        """
    )
    op.execute("CREATE INDEX audit_entries_by_sequence ON audit_entries (service, sequence)")
    op.execute(
        """
        CREATE TABLE audit_ends (
            tenant   text   PRIMARY KEY,
            position bigint NOT NULL CHECK (position >= 0),
            digest   text   NOT NULL
        )
        """
    )
    # Against slips, not against whoever owns the tables: that is what the chain and its signed end are for.
    op.execute(
        """
        CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'audit entries are never changed or removed';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE ON audit_entries
        FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()
        """
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
