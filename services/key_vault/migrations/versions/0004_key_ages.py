"""How old KEKs and provider keys are, and what was told of it.

What was rotated before is taken to be as old as its key: that comes too early rather than too late. Of KEKs nobody knows
since when they are in use; each counts from when the oldest of the data keys that it wraps was made, which is too early again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "kek_ages",
        sa.Column("kek", sa.Text, primary_key=True),
        sa.Column("since", TIMESTAMP, nullable=False),
        sa.Column("warned_at", TIMESTAMP),
    )
    op.execute("INSERT INTO kek_ages (kek, since) SELECT kek, min(created_at) FROM data_keys GROUP BY kek")
    for table in ("provider_keys", "key_records"):
        op.add_column(table, sa.Column("rotated_at", TIMESTAMP))
        op.add_column(table, sa.Column("rotated_by", sa.Text))
    for mark in ("rotation_due", "credit_low"):
        op.add_column("provider_keys", sa.Column(mark, sa.Boolean, nullable=False, server_default=sa.false()))
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
        "provider_keys_noticed", "provider_keys", ["key_id"], postgresql_where=sa.text("rotation_due OR credit_low")
    )


def downgrade() -> None:
    for index in ("provider_keys_noticed", "provider_keys_by_credit", "provider_keys_by_age"):
        op.drop_index(index, "provider_keys")
    for column in ("credit_low", "rotation_due", "rotated_by", "rotated_at"):
        op.drop_column("provider_keys", column)
    for column in ("rotated_by", "rotated_at"):
        op.drop_column("key_records", column)
    op.drop_table("kek_ages")
