"""Audit events are numbered after their commit; those that wait with a number in their payload go out as they are."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COUNT = """
    UPDATE event_outbox SET sequence = last + place
    FROM audit_sequence, (
        SELECT id, row_number() OVER (ORDER BY id) AS place FROM event_outbox WHERE counted AND sequence IS NULL
    ) AS uncounted
    WHERE event_outbox.id = uncounted.id
"""
_NUMBER = """
    UPDATE event_outbox
    SET payload = convert_to('{"sequence":' || sequence || ',' || substr(convert_from(payload, 'UTF8'), 2), 'UTF8')
    WHERE sequence IS NOT NULL
"""
"""What waits is numbered in its payload, as the former release expects it."""


def upgrade() -> None:
    op.add_column("event_outbox", sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("event_outbox", sa.Column("sequence", sa.BigInteger))
    op.create_unique_constraint("event_outbox_sequence_key", "event_outbox", ["sequence"])


def downgrade() -> None:
    op.execute(_COUNT)
    op.execute("UPDATE audit_sequence SET last = greatest(last, (SELECT max(sequence) FROM event_outbox))")
    op.execute(_NUMBER)
    op.drop_column("event_outbox", "sequence")
    op.drop_column("event_outbox", "counted")
