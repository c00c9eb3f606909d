"""Attempts with their costs, the routers' decisions, and the audit as one append-only chain per tenant."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ATTEMPTS = """
CREATE TABLE attempts (
    attempt_id            text        PRIMARY KEY,
    request_id            text        NOT NULL,
    kind                  text        NOT NULL CHECK (kind IN ('chat', 'embedding')),
    decision_id           text        NOT NULL,
    attempt_number        bigint      NOT NULL CHECK (attempt_number >= 1),
    tenant                text        NOT NULL,
    client_token_id       text,
    provider              text        NOT NULL,
    endpoint              text,
    origin                text,
    model_asked           text        NOT NULL,
    model                 text        NOT NULL,
    model_served          text,
    operation             text,
    key_source            text        NOT NULL CHECK (key_source IN ('platform', 'byok', 'custom', 'none')),
    key_id                text,
    stream                boolean     NOT NULL,
    outcome               text        NOT NULL
                          CHECK (outcome IN ('completed', 'failed', 'cancelled', 'indeterminate')),
    failure               jsonb,
    failure_class         text        GENERATED ALWAYS AS (failure ->> 'failure_class') STORED,
    finish_reason         text,
    service_tier          text,
    input_tokens          bigint      NOT NULL CHECK (input_tokens >= 0),
    cached_read_tokens    bigint      NOT NULL CHECK (cached_read_tokens >= 0),
    cache_write_tokens    bigint      NOT NULL CHECK (cache_write_tokens >= 0),
    cache_write_1h_tokens bigint      NOT NULL CHECK (cache_write_1h_tokens >= 0),
    output_tokens         bigint      NOT NULL CHECK (output_tokens >= 0),
    reasoning_tokens      bigint      NOT NULL CHECK (reasoning_tokens >= 0),
    audio_tokens          bigint      NOT NULL CHECK (audio_tokens >= 0),
    audio_output_tokens   bigint      NOT NULL CHECK (audio_output_tokens >= 0),
    image_tokens          bigint      NOT NULL CHECK (image_tokens >= 0),
    image_output_tokens   bigint      NOT NULL CHECK (image_output_tokens >= 0),
    usage_source          text        NOT NULL CHECK (usage_source IN ('reported', 'estimated', 'none')),
    reported_cost_usd     numeric(27, 12),
    cost_usd              numeric(24, 12) CHECK (cost_usd >= 0),
    price_version         text,
    pricing               text        NOT NULL CHECK (pricing IN ('priced', 'unpriced', 'free')),
    started_at            timestamptz NOT NULL,
    latency_ms            bigint      NOT NULL CHECK (latency_ms >= 0),
    first_token_ms        bigint      CHECK (first_token_ms >= 0),
    tags                  jsonb       NOT NULL CHECK (jsonb_typeof(tags) = 'object'),
    traceparent           text,
    trace_id              text,
    worker_id             text        NOT NULL,
    spool_seq             bigint      NOT NULL CHECK (spool_seq >= 1),
    recorded_at           timestamptz NOT NULL,
    CONSTRAINT attempts_started_at_plausible CHECK (started_at >= '1970-01-01Z' AND started_at < '2200-01-01Z'),
    CONSTRAINT attempts_cost_unless_unpriced CHECK ((cost_usd IS NULL) = (pricing = 'unpriced')),
    CONSTRAINT attempts_free_costs_nothing CHECK (pricing <> 'free' OR cost_usd = 0),
    CONSTRAINT attempts_price_is_named CHECK ((price_version IS NOT NULL) = (pricing = 'priced'))
)
"""
_DECISIONS = """
CREATE TABLE decisions (
    decision_id text        PRIMARY KEY,
    request_id  text        NOT NULL,
    tenant      text        NOT NULL,
    record      jsonb       NOT NULL CHECK (jsonb_typeof(record) = 'object'),
    decided_at  timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT decisions_decided_at_plausible CHECK (decided_at >= '1970-01-01Z' AND decided_at < '2200-01-01Z')
)
"""
_AUDIT_ENTRIES = """
CREATE TABLE audit_entries (
    tenant      text        NOT NULL,
    position    bigint      NOT NULL CHECK (position >= 1),
    event_id    text        NOT NULL UNIQUE,
    service     text        NOT NULL,
    sequence    bigint      NOT NULL CHECK (sequence >= 1),
    event       jsonb       NOT NULL CHECK (jsonb_typeof(event) = 'object'),
    previous    text        NOT NULL CHECK (previous ~ '^[0-9a-f]{64}$'),
    digest      text        NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, position)
)
"""
_AUDIT_CHAIN_HEADS = """
CREATE TABLE audit_chain_heads (
    tenant   text   PRIMARY KEY,
    position bigint NOT NULL CHECK (position >= 0),
    digest   text   NOT NULL
)
"""
_APPEND_ONLY_FUNCTION = """
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries are never changed or removed';
END $$
"""
_APPEND_ONLY_TRIGGER = """
CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE ON audit_entries
FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(_ATTEMPTS)
    op.execute("CREATE INDEX attempts_by_time ON attempts (tenant, started_at)")
    op.execute("CREATE INDEX attempts_by_request ON attempts (tenant, request_id)")
    # Spending limits are computed by key and month, for the platform's keys and for tenants' own.
    op.execute("CREATE INDEX attempts_by_key ON attempts (key_id, started_at) WHERE key_id IS NOT NULL")
    op.execute(_DECISIONS)
    op.execute("CREATE INDEX decisions_by_request ON decisions (tenant, request_id)")
    op.execute(_AUDIT_ENTRIES)
    op.execute("CREATE INDEX audit_entries_by_sequence ON audit_entries (service, sequence)")
    op.execute(_AUDIT_CHAIN_HEADS)
    # The trigger prevents accidents. The owner of the tables can drop it; the chain and its signed head detect that.
    op.execute(_APPEND_ONLY_FUNCTION)
    op.execute(_APPEND_ONLY_TRIGGER)


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
