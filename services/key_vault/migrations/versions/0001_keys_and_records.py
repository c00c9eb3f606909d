"""Provider keys and their encrypted records, data keys, KEK ages, workers, spending, and the outboxes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIMESTAMP = sa.DateTime(timezone=True)
USD = sa.Numeric(27, 12)


def upgrade() -> None:
    """Create the tables."""
    _keys()
    _records()
    _kek_ages()
    _workers()
    _spend()
    _outboxes()


def _keys() -> None:
    op.create_table(
        "provider_keys",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("base_url", sa.Text, nullable=False),
        sa.Column("fields", JSONB, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("weight", sa.Integer, nullable=False),
        sa.Column("allowed_models", ARRAY(sa.Text)),
        sa.Column("expires_at", TIMESTAMP),
        sa.Column("over_limit", sa.Boolean, nullable=False),
        sa.Column("models", ARRAY(sa.Text), nullable=False),
        sa.Column("masked", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("last_test", JSONB),
        sa.Column("next_test_at", TIMESTAMP),
        sa.Column("last_used_at", TIMESTAMP),
        sa.Column("monthly_limit_usd", USD),
        sa.Column("spent_usd", USD),
        sa.Column("unpriced", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("spend_month", sa.Text),
        sa.Column("revert_until", TIMESTAMP),
        sa.Column("rotated_at", TIMESTAMP),
        sa.Column("rotated_by", sa.Text),
        sa.Column("rotation_due", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("credit_low", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.CheckConstraint(
            "status IN ('untested', 'valid', 'degraded', 'invalid', 'expired', 'disabled', 'undecryptable')",
            name="provider_keys_status_known",
        ),
        sa.CheckConstraint("fingerprint ~ '^[0-9a-f]{16}$'", name="provider_keys_fingerprint_hex"),
        sa.CheckConstraint("version >= 1", name="provider_keys_version_positive"),
    )
    _key_indexes()
    op.create_table(
        "platform_fingerprints",
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, primary_key=True),
    )


def _key_indexes() -> None:
    op.create_index("provider_keys_once", "provider_keys", ["tenant", "provider", "fingerprint"], unique=True)
    op.create_index("provider_keys_by_tenant", "provider_keys", ["tenant", "priority", "created_at"])
    op.create_index(
        "provider_keys_due", "provider_keys", ["next_test_at"], postgresql_where=sa.text("next_test_at IS NOT NULL")
    )
    op.create_index(
        "provider_keys_by_age",
        "provider_keys",
        [sa.text("coalesce(rotated_at, created_at)")],
        postgresql_where=sa.text("NOT rotation_due"),
    )
    op.create_index(
        "provider_keys_by_credit",
        "provider_keys",
        [sa.text("((last_test ->> 'credit_left_usd')::numeric)")],
        postgresql_where=sa.text("NOT credit_low"),
    )
    op.create_index(
        "provider_keys_with_reminder",
        "provider_keys",
        ["key_id"],
        postgresql_where=sa.text("rotation_due OR credit_low"),
    )


def _records() -> None:
    op.create_table(
        "data_keys",
        sa.Column("data_key_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("encrypted_key", sa.LargeBinary, nullable=False),
        sa.Column("kek", sa.Text, nullable=False),
        sa.Column("is_primary", sa.Boolean, nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
    )
    op.create_index(
        "data_keys_one_primary", "data_keys", ["tenant"], unique=True, postgresql_where=sa.text("is_primary")
    )
    op.create_index("data_keys_by_tenant", "data_keys", ["tenant"])
    op.create_index("data_keys_by_kek", "data_keys", ["kek", "data_key_id"])
    op.create_table(
        "key_records",
        sa.Column("key_id", sa.Text, sa.ForeignKey("provider_keys.key_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("data_key_id", sa.Text, sa.ForeignKey("data_keys.data_key_id"), nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.Column("rotated_at", TIMESTAMP),
        sa.Column("rotated_by", sa.Text),
    )
    op.create_index("key_records_by_data_key", "key_records", ["data_key_id"])


def _kek_ages() -> None:
    op.create_table(
        "kek_ages",
        sa.Column("kek", sa.Text, primary_key=True),
        sa.Column("since", TIMESTAMP, nullable=False),
        sa.Column("warned_at", TIMESTAMP),
    )


def _workers() -> None:
    op.create_table(
        "workers",
        sa.Column("worker_id", sa.Text, primary_key=True),
        sa.Column("instance_id", sa.Text, primary_key=True),
        sa.Column("registration", JSONB, nullable=False),
        sa.Column("not_after", TIMESTAMP, nullable=False),
        sa.Column("registered_at", TIMESTAMP, nullable=False, server_default=sa.func.now()),
    )
    op.create_table(
        "lease_nonces",
        sa.Column("nonce", sa.Text, primary_key=True),
        sa.Column("not_after", TIMESTAMP, nullable=False),
    )
    op.create_index("lease_nonces_by_age", "lease_nonces", ["not_after"])


def _spend() -> None:
    op.create_table(
        "spend",
        sa.Column("key_id", sa.Text, sa.ForeignKey("provider_keys.key_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("month", sa.Text, primary_key=True),
        sa.Column("spent_usd", USD),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("unpriced", sa.BigInteger, nullable=False),
        sa.Column("last_used_at", TIMESTAMP, nullable=False),
    )


def _outboxes() -> None:
    op.create_table(
        "audit_sequence",
        sa.Column("only_row", sa.SmallInteger, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.CheckConstraint("only_row = 1", name="audit_sequence_has_one_row"),
    )
    op.execute("INSERT INTO audit_sequence (only_row, last) VALUES (1, 0)")
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary),
    )
    op.create_table(
        "event_outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("sequence", sa.BigInteger, unique=True),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("event_outbox", "outbox", "audit_sequence", "spend", "lease_nonces", "workers", "kek_ages"):
        op.drop_table(table)
    for table in ("key_records", "data_keys", "platform_fingerprints", "provider_keys"):
        op.drop_table(table)
