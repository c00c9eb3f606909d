"""A ledger's tables with the projections of the request log, and what should be found in them, computed without SQL."""

import importlib.util
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.request_cursor import decode_cursor
from keyferry.contracts.request_log import ListRequests, LoggedRequest, RequestFilter, RequestOutcome, RequestPage
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.usage import AttemptRecord, KeySource, LedgerRow, Outcome, TokenUsage
from keyferry.runtime.tracing.context import trace_id
from services.usage_ledger.request_log.projection import RefusedRequests, RequestFacets
from services.usage_ledger.request_log.store import RequestLogStore
from services.usage_ledger.store import LedgerStore
from services.usage_ledger.usage_store import UsageStore
from tests.support.ledger.attempt_records import attempt_record, decision_record
from tests.support.servers.migrated_database import migrated_database

ROOT = Path(__file__).parents[4]
BEGIN = datetime(2026, 3, 28, 12, tzinfo=UTC)
RECORDED = datetime(2026, 4, 10, tzinfo=UTC)
NOW = datetime(2026, 4, 11, tzinfo=UTC)
MESSAGES = ("Rate limit reached for gpt-4o", "upstream connect error: 100% of_capacity", "Überlastet, rate-limited")


@dataclass
class Ledger:
    """The stores on one database, and everything that was recorded."""

    engine: AsyncEngine
    rows: list[LedgerRow] = field(default_factory=list)
    refusals: list[DecisionRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = LedgerStore(self.engine, [RequestFacets()], [RefusedRequests()])
        self.log = RequestLogStore(self.engine)
        self.usage = UsageStore(self.engine)

    async def record(
        self, records: Sequence[AttemptRecord], *, at: datetime = RECORDED, cost_usd: str | None = "0.01"
    ) -> None:
        cost = None if cost_usd is None else Decimal(cost_usd)
        rows = [
            LedgerRow(
                record=record,
                cost_usd=cost,
                price_version=None if cost is None else "v1",
                pricing="unpriced" if cost is None else "priced",
                trace_id=trace_id(record.traceparent),
                recorded_at=at,
            )
            for record in records
        ]
        result = await self.store.record_attempts(rows)
        assert not result.rejected, result.rejected
        self.rows += rows

    async def set_packed_from(self, moment: datetime) -> None:
        """Store what is recorded earlier in the form of the build before."""
        async with self.engine.begin() as connection:
            await connection.execute(text("UPDATE usage_ledger.packing SET packed_from = :moment"), {"moment": moment})

    async def refuse(self, records: Sequence[DecisionRecord], *, at: datetime = RECORDED) -> None:
        result = await self.store.record_decisions(records, at)
        assert not result.rejected, result.rejected
        self.refusals += [record for record in records if record.refusal is not None]

    async def page(self, after: str | None = None, now: datetime = NOW, **query: Any) -> RequestPage:
        command = ListRequests.model_validate({"tenant": "acme", **query, "after": after})
        cursor = None if after is None else decode_cursor(after, command)
        return await self.log.page(command, cursor, now)

    async def walk(self, **query: Any) -> list[LoggedRequest]:
        """Return every request of every page."""
        found: list[LoggedRequest] = []
        after = None
        while True:
            page = await self.page(after, **query)
            found += page.requests
            if page.next is None:
                return found
            after = page.next


@asynccontextmanager
async def open_ledger(folder: Path) -> AsyncIterator[Ledger]:
    """Provide a ledger with empty tables."""
    database = migrated_database(folder, "usage_ledger", synced=True)
    engine = create_async_engine(database.url_files["usage_ledger"].read_text().strip(), pool_size=2)
    try:
        yield Ledger(engine)
    finally:
        await engine.dispose()


def refusal(message: str = "no model is allowed", **changes: object) -> DecisionRecord:
    """Return a decision that refused a request."""
    failure = Failure(failure_class=FailureClass.POLICY, message=message)
    return decision_record(**{"refusal": failure, "decided_at": BEGIN, **changes})


def some_attempts(count: int, chance: random.Random) -> list[AttemptRecord]:
    """Return attempts of about half as many requests of two tenants, over some days, in any order."""
    records = []
    for number in range(count):
        failed = chance.random() < 0.4
        failure = Failure(failure_class=chance.choice(list(FailureClass)[:6]), message=chance.choice(MESSAGES))
        request = chance.randrange(count // 2)
        records.append(
            attempt_record(
                request_id=f"req_{request:05}",
                attempt_number=number + 1,
                tenant="acme" if request % 5 else "other",
                provider=chance.choice(["openai", "groq", "rare"] if chance.random() < 0.1 else ["openai", "groq"]),
                endpoint="lab" if chance.random() < 0.05 else None,
                model_asked=chance.choice(["auto", "gpt-4o"]),
                model=chance.choice(["gpt-4o", "llama"]),
                model_served=chance.choice([None, "gpt-4o-2024"]),
                operation=chance.choice([None, "code", "chat"]),
                power_level=chance.choice([None, "eco", "precision"]),
                key_source=chance.choice(list(KeySource)),
                key_id=chance.choice([None, "key_1", "key_2"]),
                client_token_id=chance.choice(["tok_1", "tok_2"]),
                team=chance.choice([None, "blue", "red"]),
                member=chance.choice([None, "ann", "ben"]),
                outcome=Outcome.FAILED if failed else chance.choice(list(Outcome)),
                failure=failure if failed else None,
                token_usage=TokenUsage(input=chance.randrange(1000)),
                started_at=BEGIN + timedelta(seconds=request * 600 + chance.randrange(1200)),
                latency_ms=chance.choice([7, 8, 9, 1000, 1023, 1024, 1025, 60_000]),
                tags=chance.choice([{}, {"a": "b"}, {"a": "%", "c": "_"}, {"x=y".replace("=", "."): "z=1"}]),
            )
        )
    return records


def expected(ledger: Ledger, query: RequestFilter) -> dict[str, list[LedgerRow]]:
    """Return the requests that a filter should find, with the attempts that count; none for a refused request."""
    since, until = query.since or BEGIN - timedelta(days=9000), query.until or NOW + timedelta(days=9000)
    by_request: defaultdict[str, list[LedgerRow]] = defaultdict(list)
    for row in ledger.rows:
        if row.record.tenant == query.tenant and since <= row.record.started_at < until:
            by_request[row.record.request_id].append(row)
    found = {}
    for request_id, rows in by_request.items():
        rows.sort(key=lambda row: row.record.attempt_number)
        candidates = rows[-1:] if query.outcome is not None else rows
        if any(matches(row, query) for row in candidates):
            found[request_id] = rows
    attempted = {row.record.request_id for row in ledger.rows if row.record.tenant == query.tenant}
    for record in ledger.refusals:
        inside = record.tenant == query.tenant and since <= record.decided_at < until
        if inside and record.request_id not in attempted and refusal_matches(record, query):
            found[record.request_id] = []
    return found


def matches(row: LedgerRow, query: RequestFilter) -> bool:
    record, failure = row.record, row.record.failure
    return all(
        (
            query.outcome in (None, RequestOutcome(record.outcome.value)),
            query.error_class is None or (failure is not None and failure.failure_class is query.error_class),
            query.provider in (None, record.provider, record.endpoint),
            query.model in (None, record.model, record.model_asked, record.model_served),
            query.level in (None, record.power_level),
            query.key_source in (None, record.key_source),
            query.key_id in (None, record.key_id),
            query.min_cost_usd is None or (row.cost_usd is not None and row.cost_usd >= query.min_cost_usd),
            query.min_latency_ms is None or record.latency_ms >= query.min_latency_ms,
            query.id is None or any(each.startswith(query.id) for each in (record.request_id, record.attempt_id)),
            shared_match(record, query),
            has_all_words(None if failure is None else failure.message, query.text),
        )
    )


def refusal_matches(record: DecisionRecord, query: RequestFilter) -> bool:
    assert record.refusal is not None
    return all(
        (
            query.outcome in (None, RequestOutcome.REFUSED),
            query.error_class in (None, record.refusal.failure_class),
            query.model in (None, record.model_asked),
            query.level in (None, record.power_level),
            all(
                each is None
                for each in (
                    query.provider,
                    query.key_source,
                    query.key_id,
                    query.min_cost_usd,
                    query.min_latency_ms,
                )
            ),
            query.id is None or any(each.startswith(query.id) for each in (record.request_id, record.decision_id)),
            shared_match(record, query),
            has_all_words(record.refusal.message, query.text),
        )
    )


def shared_match(record: AttemptRecord | DecisionRecord, query: RequestFilter) -> bool:
    return (
        query.operation in (None, record.operation)
        and query.client_token_id in (None, record.client_token_id)
        and query.team in (None, record.team)
        and query.member in (None, record.member)
        and (query.tag_name is None or query.tag_name in record.tags)
        and (query.tag_value is None or record.tags.get(query.tag_name or "") == query.tag_value)
    )


def has_all_words(message: str | None, text: str | None) -> bool:
    if text is None:
        return True

    def words(written: str) -> set[str]:
        spaced = "".join(character if character.isalnum() else " " for character in written.lower())
        return set(spaced.split())

    return message is not None and words(text) <= words(message)


def add_facets(connection: Connection) -> None:
    """Insert facets as the migration does for what earlier builds have recorded."""
    (file,) = (ROOT / "services/usage_ledger/migrations/versions").glob("*_request_log.py")
    specification = importlib.util.spec_from_file_location("request_log_migration", file)
    assert specification is not None
    assert specification.loader is not None
    migration = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(migration)
    with Operations.context(MigrationContext.configure(connection)):
        migration.add_facets()


def total_cost(rows: Iterable[LoggedRequest]) -> Decimal:
    return sum((row.cost_usd or Decimal(0) for row in rows), Decimal(0))
