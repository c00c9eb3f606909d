"""What each attempt that was re-rated costs now, for everything that adds attempts up; and what budgets count attempts by.

Corrections of earlier builds are in no sum: the days of their attempts are added up again when the service starts. What those
attempts count in budgets follows the charge where there was one, and else the cost with an own key.
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_CORRECTED = """
CREATE TABLE corrected_attempts (
    attempt_id         text COLLATE "C" PRIMARY KEY,
    rerate_id          text           NOT NULL REFERENCES reratings,
    cost_usd           numeric(24, 12) NOT NULL CHECK (cost_usd >= 0),
    price_version      text,
    pricing            text           NOT NULL CHECK (pricing IN ('priced', 'free')),
    charge_micro_usd   bigint         CHECK (charge_micro_usd >= 0),
    absorbed_micro_usd bigint         NOT NULL CHECK (absorbed_micro_usd >= 0),
    spend_micro_usd    bigint         CHECK (spend_micro_usd >= 0),
    plan_version       text
)
"""
_COLUMNS = """
ALTER TABLE rerated_attempts
    ADD COLUMN pricing_before text, ADD COLUMN pricing text,
    ADD COLUMN spend_micro_usd_before bigint CHECK (spend_micro_usd_before >= 0),
    ADD COLUMN spend_micro_usd bigint CHECK (spend_micro_usd >= 0)
"""
_FILL = """
INSERT INTO corrected_attempts
SELECT DISTINCT ON (r.attempt_id) r.attempt_id, r.rerate_id, r.cost_usd, r.price_version,
    CASE WHEN a.pricing = 'free' THEN 'free' ELSE 'priced' END, r.charge_micro_usd, r.absorbed_micro_usd,
    CASE WHEN a.key_source IN ('byok', 'custom')
         THEN greatest(0, a.spend_micro_usd + round((r.cost_usd - a.cost_usd) * 1000000)::bigint)
         ELSE coalesce(r.charge_micro_usd, a.spend_micro_usd) END,
    r.plan_version
FROM rerated_attempts AS r JOIN attempts AS a USING (attempt_id)
WHERE r.cost_usd IS NOT NULL
ORDER BY r.attempt_id, r.sequence DESC
"""
_REBUILD = """
UPDATE usage_rollup_state SET rebuild_from = least(rebuild_from, corrected.day)
FROM (
    SELECT floor(extract(epoch FROM min(a.started_at)) / 86400)::integer AS day
    FROM corrected_attempts JOIN attempts AS a USING (attempt_id)
) AS corrected
WHERE corrected.day IS NOT NULL
"""
_BUDGETS = (
    # What counted by the catalog's name was not recorded with the attempt, so such budgets can be computed from now on only.
    "ALTER TABLE attempts ADD COLUMN catalog_id text",
    "ALTER TABLE budgets ADD COLUMN computable_since timestamptz",
    "UPDATE budgets SET computable_since = now() WHERE scope = 'model'",
)


def upgrade() -> None:
    """Create the table, and fill it with the last correction of each attempt."""
    for statement in (_CORRECTED, _COLUMNS, _FILL, _REBUILD, *_BUDGETS):
        op.execute(statement)


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
