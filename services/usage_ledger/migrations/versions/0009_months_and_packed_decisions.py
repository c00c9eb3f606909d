"""Attempts and decisions by month of their ids, with smaller rows.

Rows of earlier builds stay where they are: their table becomes the partition of everything until the end of this month, which
reads it once and writes it not at all, and rebuilds its indexes by id. Only rows with ids of no such time are moved.
"""

import base64
import logging
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_log = logging.getLogger(__name__)

_MONTHS_BEFORE, _MONTHS_AHEAD = 1, 3
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
"""Rows of earlier builds with ids before it are of clocks that were wrong."""
_PREFIXES = {"attempts": "att", "decisions": "dec"}
_RARE_TOKENS = (
    "cached_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "audio",
    "image",
    "audio_output",
    "image_output",
)
"""Kinds of tokens of which most attempts have none: a null takes no space."""

_TRACEPARENT = "coalesce(trace_stored, '00-' || trace_id || '-' || trace_rest)"
_ADAPT_ATTEMPTS = [
    *(
        statement
        for kind in _RARE_TOKENS
        for statement in (
            f"ALTER TABLE attempts RENAME COLUMN {kind}_tokens TO {kind}_stored",
            f"ALTER TABLE attempts ALTER COLUMN {kind}_stored DROP NOT NULL",
            f"ALTER TABLE attempts ADD COLUMN {kind}_tokens bigint GENERATED ALWAYS AS (coalesce({kind}_stored, 0)) VIRTUAL",
        )
    ),
    "ALTER TABLE attempts RENAME COLUMN traceparent TO trace_stored",
    "ALTER TABLE attempts ADD COLUMN trace_rest text",
    (
        "ALTER TABLE attempts ADD COLUMN traceparent text"
        " GENERATED ALWAYS AS (coalesce(trace_stored, '00-' || trace_id || '-' || trace_rest)) VIRTUAL"
    ),
    "DROP INDEX attempts_by_request",
    "DROP INDEX attempts_failed_by_provider",
]
_ADAPT_DECISIONS = [
    "ALTER TABLE decisions ALTER COLUMN record DROP NOT NULL",
    (
        "ALTER TABLE decisions ADD COLUMN packed bytea, ADD COLUMN attempt_number bigint, ADD COLUMN refused boolean,"
        " ADD COLUMN skipped jsonb"
    ),
    "ALTER TABLE decisions ADD CONSTRAINT decisions_have_one_record CHECK ((record IS NULL) <> (packed IS NULL))",
    "DROP INDEX decisions_by_request",
    "DROP INDEX decisions_by_time",
    "DROP INDEX decisions_of_all_by_time",
]

_CHECKS = {
    "input_tokens_check": "input_tokens >= 0",
    "output_tokens_check": "output_tokens >= 0",
    "latency_ms_check": "latency_ms >= 0",
    "first_token_ms_check": "first_token_ms >= 0",
    "charge_micro_usd_check": "charge_micro_usd >= 0",
    "absorbed_micro_usd_check": "absorbed_micro_usd >= 0",
    "spend_micro_usd_check": "spend_micro_usd >= 0",
    "spool_seq_check": "spool_seq >= 1",
    "attempt_number_check": "attempt_number >= 1",
    "kind_check": "kind IN ('chat', 'embedding')",
    "power_level_check": "power_level IN ('eco', 'balanced', 'precision')",
    "key_source_check": "key_source IN ('platform', 'byok', 'custom', 'none')",
    "tier_check": "tier IN ('free', 'starter', 'professional', 'enterprise')",
    "charged_level_check": "charged_level IN ('eco', 'balanced', 'precision')",
    "outcome_check": "outcome IN ('completed', 'failed', 'cancelled', 'indeterminate')",
    "usage_source_check": "usage_source IN ('reported', 'estimated', 'none')",
    "cost_usd_check": "cost_usd >= 0",
    "pricing_check": "pricing IN ('priced', 'unpriced', 'free')",
    "tags_check": "jsonb_typeof(tags) = 'object'",
    "unkept_check": "jsonb_typeof(unkept) = 'array'",
    **{f"{kind}_tokens_check": f"{kind}_stored >= 0" for kind in _RARE_TOKENS},
    "started_at_plausible": "started_at >= '1970-01-01Z' AND started_at < '2200-01-01Z'",
    "cost_unless_unpriced": "(cost_usd IS NULL) = (pricing = 'unpriced')",
    "free_costs_nothing": "pricing <> 'free' OR cost_usd = 0",
    "price_is_named": "(price_version IS NOT NULL) = (pricing = 'priced')",
}
"""With the names that the constraints of earlier builds have: a partition has those of its table."""
_ATTEMPTS = f"""
CREATE TABLE attempts (
    started_at            timestamptz NOT NULL,
    recorded_at           timestamptz NOT NULL,
    input_tokens          bigint      NOT NULL,
    output_tokens         bigint      NOT NULL,
    {"".join(f"{kind}_stored bigint," for kind in _RARE_TOKENS)}
    latency_ms            bigint      NOT NULL,
    first_token_ms        bigint,
    charge_micro_usd      bigint,
    absorbed_micro_usd    bigint,
    spend_micro_usd       bigint,
    spool_seq             bigint      NOT NULL,
    attempt_number        bigint      NOT NULL,
    stream                boolean     NOT NULL,
    attempt_id            text COLLATE "C" PRIMARY KEY,
    request_id            text COLLATE "C" NOT NULL,
    decision_id           text COLLATE "C" NOT NULL,
    tenant                text        NOT NULL,
    kind                  text        NOT NULL,
    client_token_id       text,
    provider              text        NOT NULL,
    endpoint              text,
    origin                text,
    model_asked           text        NOT NULL,
    model                 text        NOT NULL,
    model_served          text,
    operation             text,
    power_level           text,
    team                  text,
    member                text,
    key_source            text        NOT NULL,
    key_id                text,
    tier                  text,
    charged_level         text,
    plan_version          text,
    reservation           jsonb,
    outcome               text        NOT NULL,
    failure               jsonb,
    failure_class         text        GENERATED ALWAYS AS (failure ->> 'failure_class') STORED,
    finish_reason         text,
    service_tier          text,
    usage_source          text        NOT NULL,
    usage_note            text,
    reported_cost_usd     numeric(27, 12),
    cost_usd              numeric(24, 12),
    price_version         text,
    pricing               text        NOT NULL,
    tags                  jsonb       NOT NULL,
    trace_id              text,
    trace_rest            text,
    trace_stored          text,
    worker_id             text        NOT NULL,
    unkept                jsonb       NOT NULL DEFAULT '[]',
    {"".join(f"{kind}_tokens bigint GENERATED ALWAYS AS (coalesce({kind}_stored, 0)) VIRTUAL," for kind in _RARE_TOKENS)}
    traceparent           text
                          GENERATED ALWAYS AS ({_TRACEPARENT}) VIRTUAL,
    {", ".join(f"CONSTRAINT attempts_{name} CHECK ({condition})" for name, condition in _CHECKS.items())}
) PARTITION BY RANGE (attempt_id)
"""
_DECISIONS = """
CREATE TABLE decisions (
    decided_at     timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    attempt_number bigint,
    refused        boolean,
    decision_id    text COLLATE "C" PRIMARY KEY,
    request_id     text COLLATE "C" NOT NULL,
    tenant         text        NOT NULL,
    packed         bytea,
    skipped        jsonb,
    record         jsonb CONSTRAINT decisions_record_check CHECK (jsonb_typeof(record) = 'object'),
    CONSTRAINT decisions_have_one_record CHECK ((record IS NULL) <> (packed IS NULL)),
    CONSTRAINT decisions_decided_at_plausible CHECK (decided_at >= '1970-01-01Z' AND decided_at < '2200-01-01Z')
) PARTITION BY RANGE (decision_id)
"""
_INDEXES = {
    "attempts": (
        "CREATE INDEX attempts_by_time ON attempts (tenant, started_at)",
        "CREATE INDEX attempts_by_request ON attempts (request_id)",
        # Until the spending of keys has a table of its own.
        "CREATE INDEX attempts_by_key ON attempts (key_id, started_at) WHERE key_id IS NOT NULL",
        "CREATE INDEX attempts_failed_by_provider ON attempts (provider, started_at) WHERE outcome = 'failed'",
    ),
    "decisions": (
        "CREATE INDEX decisions_by_request ON decisions (request_id)",
        "CREATE INDEX decisions_by_tenant ON decisions (tenant, decided_at)",
        "CREATE INDEX decisions_by_time ON decisions (decided_at)",
    ),
}
_DETACHED = """
CREATE TABLE detached_partitions (
    partition   text        PRIMARY KEY,
    parent      text        NOT NULL,
    from_id     text        COLLATE "C" NOT NULL,
    until_id    text        COLLATE "C" NOT NULL,
    detached_at timestamptz NOT NULL,
    dropped_at  timestamptz
)
"""


def upgrade() -> None:
    """Replace both tables by partitioned ones that contain them."""
    connection = op.get_bind()
    now: datetime = connection.execute(sa.text("SELECT now() AT TIME ZONE 'UTC'")).scalar_one()
    month = now.year * 12 + now.month - 1
    for table, prefix in _PREFIXES.items():
        filled = bool(connection.execute(sa.text(f"SELECT EXISTS (SELECT FROM {table})")).scalar_one())  # noqa: S608
        if filled:
            _set_aside(table, f"{table}_until_{_name(month)}")
        else:
            op.execute(f"DROP TABLE {table}")
        op.execute(_ATTEMPTS if table == "attempts" else _DECISIONS)
        op.execute(f"CREATE TABLE {table}_other PARTITION OF {table} DEFAULT")
        for ahead in range(1 if filled else -_MONTHS_BEFORE, _MONTHS_AHEAD + 1):
            bounds = f"FROM ('{_floor(prefix, month + ahead)}') TO ('{_floor(prefix, month + ahead + 1)}')"
            op.execute(f"CREATE TABLE {table}_{_name(month + ahead)} PARTITION OF {table} FOR VALUES {bounds}")
        if filled:
            _attach(table, f"{table}_until_{_name(month)}", _id_at(prefix, _EARLIEST), _floor(prefix, month + 1))
        for statement in _INDEXES[table]:
            op.execute(statement)
    # Compressed already.
    op.execute("ALTER TABLE decisions ALTER COLUMN packed SET STORAGE EXTERNAL")
    op.execute(_DETACHED)


def _set_aside(table: str, former: str) -> None:
    """Give a table of an earlier build the columns of this one, and another name."""
    for statement in _ADAPT_ATTEMPTS if table == "attempts" else _ADAPT_DECISIONS:
        op.execute(statement)
    ids = ("attempt_id", "request_id", "decision_id") if table == "attempts" else ("decision_id", "request_id")
    op.execute(f"ALTER TABLE {table} " + ", ".join(f'ALTER COLUMN {name} TYPE text COLLATE "C"' for name in ids))
    op.execute(f"ALTER TABLE {table} RENAME TO {former}")
    op.execute(f"ALTER INDEX {table}_pkey RENAME TO {former}_pkey")
    if table == "attempts":
        for index in ("by_time", "by_key"):
            op.execute(f"ALTER INDEX {table}_{index} RENAME TO {former}_{index}")


def _attach(table: str, former: str, first: str, end: str) -> None:
    """Make a table of an earlier build the partition of these ids; the rest of its rows finds its own."""
    connection = op.get_bind()
    key = "attempt_id" if table == "attempts" else "decision_id"
    columns = connection.execute(
        sa.text(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute"
            " WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
        ),
        {"name": former},
    ).scalar_one()
    moved = connection.execute(
        sa.text(
            f"WITH moved AS (DELETE FROM {former} WHERE {key} < :first OR {key} >= :end RETURNING {columns})"  # noqa: S608
            f" INSERT INTO {table} ({columns}) SELECT * FROM moved"
        ),
        {"first": first, "end": end},
    ).rowcount
    op.execute(f"ALTER TABLE {table} ATTACH PARTITION {former} FOR VALUES FROM ('{first}') TO ('{end}')")
    _log.info("%s: the rows of earlier builds stay in the partition %s; %d rows were moved", table, former, moved)


def _name(month: int) -> str:
    return f"{month // 12}_{month % 12 + 1:02}"


def _floor(prefix: str, month: int) -> str:
    return _id_at(prefix, datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC))


def _id_at(prefix: str, moment: datetime) -> str:
    """Return the beginning of an id that is not greater than any id of this moment or later, in the order of bytes."""
    unix_ms = round(moment.timestamp() * 1000)
    return f"{prefix}_{base64.b32hexencode((unix_ms << 16).to_bytes(8, 'big'))[:10].decode().lower()}"


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
