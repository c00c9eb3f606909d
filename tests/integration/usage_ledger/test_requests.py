"""Requests of an operator to the ledger over the bus."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.money import sum_known
from keyferry.contracts.past_decisions import ListDecisions, PastDecision, PastDecisions
from keyferry.contracts.route import Decision, GetDecision
from keyferry.contracts.routing_management import DECISION_LIST
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.topology import ATTEMPT_LIST, DECISION_GET, USAGE_SUMMARIZE, Role, subscriptions_of
from keyferry.contracts.usage import (
    AttemptRecord,
    GetAttempts,
    KeySource,
    Outcome,
    SummarizeUsage,
    TokenUsage,
    UsageRow,
    UsageSource,
    UsageSummary,
)
from keyferry.pricing import package
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.app import create_app
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.ledger.attempt_records import attempt_record, decision_record
from tests.support.waiting import eventually

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
PRICES = {
    ("echo", "echo"): (Decimal("0.10"), Decimal("0.40")),
    ("openai", "gpt-4o"): (Decimal("2.50"), Decimal("10.00")),
    ("openai", "gpt-4.1-mini"): (Decimal("0.40"), Decimal("1.60")),
}
"""Dollars per million tokens of input and output, independent of the price file."""
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def operator(servers: LedgerServers) -> AsyncIterator[Bus]:
    async with servers.in_process(), servers.operator() as operator:
        yield operator


async def summary(operator: Bus, tenant: str, **limits: datetime) -> UsageSummary:
    question = SummarizeUsage(tenant=tenant, **limits)
    return await operator.ask(USAGE_SUMMARIZE, question, timeout_seconds=10)


async def record(servers: LedgerServers, records: list[AttemptRecord]) -> None:
    async with servers.worker() as worker:
        for at in range(0, len(records), 64):
            await worker.publish([record.encode() for record in records[at : at + 64]])
        await worker.until_confirmed(records)


def some_attempts(count: int, seed: int) -> list[AttemptRecord]:
    """Return attempts of two tenants over ten hours, with every outcome, at priced models and at one without a price."""
    chance = random.Random(seed)
    models = [*PRICES, ("custom", "llama")]
    requests = [f"req_{number}" for number in range(count // 2)]
    records = []
    for _ in range(count):
        provider, model = chance.choice(models)
        outcome = chance.choice(list(Outcome))
        nothing = outcome is Outcome.FAILED and chance.random() < 0.5
        token_usage = (
            TokenUsage() if nothing else TokenUsage(input=chance.randint(1, 10**6), output=chance.randint(0, 10**5))
        )
        records.append(
            attempt_record(
                tenant=chance.choice(["acme", "other"]),
                request_id=chance.choice(requests),
                provider=provider,
                model=model,
                outcome=outcome,
                token_usage=token_usage,
                usage_source=UsageSource.NONE if nothing else UsageSource.REPORTED,
                first_token_ms=None,
                started_at=BEGIN + timedelta(minutes=10 * chance.randint(0, 59)),
            )
        )
    return records


def cost(item: AttemptRecord) -> Decimal | None:
    """Return the cost by the rules, computed without the ledger's code."""
    if item.outcome is Outcome.INDETERMINATE:
        return None
    if item.outcome is Outcome.FAILED and item.token_usage.total == 0:
        return Decimal(0)
    if (item.provider, item.model) not in PRICES:
        return None
    for_input, for_output = PRICES[item.provider, item.model]
    return (item.token_usage.input * for_input + item.token_usage.output * for_output) / 1_000_000


async def test_it_subscribes_to_the_topologys_subjects(servers: LedgerServers) -> None:
    subscribed = sorted(subject.name for subject in create_app(servers.settings()).bus.subscriptions)
    assert subscribed == sorted(subject.name for subject in subscriptions_of(Role.USAGE_LEDGER))


async def test_a_summary_is_the_sum_of_its_attempts(servers: LedgerServers, operator: Bus) -> None:
    everything = some_attempts(800, seed=11)
    await record(servers, everything)
    for since, until in ((None, None), (0, 600), (100, 200), (590, None), (None, 1), (300, 301), (295, 310)):
        limits = {
            name: BEGIN + timedelta(minutes=minute)
            for name, minute in (("since", since), ("until", until))
            if minute is not None
        }
        chosen = [
            item
            for item in everything
            if item.tenant == "acme"
            and limits.get("since", BEGIN) <= item.started_at < limits.get("until", BEGIN + timedelta(days=1))
        ]
        assert chosen
        assert_sums(await summary(operator, "acme", **limits), chosen)


def assert_sums(found: UsageSummary, chosen: list[AttemptRecord]) -> None:
    costs = [cost(item) for item in chosen]
    assert found.attempts == len(chosen)
    assert found.requests == len({item.request_id for item in chosen})
    assert found.priced_cost_usd == sum_known(costs)
    assert found.unpriced == costs.count(None)
    assert {(row.provider, row.model) for row in found.rows} == {(item.provider, item.model) for item in chosen}
    amounts = [row.priced_cost_usd for row in found.rows]
    known = [amount for amount in amounts if amount is not None]
    assert amounts == [*sorted(known, reverse=True), *([None] * (len(amounts) - len(known)))]
    for row in found.rows:
        assert_row(row, [item for item in chosen if (item.provider, item.model) == (row.provider, row.model)])


def assert_row(row: UsageRow, mine: list[AttemptRecord]) -> None:
    amounts = [cost(item) for item in mine]
    assert row.attempts == len(mine)
    for outcome in Outcome:
        assert getattr(row, outcome.value) == sum(item.outcome is outcome for item in mine)
    for kind in TokenUsage.model_fields:
        assert getattr(row.token_usage, kind) == sum(getattr(item.token_usage, kind) for item in mine)
    assert row.priced_cost_usd == sum_known(amounts), "null where nothing is priced, never $0"
    assert row.unpriced == amounts.count(None)


async def test_a_summary_survives_absurd_records(servers: LedgerServers, operator: Bus) -> None:
    """Each fits its column and its message; the sum of the tokens would fit neither, had they not been cut."""
    most = TokenUsage(input=BIGINT_MAX)
    records = [
        attempt_record(tenant="absurd", provider="custom", model="unpriced", token_usage=most, latency_ms=BIGINT_MAX)
        for _ in range(3)
    ]
    await record(servers, records)
    found = await summary(operator, "absurd")
    assert (found.attempts, found.rows[0].token_usage) == (3, TokenUsage(input=3 * 10**9))


async def test_a_tenant_without_usage(operator: Bus) -> None:
    assert await summary(operator, "nobody") == UsageSummary(
        tenant="nobody", requests=0, attempts=0, priced_cost_usd=Decimal(0), unpriced=0, rows=[]
    )


async def test_a_period_that_ends_before_it_begins_is_refused(operator: Bus) -> None:
    for until in (BEGIN, BEGIN - timedelta(hours=1)):
        with pytest.raises(Refused, match="`until` must be later than `since`") as caught:
            await summary(operator, "acme", since=BEGIN, until=until)
        assert caught.value.refusal.code is ErrorCode.INVALID


async def test_a_time_without_a_zone_is_utc(servers: LedgerServers, operator: Bus) -> None:
    await record(servers, [attempt_record(started_at=BEGIN)])
    naive = BEGIN.replace(tzinfo=None)
    assert (await summary(operator, "acme", since=naive, until=naive + timedelta(seconds=1))).attempts == 1
    assert (await summary(operator, "acme", since=naive + timedelta(seconds=1))).attempts == 0


async def test_attempts_come_back_as_they_were_recorded(servers: LedgerServers, operator: Bus) -> None:
    failure = Failure(
        failure_class=FailureClass.OVERLOADED,
        message="try later",
        where=Where.HTTP_STATUS,
        status=529,
        retry_after_ms=7,
    )
    failed = attempt_record(
        request_id="req_1",
        outcome=Outcome.FAILED,
        failure=failure,
        finish_reason=None,
        token_usage={},
        usage_source=UsageSource.NONE,
        first_token_ms=None,
        client_token_id=None,
        tags={},
    )
    full = attempt_record(
        request_id="req_1",
        attempt_number=2,
        provider="openai",
        endpoint="main",
        origin="https://api.example:443",
        model_asked="best",
        model="gpt-4o",
        model_served="gpt-4o-2024-08-06",
        operation="chat",
        key_source=KeySource.BYOK,
        key_id="key_1",
        token_usage={"input": 1, "cached_read": 2, "output": 3, "reasoning": 4},
        reported_cost_usd="123.000000000001",
        tags={"team": "blue", "weather": "☃ ü"},
        traceparent=TRACEPARENT,
        started_at=datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC),
    )
    await record(servers, [full, failed, attempt_record(request_id="req_1", tenant="other")])
    question = GetAttempts(tenant="acme", request_id="req_1")
    rows = (await operator.ask(ATTEMPT_LIST, question, timeout_seconds=10)).rows
    assert [row.record for row in rows] == [failed, full]
    assert [(row.pricing, row.cost_usd, row.price_version, row.trace_id) for row in rows] == [
        ("free", 0, None, None),
        ("priced", Decimal("0.000075"), package.VERSION, "0af7651916cd43dd8448eb211c80319c"),
    ]
    assert all(timedelta(0) <= datetime.now(UTC) - row.recorded_at < timedelta(minutes=5) for row in rows)
    assert servers.query("SELECT failure_class FROM usage_ledger.attempts WHERE failure IS NOT NULL") == [
        ("overloaded",)
    ]
    nothing = GetAttempts(tenant="acme", request_id="req_2")
    assert (await operator.ask(ATTEMPT_LIST, nothing, timeout_seconds=10)).rows == []


async def test_decisions(servers: LedgerServers, operator: Bus) -> None:
    first = decision_record(request_id="req_1", traceparent=TRACEPARENT)
    later = decision_record(
        request_id="req_1",
        decided_at=first.decided_at - timedelta(seconds=1),  # by a machine whose clock is behind
        attempt_number=2,
    )
    foreign = decision_record(request_id="req_1", tenant="other", decided_at=first.decided_at + timedelta(seconds=2))
    question = GetDecision(tenant="acme", request_id="req_1")

    async def decision() -> Decision:
        return await operator.ask(DECISION_GET, question, timeout_seconds=10)

    assert await decision() == Decision(record=None)
    for lines in ([first.encode()], [first.encode()], [later.encode(), first.encode(), foreign.encode()]):
        await servers.decide(lines)
    count = "SELECT count(*) FROM usage_ledger.decisions"
    await eventually("all are recorded", lambda: servers.query(count) == [(3,)])
    assert await decision() == Decision(record=first, later=[later])


async def test_past_decisions_are_listed_newest_first_with_their_attempts(
    servers: LedgerServers, operator: Bus
) -> None:
    made = [
        decision_record(
            request_id=f"req_{number}",
            decided_at=BEGIN + timedelta(minutes=number // 2),
            operation="code",
            tags={"a": "b"},
            power_level="precision",
            asked_level="eco",
        )
        for number in range(7)
    ]
    again = decision_record(request_id="req_6", decided_at=BEGIN + timedelta(hours=1), attempt_number=2)
    foreign = decision_record(tenant="other", decided_at=BEGIN + timedelta(minutes=1))
    await record(servers, [attempt_record(request_id="req_6", attempt_number=n, latency_ms=n) for n in (2, 1)])
    await servers.decide([each.encode() for each in (*made, again, foreign)])
    count = "SELECT count(*) FROM usage_ledger.decisions"
    await eventually("all are recorded", lambda: servers.query(count) == [(9,)])
    async with servers.installation.connected(Role.ROUTER) as router:

        async def page(**query: object) -> PastDecisions:
            return await router.ask(DECISION_LIST, ListDecisions.model_validate(query), timeout_seconds=10)

        found: list[PastDecision] = []
        after = None
        while True:
            part = await page(tenant="acme", limit=3, after=after)
            found += part.decisions
            after = part.next
            if after is None:
                break
        newest_first = sorted(made, key=lambda each: (each.decided_at, each.decision_id), reverse=True)
        assert [each.decision_id for each in found] == [each.decision_id for each in newest_first]
        assert [(each.latency_ms, each.token_usage) for each in found[0].attempts] == [
            (1, TokenUsage(input=10, output=5)),
            (2, TokenUsage(input=10, output=5)),
        ]
        assert (found[0].operation, found[0].asked_level, found[0].tags, found[0].refused, found[1].attempts) == (
            "code",
            "eco",
            {"a": "b"},
            False,
            [],
        )
        window = await page(tenant="acme", since=BEGIN + timedelta(minutes=1), until=BEGIN + timedelta(minutes=2))
        assert {each.request_id for each in window.decisions} == {"req_2", "req_3"}
        assert len((await page()).decisions) == 8
        assert (await page(tenant="acme", after="dec_nothing")).decisions == []


async def test_an_outage_is_reported(servers: LedgerServers, operator: Bus) -> None:
    database = servers.database()
    servers.query(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false", "postgres")
    servers.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'", "postgres")
    with pytest.raises(Refused, match="cannot reach its database: try again") as caught:
        await summary(operator, "acme")
    assert caught.value.refusal.code is ErrorCode.UNAVAILABLE
    servers.query(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true", "postgres")
    assert (await summary(operator, "acme")).attempts == 0
