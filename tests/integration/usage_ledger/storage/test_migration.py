"""Tables of earlier builds become partitions, with their rows as they are."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import orjson
import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from deploy.postgres import migrate, roles
from keyferry.contracts import ids
from keyferry.contracts.past_decisions import ListDecisions
from keyferry.contracts.secret import Secret
from keyferry.contracts.usage import LedgerRow, SummarizeUsage
from services.usage_ledger.attempt_rows import COLUMNS, to_values
from services.usage_ledger.key_spending_store import KeySpendingStore
from services.usage_ledger.past_decision_store import PastDecisionStore
from services.usage_ledger.store import LedgerStore
from services.usage_ledger.usage_store import UsageStore
from tests.support.ledger.attempt_records import attempt_record, decision_record
from tests.support.servers.postgres import shared_postgres

SERVICE = "usage_ledger"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ATTEMPT: dict[str, object] = {
    "decision_id": "dec_1",
    "attempt_number": 1,
    "kind": "chat",
    "tenant": "acme",
    "provider": "openai",
    "model_asked": "gpt-4o-mini",
    "model": "gpt-4o-mini",
    "key_source": "platform",
    "key_id": "key_1",
    "stream": True,
    "outcome": "completed",
    "input_tokens": 100,
    "cached_read_tokens": 7,
    "cache_write_tokens": 0,
    "cache_write_1h_tokens": 0,
    "output_tokens": 20,
    "reasoning_tokens": 3,
    "audio_tokens": 0,
    "image_tokens": 0,
    "audio_output_tokens": 0,
    "image_output_tokens": 0,
    "usage_source": "reported",
    "cost_usd": "0.000021",
    "price_version": "2026-10",
    "pricing": "priced",
    "latency_ms": 900,
    "tags": Jsonb({"team": "blue"}),
    "traceparent": TRACE,
    "trace_id": TRACE.split("-")[1],
    "worker_id": "provider-worker-1",
    "spool_seq": 1,
}
"""A row of the build before partitions."""


@pytest.fixture(scope="module")
def admin_url(tmp_path_factory: pytest.TempPathFactory) -> Secret:
    """Provide a database with rows of the build before, migrated to this one."""
    secrets_dir, root = tmp_path_factory.mktemp("secrets"), tmp_path_factory.mktemp("earlier")
    url = shared_postgres(synced=False).new_database()
    earlier = migrate.versions_dir(SERVICE, root)
    earlier.mkdir(parents=True)
    for file in migrate.versions_dir(SERVICE).glob("000[1-8]_*.py"):
        shutil.copy(file, earlier)
    migrate.migrate(url, secrets_dir, services=[SERVICE], services_root=root)
    with connect(url) as connection:
        for values in earlier_attempts():
            names = ", ".join(values)
            marks = ", ".join(["%s"] * len(values))
            statement = f"INSERT INTO usage_ledger.attempts ({names}) VALUES ({marks})"
            connection.execute(statement.encode(), list(values.values()))
        for document in earlier_decisions():
            connection.execute(
                "INSERT INTO usage_ledger.decisions VALUES (%s, %s, %s, %s, %s, %s)",
                [
                    *(document[name] for name in ("decision_id", "request_id", "tenant")),
                    Jsonb(document),
                    document["decided_at"],
                    document["decided_at"],
                ],
            )
    migrate.migrate(url, secrets_dir, services=[SERVICE])
    return url


def connect(url: Secret) -> psycopg.Connection:
    return roles.connect(make_url(url.reveal()))


NOW = datetime.now(UTC)
MOMENTS = {
    "kept": NOW - timedelta(days=40),
    "now": NOW,
    "next": NOW + timedelta(days=62),
    "far": NOW + timedelta(days=9999),
}


def id_at(prefix: str, name: str) -> str:
    return ids.new(prefix, unix_ms=round(MOMENTS[name].timestamp() * 1000))


ATTEMPT_IDS = {name: id_at(ids.ATTEMPT, name) for name in MOMENTS} | {"odd": "att_1", "ancient": "0"}
DECISION_IDS = {name: id_at(ids.DECISION, name) for name in MOMENTS} | {"odd": "dec_1", "ancient": "0"}


def earlier_attempts() -> Iterator[dict[str, object]]:
    for name, attempt_id in ATTEMPT_IDS.items():
        started = MOMENTS["now"]
        yield ATTEMPT | {
            "attempt_id": attempt_id,
            "request_id": f"req_{name}",
            "started_at": started,
            "recorded_at": started,
        }
    failure = {"failure_class": "timeout", "message": "it took too long", "where": "no_answer"}
    yield ATTEMPT | {
        "attempt_id": ids.new(ids.ATTEMPT),
        "request_id": "req_kept",
        "attempt_number": 2,
        "outcome": "failed",
        "failure": Jsonb(failure),
        "traceparent": None,
        "trace_id": None,
        "started_at": MOMENTS["now"],
        "recorded_at": MOMENTS["now"],
    }


def earlier_decisions() -> Iterator[dict[str, object]]:
    for name, decision_id in DECISION_IDS.items():
        record = decision_record(decision_id=decision_id, request_id=f"req_{name}", decided_at=MOMENTS["now"])
        document: dict[str, object] = orjson.loads(record.encode())
        if name == "kept":  # of a build that did not count attempts
            del document["attempt_number"]
        yield document


@asynccontextmanager
async def engine_of(admin_url: Secret) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(admin_url.reveal())
    try:
        yield engine
    finally:
        await engine.dispose()


def places(admin_url: Secret, table: str, key: str) -> dict[str, str]:
    """Return the partition of each row by its id."""
    with connect(admin_url) as connection:
        query = f"SELECT {key}, split_part(tableoid::regclass::text, '.', 2) FROM usage_ledger.{table}"
        return dict(connection.execute(query.encode()).fetchall())


async def test_rows_stay_where_they_are_except_those_of_another_time(admin_url: Secret) -> None:
    month = f"{NOW:%Y_%m}"
    for table, key, known in (("attempts", "attempt_id", ATTEMPT_IDS), ("decisions", "decision_id", DECISION_IDS)):
        found = places(admin_url, table, key)
        former, later = f"{table}_until_{month}", MOMENTS["next"]
        expected = {"kept": former, "now": former, "next": f"{table}_{later:%Y_%m}"}
        expected |= dict.fromkeys(("far", "odd", "ancient"), f"{table}_other")
        assert {name: found[row_id] for name, row_id in known.items()} == expected


async def test_rows_of_earlier_builds_are_read_as_before(admin_url: Secret) -> None:
    async with engine_of(admin_url) as engine:
        store = LedgerStore(engine)
        first, second = await store.list_attempts("acme", "req_kept")
        assert first.record.attempt_id == ATTEMPT_IDS["kept"]
        assert first.record.token_usage.model_dump(exclude_defaults=True) == {
            "input": 100,
            "cached_read": 7,
            "output": 20,
            "reasoning": 3,
        }
        assert (first.record.traceparent, first.trace_id) == (TRACE, TRACE.split("-")[1])
        assert (second.record.traceparent, second.trace_id) == (None, None)
        assert second.record.failure is not None
        for name, decision_id in DECISION_IDS.items():
            (decision,) = await store.list_decisions("acme", f"req_{name}")
            assert (decision.decision_id, decision.decided_at) == (decision_id, MOMENTS["now"])
        summary = await UsageStore(engine).summarize(SummarizeUsage(tenant="acme"))
        assert (summary.attempts, summary.rows[0].token_usage.cached_read) == (7, 49)
        page = await PastDecisionStore(engine).page(ListDecisions(tenant="acme", limit=4))
        rest = await PastDecisionStore(engine).page(ListDecisions(tenant="acme", limit=4, after=page.next))
        assert {found.decision_id for found in (*page.decisions, *rest.decisions)} == set(DECISION_IDS.values())


async def test_what_an_earlier_build_recorded_is_not_recorded_again(admin_url: Secret) -> None:
    async with engine_of(admin_url) as engine:
        store = LedgerStore(engine)
        repeated = [
            LedgerRow(record=attempt_record(attempt_id=attempt_id, started_at=NOW), pricing="unpriced", recorded_at=NOW)
            for attempt_id in ATTEMPT_IDS.values()
        ]
        assert (await store.record_attempts(repeated)).new == set()
        decided = [decision_record(decision_id=decision_id) for decision_id in DECISION_IDS.values()]
        assert (await store.record_decisions(decided, NOW)).new == set()


async def test_the_spending_of_keys_is_summed_up(admin_url: Secret) -> None:
    async with engine_of(admin_url) as engine:
        (spend,) = await KeySpendingStore(engine).read_key_spending([("key_1", f"{NOW:%Y-%m}")])
    assert (spend.tenant, spend.attempts, spend.unpriced) == ("platform", 7, 0)
    assert spend.spent_usd == 7 * Decimal("0.000021")
    assert spend.last_used_at == NOW


async def test_the_build_before_reads_and_writes_as_it_did_for_a_day(admin_url: Secret) -> None:
    """Its processes run until they are replaced: they know none of the packed columns."""
    rows = [
        LedgerRow(record=attempt_record(tenant="old"), pricing="unpriced", recorded_at=NOW + timedelta(hours=hours))
        for hours in (0, 23, 25)
    ]
    async with engine_of(admin_url) as engine:
        store = LedgerStore(engine)
        for row in rows:
            assert (await store.record_attempts([row])).new == {row.record.attempt_id}
    new = ("decision_uuid", "trace_uuid", "packed")
    values = to_values(rows[0], packed=False)
    own = {name: values.get(name) for name in COLUMNS if name not in new}
    own |= {"attempt_id": ids.new(ids.ATTEMPT), "tags": Jsonb({}), "unkept": Jsonb([])}
    with connect(admin_url) as connection:
        names, marks = ", ".join(own), ", ".join(["%s"] * len(own))
        statement = f"INSERT INTO usage_ledger.attempts ({names}) VALUES ({marks})"
        connection.execute(statement.encode(), list(own.values()))
        query = "SELECT count(worker_id), count(packed) FROM usage_ledger.attempts WHERE tenant = 'old'"
        assert connection.execute(query.encode()).fetchall() == [(3, 1)]


async def test_every_partition_has_every_index(admin_url: Secret) -> None:
    query = """
        SELECT parent.relname, child.relname,
               (SELECT count(*) FROM pg_index WHERE indrelid = parent.oid),
               (SELECT count(*) FROM pg_index WHERE indrelid = child.oid)
        FROM pg_class AS parent JOIN pg_inherits ON inhparent = parent.oid JOIN pg_class AS child ON child.oid = inhrelid
        WHERE parent.relkind = 'p'
    """
    with connect(admin_url) as connection:
        rows = connection.execute(query.encode()).fetchall()
    assert {table for table, *_ in rows} == {"attempts", "decisions"}
    assert len(rows) == 10
    for table, partition, expected, found in rows:
        assert found == expected >= 4, f"{table}: {partition}"
