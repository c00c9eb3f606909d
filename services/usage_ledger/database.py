"""The ledger's tables of attempts and decisions, and transactions on its schema."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    cast,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.money import PLACES
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import TokenUsage
from keyferry.runtime.database.errors import translate_database_errors
from keyferry.runtime.database.event_outbox import event_counter_table, event_outbox_table
from keyferry.runtime.database.outbox import outbox_table

SCHEMA = "usage_ledger"
TOKEN_KINDS = tuple(TokenUsage.model_fields)
RARE_TOKEN_KINDS = tuple(kind for kind in TOKEN_KINDS if kind not in ("input", "output"))
"""Kinds of which most attempts have none. Their column `…_stored` is then null, which takes no space; `…_tokens` is computed."""

metadata = MetaData(schema=SCHEMA)
OUTBOX = outbox_table(metadata)
"""What is committed and not yet published to the views."""
EVENT_OUTBOX = event_outbox_table(metadata)
"""What is committed and not yet published to the streams."""
EVENT_COUNTER = event_counter_table(metadata, "event_counter")
_Timestamp = DateTime(timezone=True)
attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", Text, primary_key=True),
    Column("request_id", Text),
    Column("kind", Text),
    Column("decision_id", Text),
    Column("attempt_number", BigInteger),
    Column("tenant", Text),
    Column("client_token_id", Text),
    Column("provider", Text),
    Column("endpoint", Text),
    Column("origin", Text),
    Column("model_asked", Text),
    Column("model", Text),
    Column("catalog_id", Text),
    Column("model_served", Text),
    Column("operation", Text),
    Column("power_level", Text),
    Column("team", Text),
    Column("member", Text),
    Column("key_source", Text),
    Column("key_id", Text),
    Column("tier", Text),
    Column("charged_level", Text),
    Column("reservation", JSONB(none_as_null=True)),
    Column("stream", Boolean),
    Column("outcome", Text),
    Column("failure", JSONB(none_as_null=True)),
    Column("failure_class", Text, Computed("failure ->> 'failure_class'", persisted=True)),
    Column("finish_reason", Text),
    Column("service_tier", Text),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    *(Column(f"{kind}_stored", BigInteger) for kind in RARE_TOKEN_KINDS),
    *(
        Column(f"{kind}_tokens", BigInteger, Computed(f"coalesce({kind}_stored, 0)", persisted=False))
        for kind in RARE_TOKEN_KINDS
    ),
    Column("usage_source", Text),
    Column("usage_note", Text),
    Column("reported_cost_usd", Numeric(27, PLACES)),
    Column("cost_usd", Numeric(24, PLACES)),
    Column("price_version", Text),
    Column("pricing", Text),
    Column("charge_micro_usd", BigInteger),
    Column("absorbed_micro_usd", BigInteger),
    Column("spend_micro_usd", BigInteger),
    Column("plan_version", Text),
    Column("started_at", _Timestamp),
    Column("latency_ms", BigInteger),
    Column("first_token_ms", BigInteger),
    Column("tags", JSONB),
    Column("trace_id", Text),
    Column("trace_rest", Text),
    Column("trace_stored", Text),
    Column(
        "traceparent",
        Text,
        Computed("coalesce(trace_stored, '00-' || trace_id || '-' || trace_rest)", persisted=False),
    ),
    Column("worker_id", Text),
    Column("spool_seq", BigInteger),
    Column("unkept", JSONB),
    Column("recorded_at", _Timestamp),
    Column("decision_uuid", Uuid),
    Column("trace_uuid", Uuid),
    Column("packed", LargeBinary),
)
"""Partitioned by month of the id: `partitions/`.

`packed` has what is not queried (`attempt_packing.py`); the columns with those names are then null, as `decision_id` and
`trace_id` are beside their UUIDs. Rows of earlier builds have everything in columns instead.
"""
STORED_TRACE_ID = func.coalesce(attempts.c.trace_id, func.replace(cast(attempts.c.trace_uuid, Text), "-", ""))
"""The id of an attempt's trace, in whichever form it is stored."""
decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("request_id", Text),
    Column("tenant", Text),
    Column("attempt_number", BigInteger),
    Column("refused", Boolean),
    Column("skipped", JSONB(none_as_null=True)),
    Column("packed", LargeBinary),
    Column("record", JSONB(none_as_null=True)),
    Column("decided_at", _Timestamp),
    Column("recorded_at", _Timestamp),
)
"""`packed` has the record (`decision_packing.py`); rows of earlier builds have it in `record` instead, and nothing beside it. The
usual `attempt_number`, 1, and the usual `refused`, false, are null."""
packing = Table(
    "packing",
    metadata,
    Column("only_one", Boolean, primary_key=True),
    Column("packed_from", _Timestamp),
)
"""From when on attempts are stored packed, and decisions in their newest form: a day after the tables learned it, as processes of
the build before, which run until they are replaced, cannot read such rows."""


def request_part(request_id: Any) -> Any:
    """Return what decisions are indexed by of their request: something of its time and of its random part, as few others have."""
    return func.substr(request_id, 5, 6).op("||")(func.substr(request_id, 28, 2))


class TransactionalStore:
    """Base of the ledger's stores: transactions on one engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that is committed at the end of the block. Raises DatabaseUnavailable."""
        with translate_database_errors():
            async with self._engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction whose statements all see the same moment; it only reads. Raises DatabaseUnavailable."""
        with translate_database_errors():
            async with self._engine.connect() as connection:
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                async with connection.begin():
                    yield connection


def token_usage_of(row: Mapping[Any, Any]) -> TokenUsage:
    """Return the token counts of a row with a column for each kind of token."""
    return TokenUsage(**{kind: min(int(row[f"{kind}_tokens"]), BIGINT_MAX) for kind in TOKEN_KINDS})
