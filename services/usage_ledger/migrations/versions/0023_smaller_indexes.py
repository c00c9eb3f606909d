"""Smaller indexes of attempts and decisions.

In partitions with rows they are built while rows are recorded, and the table takes them over afterwards.
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_TRACE_START = "left(coalesce(trace_id, trace_uuid::text), 5)"
_INDEXES = {
    "attempts_by_trace_start": (
        "attempts",
        f"({_TRACE_START}) WHERE trace_id IS NOT NULL OR trace_uuid IS NOT NULL",
    ),
    # Four minutes of requests have a thousand values: a value that several rows have is kept once.
    "decisions_of_request": ("decisions", "((substr(request_id, 5, 6) || substr(request_id, 28, 2)))"),
    "decisions_of_tenant": (
        "decisions",
        "(tenant, date_bin(interval '15 minutes', decided_at, timestamptz '2000-01-01Z'))",
    ),
    # Rows are in order of time.
    "decisions_by_moment": ("decisions", "USING brin (decided_at) WITH (pages_per_range = 32, autosummarize = on)"),
}
_FORMER = ("attempts_by_trace", "decisions_by_request", "decisions_by_tenant", "decisions_by_time")
_PARTITIONS = """
SELECT child.relname FROM pg_inherits
JOIN pg_class AS parent ON parent.oid = inhparent JOIN pg_namespace AS schema ON schema.oid = parent.relnamespace
JOIN pg_class AS child ON child.oid = inhrelid
WHERE schema.nspname = current_schema() AND parent.relname = :table ORDER BY child.relname
"""


def upgrade() -> None:
    """Build the indexes, then replace those that they take the place of."""
    for name, (table, definition) in _INDEXES.items():
        _build_ahead(name, table, definition)
    for name, (table, definition) in _INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON {table} {definition}")
    op.execute(f"DROP INDEX {', '.join(_FORMER)}")


def _build_ahead(name: str, table: str, definition: str) -> None:
    """Build an index of each partition that has rows, which no recording waits for."""
    connection = op.get_bind()
    partitions = connection.execute(sa.text(_PARTITIONS), {"table": table}).scalars().all()
    for partition in partitions:
        if not connection.execute(sa.text(f"SELECT EXISTS (SELECT FROM {partition})")).scalar_one():  # noqa: S608
            continue
        own = f"{partition}_{name}"
        with context.get_context().autocommit_block():
            # One that was interrupted is no index.
            op.execute(f"DROP INDEX IF EXISTS {own}")
            op.execute(f"CREATE INDEX CONCURRENTLY {own} ON {partition} {definition}")


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
