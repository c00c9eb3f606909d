"""Counts of service levels in the database: reported often, late, twice and by hostile clocks."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.service_levels import (
    MAX_PERIOD_DAYS,
    SLOT,
    GetServiceLevels,
    ReportServiceLevels,
    ServiceLevel,
    ServiceLevelName,
    Severity,
    SlotCount,
    slot_of,
)
from services.usage_ledger.service_levels.handlers import ServiceLevelHandlers
from services.usage_ledger.service_levels.store import ServiceLevelStore

NOW = datetime(2026, 11, 21, 12, 3, 20, tzinfo=UTC)
CURRENT = slot_of(NOW)
ROUTING = ServiceLevelName.ROUTING.value


class Ledger:
    """The handlers, with a clock that the test sets."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.now = NOW
        self.handlers = ServiceLevelHandlers(ServiceLevelStore(engine), lambda: self.now)

    async def report(self, *counts: SlotCount, instance: str = "inst_1") -> int:
        message = ReportServiceLevels(instance_id=instance, service="ingress", counts=list(counts))
        return (await self.handlers.record(message)).recorded

    async def level(self, days: int = 30) -> ServiceLevel:
        found = await self.handlers.get(GetServiceLevels(days=days))
        return next(level for level in found.levels if level.name == ROUTING)


@pytest.fixture
async def ledger(engine: AsyncEngine) -> Ledger:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM usage_ledger.service_level_counts"))
    return Ledger(engine)


def count(slot: datetime, good: int, bad: int = 0, level: str = ROUTING) -> SlotCount:
    return SlotCount(level=level, slot=slot, good=good, bad=bad)


async def test_counts_of_processes_add_up_and_repeated_reports_change_nothing(ledger: Ledger) -> None:
    await ledger.report(count(CURRENT, 5))
    await ledger.report(count(CURRENT, 9, 1))
    await ledger.report(count(CURRENT, 5))  # a report that was overtaken by the one before
    await ledger.report(count(CURRENT, 9, 1), count(CURRENT - SLOT, 10))
    await ledger.report(count(CURRENT, 20, 4), instance="inst_2")
    found = await ledger.level()
    assert (found.good, found.bad) == (39, 5)


async def test_windows_and_the_period_end_where_they_say(ledger: Ledger) -> None:
    await ledger.report(count(CURRENT, 100, 20))
    await ledger.report(count(CURRENT - timedelta(minutes=40), 100, 30), instance="inst_2")
    ledger.now = NOW + timedelta(days=1)
    found = await ledger.level()
    burns = {window.minutes: window.bad for window in found.windows}
    assert burns == {5: 0, 30: 0, 60: 0, 120: 0, 360: 0, 1440: 20, 4320: 50}
    assert (await ledger.level(days=1)).bad == 20
    ledger.now = NOW
    found = await ledger.level()
    assert {window.minutes: window.bad for window in found.windows} == {
        **dict.fromkeys((5, 30), 20),
        **dict.fromkeys((60, 120, 360, 1440, 4320), 50),
    }
    assert found.alert is Severity.PAGE


async def test_what_cannot_be_right_is_left_out(ledger: Ledger) -> None:
    assert await ledger.report(count(NOW + timedelta(hours=1), 1), count(NOW - timedelta(days=3), 1)) == 0
    assert await ledger.report(count(CURRENT, 1, level="of_a_newer_build")) == 0
    assert (await ledger.level()).good == 0
    given = count(CURRENT, 1).model_dump(mode="json")
    for field, value in (("good", -1), ("bad", 2**40), ("good", True), ("level", "a\x00b"), ("slot", "never")):
        with pytest.raises(MalformedMessage):
            SlotCount.decode(json.dumps(given | {field: value}).encode())


async def test_counts_leave_after_the_longest_period(ledger: Ledger, engine: AsyncEngine) -> None:
    await ledger.report(count(CURRENT, 7))
    ledger.now = NOW + timedelta(days=MAX_PERIOD_DAYS)
    await ledger.report(count(slot_of(ledger.now), 1))
    assert (await ledger.level(MAX_PERIOD_DAYS)).good == 8
    ledger.now = NOW + timedelta(days=MAX_PERIOD_DAYS + 2)
    await ledger.report(count(slot_of(ledger.now), 1))
    async with engine.connect() as connection:
        rows = (await connection.execute(text("SELECT count(*) FROM usage_ledger.service_level_counts"))).scalar_one()
    assert rows == 2
