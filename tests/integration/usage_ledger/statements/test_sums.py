"""Whatever happens, in every zone: the sum of a statement's lines is that of the ledger and of analytics."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.analytics import BreakDownUsage, Dimension
from keyferry.contracts.analytics_answers import UsageFigures
from keyferry.contracts.statements import ReconciliationKind, Statement
from tests.integration.usage_ledger.statements.ledger import StatementLedger

FIRST = datetime(2026, 3, 27, 9, tzinfo=UTC)
ZONES = [
    ("Europe/Berlin", "America/New_York"),
    ("Australia/Lord_Howe", "Pacific/Apia"),
    ("Asia/Kathmandu", "Asia/Kathmandu"),
    ("UTC", "Pacific/Honolulu"),
]


def sums_of(all_figures: Iterable[UsageFigures | None]) -> tuple[object, ...]:
    """Return everything that adds up."""
    found = [each for each in all_figures if each is not None]
    return (
        sum(each.charge_micro_usd for each in found),
        sum((each.cost_usd or Decimal(0) for each in found), Decimal(0)),
        sum(each.attempts for each in found),
        sum(each.requests for each in found),
        sum(each.total_tokens for each in found),
        sum(each.token_usage.cached_read for each in found),
        sum(each.failed for each in found),
        sum(each.absorbed_micro_usd for each in found),
    )


def check_breakdowns(found: Statement) -> None:
    total = sums_of([found.total])
    assert sums_of([*(row.figures for row in found.lines), found.rest]) == total
    for breakdown in found.breakdowns:
        assert sums_of([*(row.figures for row in breakdown.rows), breakdown.rest]) == total, breakdown.by
    keys = [tuple((key.kind, key.value) for key in row.keys) for row in found.lines]
    assert len(set(keys)) == len(keys)


async def check_month(ledger: StatementLedger, found: Statement) -> None:
    """Compare a statement with the attempts, with the transfers and with analytics."""
    check_breakdowns(found)
    charge, cost, attempts = await ledger.current_sums(found.since, found.until)
    assert sums_of([found.total])[:3] == (charge, cost, attempts)
    account = found.account
    assert account.closing_micro_usd - account.opening_micro_usd == sum(each.amount_micro_usd for each in account.sums)
    assert account.closing_micro_usd - account.opening_micro_usd == await ledger.posted_between(
        found.since, found.until
    )
    span = {"tenant": ledger.tenant.tenant, "since": found.since, "until": found.until}
    for by, tag in (
        ([Dimension.TEAM], None),
        ([Dimension.TAG], "project"),
        ([Dimension.MODEL, Dimension.MEMBER], None),
    ):
        analytics = await ledger.usage.break_down(BreakDownUsage.model_validate(span | {"by": by, "tag": tag}))
        assert sums_of([analytics.total]) == sums_of([found.total])
    lines = found.reconciliation
    assert lines.usage_micro_usd + sum(line.amount_micro_usd for line in lines.lines) == lines.posted_micro_usd
    assert ReconciliationKind.REMOVED not in {line.kind for line in lines.lines}
    taken = {"charge", "correction"}
    assert lines.posted_micro_usd == -sum(each.amount_micro_usd for each in account.sums if each.kind.value in taken)


async def live_through(ledger: StatementLedger, chance: random.Random, then: str) -> None:
    """Use, pay and correct for four months, with a change of the zone in the middle of one."""
    while ledger.now < FIRST + timedelta(days=110):
        ledger.now += timedelta(seconds=chance.randrange(3600, 5 * 86_400))
        if chance.random() < 0.2:
            # To the very quarter hour in which a month of some zone ends.
            ledger.now = ledger.now.replace(day=1, minute=chance.choice((0, 15, 30)), second=0) + timedelta(days=31)
        if ledger.now > FIRST + timedelta(days=50) and ledger.tenant.time_zone != then:
            ledger.move_to(then)
        for _ in range(chance.randrange(1, 4)):
            await ledger.random_attempt(chance, timedelta(days=40))
        action = chance.randrange(6)
        if action == 0:
            await ledger.rerate(chance.choice(("small", "large")), str(chance.randrange(1, 9)), FIRST)
        elif action == 1:
            await ledger.buy(chance.randrange(1, 10**6))
        elif action == 2:
            await ledger.take(chance.randrange(1, 1000))


@pytest.mark.parametrize(("tz", "then"), ZONES)
async def test_lines_are_the_ledger_and_analytics(engine: AsyncEngine, tz: str, then: str) -> None:
    ledger = StatementLedger(engine, FIRST, tz)
    await ledger.grant(10**9)
    await live_through(ledger, random.Random(f"{tz} {then}"), then)
    months = (await ledger.statements()).statements[::-1]
    assert len(months) >= 4
    assert [each.opening_micro_usd for each in months] == [0, *(each.closing_micro_usd for each in months[:-1])]
    assert months[-1].closing_micro_usd == await ledger.balance()
    assert [each.since for each in months[1:]] == [each.until for each in months[:-1]]
    seen = dict.fromkeys(ReconciliationKind, 0)
    for summary in months:
        found = await ledger.statement(summary.month)
        await check_month(ledger, found)
        assert found.account.closing_micro_usd == summary.closing_micro_usd
        assert found.reconciliation.posted_micro_usd == summary.posted_micro_usd
        assert sums_of([found.total]) == sums_of([summary.usage])
        for tag in ("project", "stage"):
            tagged = await ledger.statement(summary.month, tag)
            check_breakdowns(tagged)
            assert tagged.rest is None
            assert sums_of([tagged.total]) == sums_of([found.total])
        for line in found.reconciliation.lines:
            seen[line.kind] += 1
    expected = set(ReconciliationKind) - {ReconciliationKind.REMOVED}
    assert {kind for kind, number in seen.items() if number} == expected
    begun = sum(each.usage.charge_micro_usd for each in months)
    attempts = await ledger.current_sums(FIRST - timedelta(days=400), ledger.now + timedelta(days=1))
    assert begun == attempts[0]
