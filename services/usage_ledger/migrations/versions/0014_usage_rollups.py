"""Rollups of usage by quarter hour and by day, the values that they are of, and the functions that they are computed by."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_VALUES = """
CREATE TABLE usage_values (
    values_id    uuid     PRIMARY KEY,
    tenant       text     NOT NULL,
    month        integer  NOT NULL,
    kind         smallint NOT NULL CHECK (kind BETWEEN 1 AND 3),
    provider     text,
    endpoint     text,
    model        text,
    key_source   text,
    outcome      text     NOT NULL,
    error_class  text,
    operation    text,
    power_level  text,
    key_id       text,
    client_token_id text,
    team         text,
    member       text,
    tier         text,
    charged_level text,
    tag_name     text,
    tag_value    text
)
"""
_TOKENS = (
    "input",
    "cached_read",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio",
    "image",
    "audio_output",
    "image_output",
)
_ROLLUPS = f"""
CREATE TABLE usage_rollups (
    bucket        integer  NOT NULL,
    grain         smallint NOT NULL CHECK (grain BETWEEN 1 AND 6),
    values_id     uuid     NOT NULL,
    attempts      bigint,
    requests      bigint,
    unpriced      bigint,
    charged       bigint,
    spend_unknown bigint,
    tenant        text     NOT NULL,
    {"".join(f"{kind}_tokens numeric, " for kind in _TOKENS)}
    cost_usd          numeric,
    charge_micro_usd  numeric,
    absorbed_micro_usd numeric,
    spend_micro_usd   numeric,
    latency       bigint[],
    first_token   bigint[],
    PRIMARY KEY (tenant, grain, bucket, values_id)
) WITH (fillfactor = 85)
"""
_STATE = """
CREATE TABLE usage_rollup_state (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    rebuild_from integer
)
"""
# A whole number of milliseconds is never at a limit of two buckets, but for 1.
_SKETCH_BUCKET = """
CREATE FUNCTION sketch_bucket(latency_ms bigint) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN latency_ms <= 0 THEN 0
            ELSE 1 + ceil(ln(least(latency_ms, 86400000)::float8) / ln(1.01::float8 / 0.99::float8))::integer END
"""
_MERGE_SKETCHES = """
CREATE FUNCTION merge_sketches(entries bigint[]) RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg((number << 10) | bucket ORDER BY bucket)
    FROM (
        SELECT entry & 1023 AS bucket, sum(entry >> 10)::bigint AS number
        FROM unnest(entries) AS each (entry) GROUP BY entry & 1023
    ) AS summed
$$
"""


def upgrade() -> None:
    """Create the tables, empty: the service fills them from the attempts that there are."""
    for statement in (_VALUES, _ROLLUPS, _STATE, _SKETCH_BUCKET, _MERGE_SKETCHES):
        op.execute(statement)
    op.execute("CREATE INDEX usage_values_by_month ON usage_values (tenant, month, kind)")
    # Of all tenants' usage, rows are in order of time.
    op.execute("CREATE INDEX usage_rollups_by_bucket ON usage_rollups USING brin (bucket) WITH (autosummarize = on)")
    op.execute(
        "INSERT INTO usage_rollup_state (rebuild_from)"
        " SELECT floor(extract(epoch FROM min(started_at)) / 86400)::integer FROM attempts"
    )


def downgrade() -> None:
    """Drop what can be computed again."""
    op.execute("DROP TABLE usage_rollups, usage_values, usage_rollup_state")
    op.execute("DROP FUNCTION sketch_bucket(bigint), merge_sketches(bigint[])")
