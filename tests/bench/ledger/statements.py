"""Timings of a statement of a month with a million attempts of one tenant.

The attempts stay, since a statement compares those that began in a month with those that were recorded in it.
"""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine

from keyferry.contracts.statements import GetStatement, Statement
from keyferry.contracts.tenancy import Tenant, Tier
from services.usage_ledger.statements.month_store import StatementMonthStore
from services.usage_ledger.statements.reports import StatementReports
from tests.bench.failure import BenchError
from tests.bench.keys.timing import Timing, timing
from tests.bench.ledger.summaries import fill
from tests.support.servers.migrated_database import migrated_database

STATEMENT = "ledger-statement-1m"
_ATTEMPTS, _DAYS, _SAMPLES = 1_000_000, 31, 100
_LAST_DAY = datetime(2026, 10, 31, 12, tzinfo=UTC)
_NOW = datetime(2026, 11, 29, 9, 40, tzinfo=UTC)
_TENANT = Tenant(tenant="acme", name="Acme", tier=Tier.PROFESSIONAL, time_zone="Europe/Berlin")


def measure(name: str, directory: Path) -> list[Timing]:
    """Time statements of October in Berlin.

    Raises:
        BenchError: a statement is not about all attempts of the month.
    """
    return asyncio.run(_measure(name, directory))


async def _measure(name: str, directory: Path) -> list[Timing]:
    database = migrated_database(directory, "usage_ledger")
    engine = create_async_engine(database.url_files["usage_ledger"].read_text())
    try:
        await fill(engine, _ATTEMPTS, _DAYS, tenant=_TENANT.tenant, now=_LAST_DAY, keep_attempts=True)
        reports = StatementReports(StatementMonthStore(engine), engine, lambda: _NOW, lambda: None)
        query = GetStatement(tenant=_TENANT.tenant, month="2026-10")
        durations_ns, began = [], time.perf_counter()
        for _ in range(_SAMPLES):
            started = time.perf_counter_ns()
            _check(name, await reports.get(_TENANT, query))
            durations_ns.append(time.perf_counter_ns() - started)
        return [timing(name, durations_ns, time.perf_counter() - began)]
    finally:
        await engine.dispose()


def _check(name: str, answer: Statement) -> None:
    # An hour of October in Berlin is of September in UTC, of which nothing is generated.
    if answer.total.attempts < _ATTEMPTS * 99 // 100 or sum(row.figures.attempts for row in answer.lines) == 0:
        raise BenchError(f"{name}: the statement is about {answer.total.attempts} attempts only.")
