"""What attempts with an own key count in budgets whose cost an earlier build's re-rating made known.

Before it nothing was known, and the sum of nothing and a difference was taken for zero. It is the cost and the fee.
"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_CORRECT = """
UPDATE corrected_attempts AS corrected
SET spend_micro_usd = round(corrected.cost_usd * 1000000)::bigint + coalesce(corrected.charge_micro_usd, 0)
FROM attempts
WHERE attempts.attempt_id = corrected.attempt_id AND attempts.key_source IN ('byok', 'custom')
    AND attempts.spend_micro_usd IS NULL AND corrected.spend_micro_usd = 0 AND corrected.cost_usd > 0
"""


def upgrade() -> None:
    """Correct them; sums of budgets follow when they are computed again."""
    op.execute(_CORRECT)


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
