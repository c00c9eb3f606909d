"""What attempts add up to by a provider's days, and the pages in which they are reported again."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts import ids
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.reconciliation import ListUsageAttempts, ProviderDayRow, SumProviderDay
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.usage import KeySource, LedgerRow, Outcome, TokenUsage, UsageSource
from services.usage_ledger.provider_days.store import ProviderDayStore
from services.usage_ledger.store import LedgerStore
from tests.support.ledger.attempt_records import attempt_record

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
DAY = NOON.date()


def row(tenant: str, at: datetime = NOON, *, cost: str | None = "0.5", **changes: Any) -> LedgerRow:
    fields: dict[str, Any] = {
        "attempt_id": ids.new(ids.ATTEMPT, unix_ms=int(at.timestamp() * 1000)),
        "tenant": tenant,
        "provider": "openai",
        "model": "gpt-4o",
        "model_asked": "gpt-4o",
        "key_source": KeySource.BYOK,
        "key_id": "key_one",
        "started_at": at,
    }
    known: dict[str, Any] = (
        {"cost_usd": Decimal(cost), "price_version": "v1", "pricing": "priced"} if cost else {"pricing": "unpriced"}
    )
    return LedgerRow(record=attempt_record(**(fields | changes)), recorded_at=at, **known)


async def added(
    engine: AsyncEngine, rows: Sequence[LedgerRow], tenant: str, *, day: date = DAY, key_id: str | None = None
) -> list[ProviderDayRow]:
    await LedgerStore(engine).record_attempts(rows)
    command = SumProviderDay(tenant=tenant, provider="openai", day=day, key_id=key_id)
    return (await ProviderDayStore(engine).sum_day(command)).rows


async def test_attempts_are_added_up_by_what_may_explain_a_difference(engine: AsyncEngine) -> None:
    tenant = "t-explained"
    lost = Failure(failure_class=FailureClass.TIMEOUT, message="no answer", where=Where.NO_ANSWER)
    refused = Failure(failure_class=FailureClass.AUTH, message="no", where=Where.HTTP_STATUS, status=401)
    nothing: dict[str, Any] = {"token_usage": TokenUsage(), "usage_source": UsageSource.NONE, "first_token_ms": None}
    found = await added(
        engine,
        [
            row(tenant, token_usage=TokenUsage(input=7, cached_read=3, output=2)),
            row(tenant, token_usage=TokenUsage(input=1, reasoning=4)),
            row(tenant, model_served="gpt-4o-2024-08-06"),
            row(tenant, usage_source=UsageSource.ESTIMATED),
            row(tenant, cost=None, outcome=Outcome.INDETERMINATE, **nothing),
            row(tenant, cost="0", outcome=Outcome.FAILED, failure=lost, **nothing),
            row(tenant, cost="0", outcome=Outcome.FAILED, failure=refused, **nothing),
            row(tenant, cost=None),
            row(tenant, NOON.replace(hour=23, minute=59, second=59), latency_ms=2000),
        ],
        tenant,
    )
    by_group = {(each.model_served, each.usage_source, each.price_version): each for each in found}
    reported = by_group[None, UsageSource.REPORTED, "v1"]
    assert reported.attempts == 3
    assert reported.across_midnight == 1
    assert reported.cost_usd == Decimal("1.5")
    assert reported.token_usage == TokenUsage(input=18, cached_read=3, output=7, reasoning=4)
    assert by_group["gpt-4o-2024-08-06", UsageSource.REPORTED, "v1"].attempts == 1
    assert by_group[None, UsageSource.ESTIMATED, "v1"].attempts == 1
    lost_ones = [each for each in found if each.usage_source is UsageSource.NONE]
    assert sum(each.attempts for each in lost_ones) == 3
    assert sum(each.unreported for each in lost_ones) == 2
    assert by_group[None, UsageSource.REPORTED, None].unpriced == 1
    assert by_group[None, UsageSource.REPORTED, None].cost_usd is None


async def test_only_own_keys_at_the_providers_own_address_count(engine: AsyncEngine) -> None:
    tenant = "t-own"
    found = await added(
        engine,
        [
            row(tenant),
            row(tenant, key_id="key_two"),
            row(tenant, key_source=KeySource.PLATFORM),
            row(tenant, endpoint="mine"),
            row(tenant, provider="anthropic"),
            row(tenant, NOON - timedelta(days=1)),
            row("t-other"),
        ],
        tenant,
    )
    assert [each.attempts for each in found] == [2]
    assert [each.attempts for each in await added(engine, [], tenant, key_id="key_two")] == [1]


async def test_the_platforms_keys_are_added_up_over_all_tenants(engine: AsyncEngine) -> None:
    rows = [row(f"t-platform-{number}", model="shared", key_source=KeySource.PLATFORM) for number in range(3)]
    found = await added(engine, rows, PLATFORM_TENANT)
    assert [each.attempts for each in found if each.model == "shared"] == [3]


async def test_pages_have_each_attempt_of_the_span_once(engine: AsyncEngine) -> None:
    tenant, store = "t-pages", ProviderDayStore(engine)
    rows = [row(tenant, NOON + timedelta(seconds=number)) for number in range(7)]
    await LedgerStore(engine).record_attempts([*rows, row(tenant, NOON - timedelta(days=1)), row("t-else")])
    seen: list[str] = []
    while True:
        command = ListUsageAttempts(
            tenant=tenant, since=NOON, until=NOON + timedelta(hours=1), after=seen[-1] if seen else None, limit=3
        )
        page = await store.list_attempts(command)
        seen += [each.record.attempt_id for each in page]
        if len(page) < 3:
            break
    assert seen == sorted(each.record.attempt_id for each in rows)
