"""In every zone the days of a range add up to the range, and both to the attempts, however these were recorded."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from keyferry.contracts.analytics import BreakDownUsage, BucketLength, Dimension, ListSeries, SummarizeAnalytics
from keyferry.contracts.analytics_answers import UsageFigures
from keyferry.contracts.usage import KeySource, LedgerRow, Outcome, TokenUsage
from tests.integration.usage_ledger.analytics.conftest import AnalyticsLedger, ledger_row
from tests.support.ledger.attempt_records import attempt_record

SPANS = [
    ("Europe/Berlin", "2026-03-28", "2026-03-31"),
    ("Europe/Berlin", "2026-10-24", "2026-10-27"),
    ("Asia/Kolkata", "2026-05-01", "2026-05-04"),
    ("Asia/Kathmandu", "2026-05-01", "2026-05-04"),
    ("Australia/Lord_Howe", "2026-04-04", "2026-04-07"),
    ("Australia/Lord_Howe", "2026-10-03", "2026-10-06"),
    ("Africa/Cairo", "2026-04-23", "2026-04-26"),
    ("America/St_Johns", "2026-03-07", "2026-03-10"),
    ("America/Havana", "2026-10-31", "2026-11-03"),
    ("Pacific/Apia", "2011-12-28", "2012-01-02"),
    ("UTC", "2026-02-26", "2026-03-02"),
]
SPLITS = (Dimension.MODEL, Dimension.TEAM, Dimension.TAG)
ATTEMPTS = 100


def random_rows(chance: random.Random, since: datetime, until: datetime) -> list[LedgerRow]:
    """Attempts of requests that took one to three, many around midnights and many at a quarter hour."""
    rows: list[LedgerRow] = []
    seconds = int((until - since).total_seconds())
    number = 0
    while len(rows) < ATTEMPTS:
        number += 1
        began = since + timedelta(seconds=chance.randrange(-7200, seconds + 7200))
        if chance.random() < 0.3:
            began = began.replace(minute=chance.choice((0, 15, 30, 45)), second=0, microsecond=0)
        for attempt in range(1, chance.choice((1, 1, 1, 2, 3)) + 1):
            own = chance.random() < 0.4
            unpriced = chance.random() < 0.1
            record = attempt_record(
                request_id=f"req_{number}",
                attempt_number=attempt,
                started_at=began,
                provider=chance.choice(("openai", "anthropic")),
                model=chance.choice(("small", "large")),
                operation=chance.choice((None, "chat", "search")),
                team=chance.choice((None, "red", "blue")),
                key_source=KeySource.BYOK if own else KeySource.PLATFORM,
                outcome=chance.choice(list(Outcome)),
                token_usage=TokenUsage(input=chance.randrange(5000), output=chance.randrange(500)),
                latency_ms=chance.randrange(90_000),
                first_token_ms=chance.choice((None, chance.randrange(9_000))),
                tags={"project": chance.choice("abc")} if chance.random() < 0.7 else {},
            )
            charge = None if own or unpriced else chance.randrange(10**6)
            cost = None if unpriced else f"0.{chance.randrange(10**12):012}"
            spend = None if unpriced else chance.randrange(10**6)
            rows.append(ledger_row(record, cost, charge_micro_usd=charge, spend_micro_usd=spend))
            began += timedelta(minutes=chance.choice((0, 1, 20)))
    return rows


def expected(rows: Sequence[LedgerRow], all_rows: Sequence[LedgerRow]) -> tuple[object, ...]:
    """What figures should be, from attempts alone."""
    first: dict[str, tuple[int, str]] = {}
    for row in all_rows:
        place = (row.record.attempt_number, row.record.attempt_id)
        first[row.record.request_id] = min(first.get(row.record.request_id, place), place)
    counted = [row for row in rows if first[row.record.request_id][1] == row.record.attempt_id]
    costs = [row.cost_usd for row in rows if row.cost_usd is not None]
    spends = [row.spend_micro_usd for row in rows if row.spend_micro_usd is not None]
    return (
        len(counted),
        len(rows),
        sum(row.record.outcome is Outcome.FAILED for row in rows),
        sum(row.record.token_usage.total for row in rows),
        sum(costs, Decimal(0)) if costs or not rows else None,
        len(rows) - len(costs),
        sum(row.charge_micro_usd or 0 for row in rows),
        sum(spends) if spends or not rows else None,
    )


def found(figures: UsageFigures) -> tuple[object, ...]:
    return (
        figures.requests,
        figures.attempts,
        figures.failed,
        figures.total_tokens,
        figures.cost_usd,
        figures.unpriced,
        figures.charge_micro_usd,
        figures.spend_micro_usd,
    )


async def test_days_add_up_in_every_zone(ledger: AnalyticsLedger) -> None:
    for seed, (tz, first, last) in enumerate(SPANS):
        zone, tenant = ZoneInfo(tz), f"t{seed}"
        since, until = (datetime.fromisoformat(each).replace(tzinfo=zone).astimezone(UTC) for each in (first, last))
        chance = random.Random(seed)
        rows = [
            row.model_copy(update={"record": row.record.model_copy(update={"tenant": tenant})})
            for row in random_rows(chance, since, until)
        ]
        shuffled = chance.sample(rows, len(rows))
        for start in range(0, len(rows), 60):
            await ledger.record(shuffled[start : start + 60] + chance.sample(shuffled, 5))
        inside = [row for row in rows if since <= row.record.started_at < until]
        query = {"tenant": tenant, "tz": tz, "since": since, "until": until}

        summary = await ledger.reports.summarize(SummarizeAnalytics.model_validate(query))
        assert found(summary.total) == expected(inside, rows), tz
        platform = [row for row in inside if row.record.key_source is KeySource.PLATFORM]
        assert found(summary.platform_keys) == expected(platform, rows), tz
        assert summary.platform_keys.charge_micro_usd == summary.total.charge_micro_usd

        for bucket in BucketLength:
            for by in (None, SPLITS[(seed + len(bucket)) % len(SPLITS)]):
                values = query | {
                    "bucket": bucket,
                    "by": by,
                    "tag": "project" if by is Dimension.TAG else None,
                    "lines": 1,
                }
                series = await ledger.reports.list_series(ListSeries.model_validate(values))
                assert sum(line.total.requests for line in series.lines) == summary.total.requests
                for position, span in enumerate(series.buckets):
                    points = [line.points[position] for line in series.lines]
                    within = [row for row in rows if span.start <= row.record.started_at < span.end]
                    assert sum(point.attempts for point in points) == len(within), (tz, bucket, by, span)
                    if by is None:
                        assert found(points[0]) == expected(within, rows), (tz, bucket, span)
                if bucket is BucketLength.DAY:
                    assert all(
                        span.start.astimezone(zone).date() != span.end.astimezone(zone).date()
                        for span in series.buckets
                    )

        everything = await ledger.reports.summarize(SummarizeAnalytics(tenant=tenant, tz=tz, period="all"))
        assert found(everything.total) == expected(rows, rows)
    assert await ledger.rebuild.check() == []


@pytest.mark.parametrize(
    "by", [[Dimension.MODEL], [Dimension.TEAM, Dimension.OPERATION], [Dimension.TAG], [Dimension.ERROR_CLASS]]
)
async def test_a_breakdown_adds_up(ledger: AnalyticsLedger, by: list[Dimension]) -> None:
    since, until = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 3, tzinfo=UTC)
    rows = random_rows(random.Random(7), since, until)
    await ledger.record(rows)
    tag = "project" if Dimension.TAG in by else None
    query = BreakDownUsage(tenant="acme", since=since, until=until, by=by, tag=tag, limit=2)
    answer = await ledger.reports.break_down(query)
    inside = [row for row in rows if since <= row.record.started_at < until]
    assert found(answer.total) == expected(inside, rows)
    parts = [row.figures for row in answer.rows] + ([answer.rest] if answer.rest else [])
    assert sum(part.requests for part in parts) == answer.total.requests
    assert sum(part.attempts for part in parts) == answer.total.attempts
    assert sum((part.cost_usd or Decimal(0) for part in parts), Decimal(0)) == answer.total.cost_usd
