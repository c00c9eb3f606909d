"""Rollups agree with the attempts whatever the order, the processes and the values, and can be computed again."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from keyferry.contracts import ids
from keyferry.contracts.analytics import (
    BreakDownUsage,
    BucketLength,
    ComputeSavings,
    Dimension,
    ListSeries,
    ListTagNames,
    SummarizeAnalytics,
)
from keyferry.contracts.analytics_answers import ValueKind
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.usage import LedgerRow, TokenUsage
from services.usage_ledger.analytics import projection
from services.usage_ledger.analytics.query_sql import RollupSelection, source_of
from services.usage_ledger.analytics.rebuild import UsageRollups
from services.usage_ledger.analytics.rollup_sql import ADD_ATTEMPTS
from tests.integration.usage_ledger.analytics.conftest import NOW, AnalyticsLedger, ledger_row
from tests.support.ledger.attempt_records import attempt_record

MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
ROWS = """
    SELECT tenant, grain, bucket, values_id, attempts, requests, unpriced, input_tokens, cost_usd, merge_sketches(latency)
    FROM usage_rollups ORDER BY 1, 2, 3, 4
"""


def attempts_of(request: str, *minutes: int) -> list[LedgerRow]:
    """Attempts of a request in order, so many minutes from midnight."""
    return [
        ledger_row(
            attempt_record(
                request_id=request,
                attempt_number=number,
                started_at=MIDNIGHT + timedelta(minutes=minute),
                model=f"m{number}",
            )
        )
        for number, minute in enumerate(minutes, start=1)
    ]


async def requests_by_day(ledger: AnalyticsLedger) -> list[int]:
    query = ListSeries(tenant="acme", since=MIDNIGHT - timedelta(days=1), until=MIDNIGHT + timedelta(days=1))
    return [point.requests for point in (await ledger.reports.list_series(query)).lines[0].points]


async def test_a_request_across_midnight_counts_on_its_first_day_even_if_that_arrives_last(
    ledger: AnalyticsLedger,
) -> None:
    first, second, third = attempts_of("req_1", -5, 5, 10)
    await ledger.record([third])
    assert await requests_by_day(ledger) == [0, 1]
    await ledger.record([second])
    assert await requests_by_day(ledger) == [0, 1]
    by_model = await ledger.reports.break_down(BreakDownUsage(tenant="acme", period="all", by=[Dimension.MODEL]))
    assert {row.keys[0].value: row.figures.requests for row in by_model.rows} == {"m2": 1, "m3": 0}
    await ledger.record([first, second, third])
    assert await requests_by_day(ledger) == [1, 0]
    assert await ledger.rebuild.check() == []


async def test_processes_that_record_attempts_of_one_request_at_once_count_it_once(ledger: AnalyticsLedger) -> None:
    rows = [row for number in range(40) for row in attempts_of(f"req_{number}", 0, 1, 2)]
    random.Random(3).shuffle(rows)
    parts = [rows[start::6] for start in range(6)]
    # Each also repeats another's attempts.
    await asyncio.gather(
        *(ledger.record(part + other[:5]) for part, other in zip(parts, parts[1:] + parts[:1], strict=True))
    )
    summary = await ledger.reports.summarize(SummarizeAnalytics(tenant="acme", period="all"))
    assert (summary.total.requests, summary.total.attempts) == (40, 120)
    assert await ledger.rebuild.check() == []


async def test_a_rebuild_makes_the_same_rows_and_a_check_finds_what_is_wrong(ledger: AnalyticsLedger) -> None:
    for number in range(5):
        await ledger.record(
            [row for each in range(20) for row in attempts_of(f"req_{number}_{each}", each * 60, each * 61)]
        )
    before = await ledger.query(ROWS)
    await ledger.query("UPDATE usage_rollups SET cost_usd = cost_usd + 1 WHERE grain = 1 AND bucket % 3 = 0")
    await ledger.query("DELETE FROM usage_rollups WHERE grain = 5")
    found = await ledger.rebuild.check()
    assert [(day.day, day.tenants) for day in found] == [(MIDNIGHT.toordinal() - 719163, ("acme",))]
    assert await ledger.rebuild.rebuild() >= 1
    assert await ledger.rebuild.check() == []
    assert await ledger.query(ROWS) == before


async def test_what_an_operator_asks_for_replaces_the_days_that_differ_and_leaves_detached_ones(
    ledger: AnalyticsLedger,
) -> None:
    await ledger.record([*attempts_of("req_1", -1440 * 25, 5), *attempts_of("req_2", 1440 * 2)])
    first_day = "SELECT cost_usd FROM usage_rollups WHERE grain = 5 ORDER BY bucket LIMIT 1"
    usage = UsageRollups(ledger.rebuild)
    assert (await usage.check()).different == 0
    end = ids.first_at(ids.ATTEMPT, round(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000))
    await ledger.query("UPDATE usage_rollups SET cost_usd = 7 WHERE grain = 5")
    damaged = await usage.check()
    assert (damaged.compared, damaged.different) == (3, 3)
    assert [each.subject for each in damaged.differences] == ["2026-10-26", "2026-11-20", "2026-11-22"]
    days = [day.day for day in await ledger.rebuild.check()]
    await ledger.query("DELETE FROM attempts WHERE started_at < '2026-11-01'")
    await ledger.query(
        "INSERT INTO detached_partitions (partition, parent, from_id, until_id, detached_at)"
        f" VALUES ('attempts_2026_10', 'attempts', '{ids.first_at(ids.ATTEMPT, 0)}', '{end}', now())"
    )
    # The days were listed before their month was detached.
    await ledger.rebuild.rebuild_days(days)
    assert await ledger.query(first_day) == [(Decimal(7),)], "what cannot be computed any more stays"
    assert (await usage.check()).model_dump(include={"compared", "different"}) == {"compared": 2, "different": 0}
    assert (await usage.rebuild()).different == 0


async def test_attempts_of_an_earlier_build_are_added_up_once(ledger: AnalyticsLedger) -> None:
    await ledger.record(attempts_of("req_1", -5, 5))
    before = await ledger.query(ROWS)
    await ledger.query("TRUNCATE usage_rollups")
    await ledger.query(
        "UPDATE usage_rollup_state SET rebuild_from = (SELECT floor(extract(epoch FROM min(started_at)) / 86400) FROM attempts)"
    )
    await ledger.rebuild.rebuild_pending()
    assert await ledger.query(ROWS) == before
    await ledger.query("TRUNCATE usage_rollups")
    await ledger.rebuild.rebuild_pending()
    assert await ledger.query(ROWS) == []


@pytest.mark.parametrize("year", [1970, 2026, 2199])
async def test_absurd_values_are_added_up_and_visible(ledger: AnalyticsLedger, year: int) -> None:
    record = attempt_record(
        started_at=datetime(year, 1, 1, tzinfo=UTC),
        latency_ms=2**63 - 1,
        first_token_ms=2**63 - 1,
        token_usage=TokenUsage(input=2**63 - 1, output=2**63 - 1),
        tags={f"t{number}": "\N{PILE OF POO}" * 200 for number in range(16)},
        model="x" * 300,
    )
    rows = [
        ledger_row(record, None),
        ledger_row(record.model_copy(update={"attempt_id": "att_2"}), "999999999999.999999999999"),
    ]
    result = await ledger.record(rows)
    assert (len(result.new), result.rejected) == (2, {})
    query = SummarizeAnalytics(tenant="acme", period="all")
    total = (await ledger.reports.summarize(query)).total
    assert (total.requests, total.attempts, total.unpriced) == (1, 2, 1)
    assert total.total_tokens == total.token_usage.input == 2**63 - 1
    assert total.latency is not None
    assert total.latency.p99_ms >= 86_400_000 * 99 // 100
    series = await ledger.reports.list_series(
        ListSeries(
            tenant="acme", since=f"{year}-01-01T00:00:00Z", until=f"{year}-01-02T00:00:00Z", bucket=BucketLength.HOUR
        )
    )
    assert series.lines[0].points[0].attempts == 2
    assert await ledger.rebuild.check() == []


async def test_too_many_values_count_as_other_and_are_marked(
    ledger: AnalyticsLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ADD_ATTEMPTS.replace("< 100000", "< 5").replace("< 105000", "< 8").replace("< 10000", "< 3")
    monkeypatch.setattr(projection, "ADD_ATTEMPTS", few)
    for number in range(30):
        record = attempt_record(
            operation=f"op{number}", tags={"ticket": str(number), f"name{number}": "x"}, started_at=NOW
        )
        await ledger.record([ledger_row(record)])
    summary = await ledger.reports.summarize(SummarizeAnalytics(tenant="acme"))
    assert summary.total.attempts == 30
    found = await ledger.reports.break_down(BreakDownUsage(tenant="acme", by=[Dimension.OPERATION], limit=100))
    kinds = {row.keys[0].kind: row.figures.attempts for row in found.rows}
    assert kinds[ValueKind.OTHER] == 25
    assert len(found.rows) == 6
    assert found.total.attempts == 30
    tickets = await ledger.reports.break_down(
        BreakDownUsage(tenant="acme", by=[Dimension.TAG], tag="ticket", limit=100)
    )
    assert sum(row.figures.attempts for row in tickets.rows) == 30
    assert len(tickets.rows) < 10
    assert len(await ledger.query("SELECT 1 FROM usage_values")) < 30
    names = (await ledger.reports.list_tag_names(ListTagNames(tenant="acme"))).names
    assert sum(name.attempts for name in names) == 60
    assert None in [name.name for name in names]


async def test_new_combinations_are_not_compared_with_each_number_of_combinations(ledger: AnalyticsLedger) -> None:
    """PostgreSQL takes either side of that join for one row, and then compares all with all."""
    values = {"ids": "att_1", "first": "att_1", "last": "att_1", "weights": "1", "requests": "1"}
    async with ledger.engine.begin() as connection:
        (plan,) = await connection.scalars(text(f"EXPLAIN (FORMAT JSON) {ADD_ATTEMPTS}"), values)
    (inserts,) = [part for part in plan[0]["Plan"]["Plans"] if part.get("Subplan Name") == "CTE admitted"]
    join = inserts["Plans"][0]
    assert join["Node Type"] != "Nested Loop"
    assert {part["Node Type"] for part in join["Plans"]}.isdisjoint({"Nested Loop"})


async def test_a_query_neither_waits_for_ingestion_nor_delays_it(ledger: AnalyticsLedger) -> None:
    await ledger.record(attempts_of("req_1", 0))
    async with ledger.engine.begin() as connection:
        # A process that records attempts, in the middle of its transaction.
        await projection.RollupProjection().apply(connection, [])
        summary = await ledger.reports.summarize(SummarizeAnalytics(tenant="acme", period="all"))
        assert summary.total.attempts == 1
    async with ledger.reports.reading(SummarizeAnalytics(tenant="acme", period="all")) as reading:
        await ledger.record(attempts_of("req_2", 1))
        again = await reading.snapshot.recorded("acme")
        assert again is not None
        assert reading.span.since == again.since


async def test_tags_with_other_values_are_answered_from_the_attempts(ledger: AnalyticsLedger) -> None:
    for number, project in enumerate(("a", "a", "b", None)):
        tags = {"stage": "test"} | ({"project": project} if project else {})
        record = attempt_record(team=f"team{number % 2}", tags=tags, started_at=NOW, model=f"m{number}")
        await ledger.record([ledger_row(record)])
    query = BreakDownUsage(
        tenant="acme", by=[Dimension.TAG, Dimension.TEAM], tag="project", tags={"stage": ["test"]}, percentiles=True
    )
    found = await ledger.reports.break_down(query)
    rows = {tuple(key.value for key in row.keys): row.figures.attempts for row in found.rows}
    assert rows == {("a", "team0"): 1, ("a", "team1"): 1, ("b", "team0"): 1, (None, "team1"): 1}
    assert all(row.figures.latency is not None for row in found.rows)
    by_model = BreakDownUsage(tenant="acme", by=[Dimension.MODEL, Dimension.TEAM], limit=2, percentiles=True)
    async with ledger.reports.reading(by_model) as reading:
        source = source_of(RollupSelection.of(by_model, by_model.by), reading.span, whole_days=True)
        shown = [("m0", "team0"), ("m3", "team1")]
        sketches = await reading.snapshot.group_percentiles(source, by_model.by, shown, only_completed=True)
        counts = [each.count for each in sketches["latency"].values()]
    assert (sorted(sketches["latency"]), counts) == (shown, [1, 1])
    assert all(row.figures.latency for row in (await ledger.reports.break_down(by_model)).rows)
    one = await ledger.reports.summarize(SummarizeAnalytics(tenant="acme", tags={"project": ["a", ""]}))
    assert one.total.attempts == 3
    assert (
        await ledger.reports.summarize(SummarizeAnalytics(tenant="acme", tags={"project": ["a"]}))
    ).total.attempts == 2
    by_project = {"by": [Dimension.TAG], "tag": "project"}
    filtered = BreakDownUsage(tenant="acme", tags={"project": ["a"]}, **by_project)
    found = await ledger.reports.break_down(filtered)
    assert ([(row.keys[0].value, row.figures.attempts) for row in found.rows], found.total.attempts) == ([("a", 2)], 2)
    line = ListSeries(tenant="acme", tags={"project": ["a"]}, by=Dimension.TAG, tag="project")
    assert [each.total.attempts for each in (await ledger.reports.list_series(line)).lines] == [2]
    few = await ledger.reports.break_down(BreakDownUsage(tenant="acme", limit=1, **by_project))
    assert (len(few.rows), few.rest_count, few.rest and few.rest.attempts) == (1, 2, 2)
    untagged = await ledger.reports.break_down(BreakDownUsage(tenant="acme", by=[Dimension.TAG], tag="project"))
    assert [(row.keys[0].value, row.figures.attempts) for row in untagged.rows] == [("a", 2), ("b", 1), (None, 1)]


async def test_savings_are_by_the_tier_and_level_of_each_attempt(ledger: AnalyticsLedger) -> None:
    terms = ((Tier.PROFESSIONAL, PowerLevel.PRECISION), (Tier.STARTER, PowerLevel.ECO))
    for tier, level in terms:
        record = attempt_record(
            key_source="byok", key_id="key_1", tier=tier, charged_level=level, started_at=NOW, tags={"stage": "test"}
        )
        await ledger.record([ledger_row(record, "1")])
    # 1 x 1.0 x 1.6 and 1 x 0.1 x 1.4
    for tags in ({}, {"stage": ["test"]}):
        savings = await ledger.estimates.compute_savings(ComputeSavings(tenant="acme", tags=tags))
        assert (savings.own_cost_usd, savings.platform_price_usd) == (Decimal(2), Decimal("1.74"))
