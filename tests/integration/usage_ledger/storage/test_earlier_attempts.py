"""Attempts and decisions of the build before rows were packed: every reader has them beside packed ones, as they were."""

import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from deploy.postgres import migrate, roles
from keyferry.contracts import ids
from keyferry.contracts.charges import GetMargin, RerateAttempts
from keyferry.contracts.credit import Hold, Reservation
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.past_decisions import ListDecisions
from keyferry.contracts.request_log import ListRequests
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.secret import Secret
from keyferry.contracts.usage import KeySource, LedgerRow, Outcome, UsageSource
from services.usage_ledger.analytics.projection import RollupProjection
from services.usage_ledger.analytics.rebuild import RollupRebuild, UsageRollups
from services.usage_ledger.attempt_rows import COLUMNS, to_values
from services.usage_ledger.budgets.rebuild import BudgetSpendingRebuild
from services.usage_ledger.budgets.spending_store import BudgetSpending
from services.usage_ledger.charges.margin_store import MarginStore
from services.usage_ledger.charges.rerating_store import RerateStore
from services.usage_ledger.charging import bill
from services.usage_ledger.decision_packing import compress_as_before
from services.usage_ledger.key_spending_rebuild import KeySpendingRebuild
from services.usage_ledger.key_spending_store import KeySpendingStore
from services.usage_ledger.past_decision_store import PastDecisionStore
from services.usage_ledger.pricing import price
from services.usage_ledger.projections.registry import Rebuildable
from services.usage_ledger.request_log.projection import RequestFacets
from services.usage_ledger.request_log.store import RequestLogStore
from services.usage_ledger.store import LedgerStore, Projection
from tests.integration.usage_ledger.charges.test_reratings import PLAN, Tables
from tests.support.ledger.attempt_records import attempt_record, decision_record
from tests.support.servers.postgres import shared_postgres

SERVICE = "usage_ledger"
NOW = datetime.now(UTC).replace(microsecond=0)
BEGAN = NOW - timedelta(minutes=10)
TENANT = "acme"
BUDGET_ID = ids.new(ids.BUDGET)
CORRECTED = {
    "cost_usd",
    "price_version",
    "pricing",
    "charge_micro_usd",
    "absorbed_micro_usd",
    "spend_micro_usd",
    "plan_version",
}
UNKNOWN = ("decision_uuid", "trace_uuid", "packed", "catalog_id")
"""Columns that the build before does not know."""


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def some_rows(tables: Tables, recorded_at: datetime) -> Iterator[LedgerRow]:
    """Yield attempts of every kind that a reader may take differently by how it is stored."""
    holds = (
        "credits/acme",
        f"allowance/acme/{BEGAN:%Y-%m}",
        f"budget/{BUDGET_ID}/{BEGAN - timedelta(days=1):%Y-%m-%d}",
    )
    reservation = Reservation(
        holds=[Hold(lease_id=ids.new("lea"), account=account, amount=10**6) for account in holds], not_after_unix_ms=1
    )
    failure = Failure(failure_class=FailureClass.TIMEOUT, message="it took too long", where=Where.NO_ANSWER)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    kinds: tuple[dict[str, Any], ...] = (
        {},
        {"reservation": reservation, "traceparent": trace, "unkept": ["model"], "finish_reason": None},
        {"reservation": Reservation(holds=reservation.holds[:1], not_after_unix_ms=2**63 - 1)},
        {"decision_id": "x" * 200, "traceparent": "odd", "client_token_id": None, "tags": {}},
        {"outcome": Outcome.FAILED, "failure": failure, "usage_source": UsageSource.NONE, "first_token_ms": None},
        {"model": "unlisted", "key_source": KeySource.BYOK, "key_id": "key_b"},
        {"key_source": KeySource.BYOK, "key_id": "key_b", "power_level": None},
    )
    usual = {
        "provider": "openai",
        "model": "m",
        "key_source": KeySource.PLATFORM,
        "key_id": "key_a",
        "started_at": BEGAN,
    }
    for kind in kinds:
        record = attempt_record(**(usual | kind))
        found = price(record, tables.prices)
        row = LedgerRow(
            record=record,
            cost_usd=found.cost_usd,
            price_version=found.version,
            pricing=found.pricing,
            trace_id=trace.split("-")[1] if record.traceparent == trace else None,
            recorded_at=recorded_at,
        )
        yield bill(row, found, PLAN)


class Upgraded:
    """A database that the build before has filled, migrated to this one."""

    def __init__(
        self,
        engine: AsyncEngine,
        earlier: Sequence[LedgerRow],
        decisions: Sequence[DecisionRecord],
        rerated: Sequence[LedgerRow],
    ) -> None:
        self.engine = engine
        self.earlier = list(earlier)
        self.rerated = list(rerated)
        self.decisions = list(decisions)
        projections: list[Projection] = [
            KeySpendingStore(engine),
            BudgetSpending(),
            RequestFacets(),
            RollupProjection(),
        ]
        self.store = LedgerStore(engine, projections)
        self.log = RequestLogStore(engine)
        self.tables = Tables(engine)

    async def differences(self) -> list[str]:
        """Compare everything that follows from attempts."""
        budgets = BudgetSpendingRebuild(self.engine, lambda: NOW)
        rollups = UsageRollups(RollupRebuild(self.engine))
        found: list[Rebuildable] = [KeySpendingRebuild(self.engine), budgets, rollups]
        return [str(each) for one in found for each in (await one.check()).differences]


def connect(admin_url: Secret) -> psycopg.Connection:
    return roles.connect(make_url(admin_url.reveal()))


def insert(connection: psycopg.Connection, table: str, values: dict[str, object]) -> None:
    names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
    given = [Jsonb(value) if isinstance(value, dict | list) else value for value in values.values()]
    connection.execute(f"INSERT INTO usage_ledger.{table} ({names}) VALUES ({marks})".encode(), given)


def rerate_as_before(connection: psycopg.Connection, rows: Sequence[LedgerRow]) -> None:
    """Make each attempt cost a cent, by a re-rating that changes no budget."""
    rerating = {"provider": "openai", "model": "m", "since": BEGAN, "until": NOW, "plan_version": "p"}
    insert(connection, "reratings", rerating | {"rerate_id": "earlier", "reason": "it was wrong", "actor": "operator"})
    for row in rows:
        charge: dict[str, object] = {
            "charge_micro_usd": row.charge_micro_usd,
            "charge_micro_usd_before": row.charge_micro_usd,
        }
        absorbed: dict[str, object] = {"absorbed_micro_usd": 0, "absorbed_micro_usd_before": 0}
        known: dict[str, object] = {
            "rerate_id": "earlier",
            "attempt_id": row.record.attempt_id,
            "tenant": row.record.tenant,
        }
        cost: dict[str, object] = {
            "cost_usd": "0.01",
            "price_version": "v2",
            "cost_usd_before": row.cost_usd,
            "plan_version": "p",
        }
        insert(connection, "rerated_attempts", known | cost | charge | absorbed)


def fill_as_before(admin_url: Secret, rows: Sequence[LedgerRow], decisions: Sequence[DecisionRecord]) -> None:
    with connect(admin_url) as connection:
        for row in rows:
            values = to_values(row, packed=False)
            insert(connection, "attempts", {name: values.get(name) for name in COLUMNS if name not in UNKNOWN})
        for decision in decisions:
            document = {name: getattr(decision, name) for name in ("decision_id", "request_id", "tenant", "decided_at")}
            insert(connection, "decisions", document | {"packed": compress_as_before(decision), "recorded_at": NOW})
        budget = {"budget_id": BUDGET_ID, "tenant": TENANT, "scope": "tenant", "time_window": {"calendar": "day"}}
        terms = {"limit_micro_usd": 10**9, "hard": True, "thresholds": [], "enabled": True, "revision": 1}
        insert(connection, "budgets", budget | terms | {"created_at": BEGAN - timedelta(days=2)})
        rerate_as_before(connection, [row for row in rows if row.record.tenant != TENANT])


@pytest.fixture
async def upgraded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Upgraded]:
    secrets_dir, root = tmp_path_factory.mktemp("secrets"), tmp_path_factory.mktemp("earlier")
    admin_url = shared_postgres(synced=False).new_database()
    earlier = migrate.versions_dir(SERVICE, root)
    earlier.mkdir(parents=True)
    for file in migrate.versions_dir(SERVICE).glob("00[01]?_*.py"):
        shutil.copy(file, earlier)
    migrate.migrate(admin_url, secrets_dir, services=[SERVICE], services_root=root)
    engine = create_async_engine((secrets_dir / "usage_ledger.url").read_text())
    rows = list(some_rows(Tables(engine), NOW))
    others = [
        row.record.model_copy(update={"attempt_id": ids.new(ids.ATTEMPT), "tenant": "globex"}) for row in rows[-2:]
    ]
    rerated = [row.model_copy(update={"record": record}) for row, record in zip(rows[-2:], others, strict=True)]
    decisions = [decision_record(decided_at=BEGAN), decision_record(decision_id="odd", decided_at=BEGAN)]
    fill_as_before(admin_url, [*rows, *rerated], decisions)
    migrate.migrate(admin_url, secrets_dir, services=[SERVICE])
    found = Upgraded(engine, rows, decisions, rerated)
    yield found
    await engine.dispose()


async def test_rows_of_the_build_before_are_read_beside_packed_ones(upgraded: Upgraded) -> None:
    for projection in (
        KeySpendingRebuild(upgraded.engine),
        BudgetSpendingRebuild(upgraded.engine, lambda: NOW),
        UsageRollups(RollupRebuild(upgraded.engine)),
    ):
        await projection.rebuild()
    assert await upgraded.differences() == []
    given = list(upgraded.earlier)
    for hours in (1, 48):
        rows = list(some_rows(upgraded.tables, at(hours)))
        assert (await upgraded.store.record_attempts(rows)).new == {row.record.attempt_id for row in rows}
        given += rows
    assert not (await upgraded.store.record_attempts(given)).new
    for row in given:
        assert await upgraded.store.list_attempts(TENANT, row.record.request_id) == [row]
    assert await upgraded.differences() == []
    await check_readers(upgraded, given)
    upgraded.tables.since = BEGAN - timedelta(days=1)
    upgraded.tables.set_price("m", "3")
    reratings = RerateStore(upgraded.engine, upgraded.tables.prices, PLAN, lambda: NOW)
    command = RerateAttempts(rerate_id="r", provider="openai", model="m", since=BEGAN, reason="it was wrong")
    done = await reratings.rerate(command)
    assert (done.total.examined, done.total.corrected) == (19, 16), "one is another tenant's"
    assert await upgraded.differences() == []
    for place in range(third := len(given) // 3):
        same = [(await upgraded.store.list_attempts(TENANT, row.record.request_id))[0] for row in given[place::third]]
        assert len({each.model_dump_json(include=CORRECTED) for each in same}) == 1
        recorded = [each.before_rerating for each in same]
        for row, before in zip(given[place::third], recorded, strict=True):
            assert before is None or before.model_dump(include=CORRECTED) == row.model_dump(include=CORRECTED)


async def check_readers(upgraded: Upgraded, given: Sequence[LedgerRow]) -> None:
    """Check what does not follow from single attempts; a third of them is of each kind of row."""
    third = len(given) // 3
    margin = await MarginStore(upgraded.engine, PLAN, lambda: NOW).read(GetMargin(since=at(-2), until=at(1)))
    assert (margin.total.attempts, margin.total.free) == (3 * third + len(upgraded.rerated), 3)
    page = await upgraded.log.page(ListRequests(tenant=TENANT, limit=200), None, at(99))
    assert sorted(found.request_id for found in page.requests) == sorted(row.record.request_id for row in given)
    for row in given:
        prefix = row.record.decision_id[:26]
        if prefix.startswith("dec_"):
            found = await upgraded.log.page(ListRequests(tenant=TENANT, id=prefix), None, at(99))
            assert row.record.request_id in {each.request_id for each in found.requests}
    found = await upgraded.log.page(ListRequests(tenant=TENANT, id="0af7651916"), None, at(99))
    assert len(found.requests) == 3
    for decision in upgraded.decisions:
        assert await upgraded.store.list_decisions(TENANT, decision.request_id) == [decision]
    past = await PastDecisionStore(upgraded.engine).page(ListDecisions(tenant=TENANT, limit=9))
    assert {each.decision_id for each in past.decisions} == {each.decision_id for each in upgraded.decisions}


async def test_what_the_build_before_re_rated_counts_its_cost_in_budgets(upgraded: Upgraded) -> None:
    """Of the two attempts with an own key one had no known cost before."""
    assert [row.spend_micro_usd is None for row in upgraded.rerated] == [True, False]
    for row in upgraded.rerated:
        (found,) = await upgraded.store.list_attempts("globex", row.record.request_id)
        assert found.before_rerating is not None
        assert (found.cost_usd, found.spend_micro_usd) == (Decimal("0.01"), 10_000 + (row.charge_micro_usd or 0))
