"""Compute budgets of models from the day on which no process of an earlier build records attempts any more.

Until then attempts may be recorded without the catalog's name of their model, by which they count.
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_SINCE = """
UPDATE budgets SET computable_since = greatest(computable_since, packed_from) FROM packing
WHERE scope = 'model' AND (computable_since IS NULL OR computable_since < '9999-01-01Z')
"""


def upgrade() -> None:
    """Wait for the day from which rows are packed."""
    op.execute(_SINCE)


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
