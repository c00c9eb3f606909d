"""The request log: what requests can be found by, in which quarter hours, and the requests that were refused."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_FACETS = """
CREATE TABLE request_facets (
    tenant   text    COLLATE "C" NOT NULL,
    name     text    COLLATE "C" NOT NULL,
    day      integer NOT NULL,
    quarters bit(96) NOT NULL,
    PRIMARY KEY (tenant, name, day)
) WITH (fillfactor = 80)
"""
_REFUSED = """
CREATE TABLE refused_requests (
    decision_id     text        COLLATE "C" PRIMARY KEY,
    request_id      text        COLLATE "C" NOT NULL,
    tenant          text        NOT NULL,
    attempt_number  bigint      NOT NULL CHECK (attempt_number >= 1),
    kind            text        NOT NULL,
    stream          boolean     NOT NULL,
    model_asked     text        NOT NULL,
    operation       text,
    power_level     text,
    team            text,
    member          text,
    client_token_id text,
    tags            jsonb       NOT NULL CHECK (jsonb_typeof(tags) = 'object'),
    failure_class   text        NOT NULL,
    message         text        NOT NULL,
    trace_id        text        COLLATE "C",
    decided_at      timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL
)
"""
_RECORDED_REFUSALS = """
INSERT INTO refused_requests
SELECT
    decision_id, request_id, tenant, coalesce((record ->> 'attempt_number')::bigint, 1), coalesce(record ->> 'kind', 'chat'),
    (record ->> 'stream')::boolean, record ->> 'model_asked', record ->> 'operation', record ->> 'power_level',
    record ->> 'team', record ->> 'member', record ->> 'client_token_id', coalesce(record -> 'tags', '{}'),
    record #>> '{refusal,failure_class}', record #>> '{refusal,message}',
    substring(record ->> 'traceparent' FROM '^[0-9a-f]{2}-([0-9a-f]{32})-'), decided_at, recorded_at
FROM decisions WHERE record ? 'refusal'
"""
_SHARED = """
        ('model:' || model_asked), ('operation:' || operation), ('level:' || power_level), ('token:' || client_token_id),
        ('team:' || team), ('member:' || member), ('error:' || failure_class)
"""
_TAGS = """
    UNION ALL SELECT 'tag:' || key FROM jsonb_each_text(tags)
    UNION ALL SELECT 'tag:' || key || '=' || value FROM jsonb_each_text(tags)
"""
_BOUNDS = (*range(8), *(lead << shift for shift in range(1, 38) for lead in range(4, 8)))
_STEP = f"width_bucket({{amount}}::bigint, ARRAY{list(_BOUNDS)}::bigint[]) - 1"
_FACETS_OF_ATTEMPTS = f"""
SELECT tenant, facet, started_at AS at
FROM attempts CROSS JOIN LATERAL (
    VALUES ('outcome:' || outcome), ('provider:' || provider), ('provider:' || endpoint), ('model:' || model),
        ('model:' || model_served), ('source:' || key_source), ('key:' || key_id), {_SHARED},
        ('latency:' || {_STEP.format(amount="latency_ms")}),
        (CASE WHEN cost_usd IS NOT NULL THEN 'cost:' || {_STEP.format(amount="least(trunc(cost_usd * 1000000), 9e18)")} END)
    {_TAGS}
) AS found (facet) WHERE facet IS NOT NULL
"""  # noqa: S608 - no values
_FACETS_OF_REFUSALS = f"""
SELECT tenant, facet, decided_at AS at
FROM refused_requests CROSS JOIN LATERAL (
    VALUES ('outcome:refused'), {_SHARED}
    {_TAGS}
) AS found (facet) WHERE facet IS NOT NULL
"""  # noqa: S608 - no values
_ADD = """
INSERT INTO request_facets AS known
SELECT tenant, facet, quarter / 96, bit_or(set_bit(repeat('0', 96)::bit(96), quarter % 96, 1))
FROM (
    SELECT DISTINCT tenant, facet, floor(extract(epoch FROM at) / 900)::integer AS quarter FROM ({found}) AS found
) AS quarters
GROUP BY tenant, facet, quarter / 96
ON CONFLICT (tenant, name, day) DO UPDATE SET quarters = known.quarters | excluded.quarters
"""
_MESSAGES = """
SELECT tenant, failure ->> 'message' AS message, started_at AS at FROM attempts WHERE failure IS NOT NULL
UNION ALL SELECT tenant, message, decided_at FROM refused_requests
"""
_WORDS = "SELECT :tenant AS tenant, unnest(CAST(:names AS text[])) AS facet, CAST(:at AS timestamptz) AS at"
_WORD = re.compile(r"[^\W_]+")
_MAX_WORDS, _LONGEST_WORD = 64, 40


def upgrade() -> None:
    """Create the tables, with what is recorded already."""
    op.execute(_FACETS)
    op.execute(_REFUSED)
    op.execute(_RECORDED_REFUSALS)
    op.execute("CREATE INDEX refused_requests_by_time ON refused_requests (tenant, decided_at)")
    op.execute("CREATE INDEX refused_requests_by_request ON refused_requests (request_id)")
    op.execute("CREATE INDEX refused_requests_by_trace ON refused_requests (trace_id) WHERE trace_id IS NOT NULL")
    op.execute(
        "CREATE INDEX attempts_by_trace ON attempts (left(trace_id, 10) text_pattern_ops) WHERE trace_id IS NOT NULL"
    )
    add_facets()


def add_facets() -> None:
    """Insert the facets of everything that is recorded."""
    op.execute(_ADD.format(found=_FACETS_OF_ATTEMPTS))
    op.execute(_ADD.format(found=_FACETS_OF_REFUSALS))
    connection = op.get_bind()
    for tenant, message, at in connection.execute(sa.text(_MESSAGES)).all():
        words = dict.fromkeys(word[:_LONGEST_WORD] for word in _WORD.findall(message.lower()))
        names = [f"word:{word}" for word in list(words)[:_MAX_WORDS]]
        connection.execute(sa.text(_ADD.format(found=_WORDS)), {"tenant": tenant, "names": names, "at": at})


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
