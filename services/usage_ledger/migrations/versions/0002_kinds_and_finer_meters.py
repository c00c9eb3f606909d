"""What an attempt was for, the tier that served it, and the meters that prices tell apart."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # With constant defaults PostgreSQL adds columns without rewriting the table.
    op.execute(
        """
        ALTER TABLE attempts
            ADD COLUMN kind text NOT NULL DEFAULT 'chat' CHECK (kind IN ('chat', 'embedding')),
            ADD COLUMN service_tier text,
            ADD COLUMN cache_write_1h_tokens bigint NOT NULL DEFAULT 0 CHECK (cache_write_1h_tokens >= 0),
            ADD COLUMN audio_output_tokens bigint NOT NULL DEFAULT 0 CHECK (audio_output_tokens >= 0),
            ADD COLUMN image_output_tokens bigint NOT NULL DEFAULT 0 CHECK (image_output_tokens >= 0)
        """
    )
    # The platform's keys and a tenant's own are asked for by key and month: their spending limits hang on it.
    op.execute("CREATE INDEX attempts_by_key ON attempts (key_id, started_at) WHERE key_id IS NOT NULL")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
