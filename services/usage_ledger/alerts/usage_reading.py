"""Reads the usage that a tenant's alert rules look at, from the rollups."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.alert_metrics import AlertMetric
from keyferry.contracts.alert_rules import AlertRule, AlertRuleTerms
from keyferry.contracts.text import BIGINT_MAX
from services.usage_ledger.alerts.figures import WatchedUsage
from services.usage_ledger.alerts.tenant_usage import (
    KEY_HISTORY_QUARTERS,
    KNOWN_FOR_DAYS,
    TenantUsage,
    UsageCell,
    conditions,
    is_compared,
    needs_usage,
    quarter_days,
    watches_new_uses,
)
from services.usage_ledger.alerts.windows import QUARTERS_OF_DAY, QUARTERS_OF_HOUR, compared_hours
from services.usage_ledger.analytics.periods import floor_quarter
from services.usage_ledger.analytics.rollup_sql import ALL_VALUES, DAY, MODEL_VALUES, TAG_VALUES
from services.usage_ledger.database import TOKEN_KINDS

_TOKENS = " + ".join(f"coalesce({kind}_tokens, 0)" for kind in TOKEN_KINDS)
_TAG_COLUMNS = ("tag_name", "tag_value")
_OF_KEY_USE = ("key_id", "model", "client_token_id", "provider")
_SOURCE = """
FROM usage_ledger.usage_rollups AS r JOIN usage_ledger.usage_values AS v USING (values_id)
WHERE r.tenant = :tenant AND {picked}
"""
_SUMS = f"""
sum(coalesce(r.requests, 0))::bigint AS requests, sum({_TOKENS}) AS tokens, sum(coalesce(r.spend_micro_usd, 0)) AS spend,
sum(coalesce(r.attempts, 0))::bigint AS attempts,
sum(coalesce(r.attempts, 0)) FILTER (WHERE v.outcome = 'failed')::bigint AS failed
"""
_LATENCY = """
, unnest(r.latency) AS sketched (entry)
"""
_ALL = f"""
(r.grain = {ALL_VALUES} AND r.bucket >= :since AND r.bucket / {QUARTERS_OF_DAY} = ANY(CAST(:days AS integer[]))
    OR r.grain = {ALL_VALUES + DAY} AND r.bucket >= :since AND r.bucket / {QUARTERS_OF_DAY} <> ALL(CAST(:days AS integer[])))
"""
"""The days that are needed by quarter hour, and the others as wholes."""
_RECENT = f"r.grain = {ALL_VALUES} AND r.bucket >= :since AND r.bucket < :until"
_HOURS = "r.grain = {grain} AND r.bucket = ANY(CAST(:quarters AS integer[]))"
_RECENT_TAGS = f"r.grain = {TAG_VALUES} AND r.bucket >= :since AND r.bucket < :until"
_FIRST = text(f"""
SELECT min(bucket) FROM usage_ledger.usage_rollups WHERE tenant = :tenant AND grain = {MODEL_VALUES}
""")  # noqa: S608 - a number
_CALLERS = text(f"""
SELECT DISTINCT r.tenant FROM usage_ledger.usage_rollups AS r JOIN usage_ledger.usage_values AS v USING (values_id)
WHERE r.bucket >= :since AND r.grain = {MODEL_VALUES} AND v.provider = ANY(:providers)
""")  # noqa: S608
_USES = text(f"""
SELECT v.key_id, v.model, v.client_token_id, min(r.bucket) AS first
FROM usage_ledger.usage_rollups AS r JOIN usage_ledger.usage_values AS v USING (values_id)
WHERE r.tenant = :tenant AND r.grain = {ALL_VALUES + DAY} AND r.bucket >= :since AND v.key_id IS NOT NULL
GROUP BY 1, 2, 3
""")  # noqa: S608


async def load_usage(
    connection: AsyncConnection, tenant: str, rules: Sequence[AlertRule], now: datetime, zone: ZoneInfo
) -> TenantUsage:
    """Return everything of a tenant's usage that its rules look at."""
    watched = [rule for rule in rules if needs_usage(rule)]
    usage = TenantUsage(rules=watched)
    if not watched:
        return usage
    since, days = quarter_days(watched, now, zone)
    usage.kept_from = (floor_quarter(now) // QUARTERS_OF_DAY - 1) * QUARTERS_OF_DAY
    cells = await read_cells(connection, tenant, watched, _ALL, {"since": since, "days": sorted(days)})
    cells += await _read_tags(connection, tenant, watched, since)
    usage.take(0, cells)
    usage.first_quarter = await read_first(connection, tenant)
    if any(map(watches_new_uses, watched)):
        usage.remember_uses(await read_uses(connection, tenant, now))
    return usage


async def renew_usage(connection: AsyncConnection, tenant: str, usage: TenantUsage, since: int) -> None:
    """Read the quarter hours from `since` on again, which is not before `usage.kept_from`."""
    values = {"since": since, "until": BIGINT_MAX}
    cells = await read_cells(connection, tenant, usage.rules, _RECENT, values)
    usage.take(since, cells + await _read_tags(connection, tenant, usage.rules, since))
    if usage.first_quarter is None:
        usage.first_quarter = await read_first(connection, tenant)


async def renew_history(
    connection: AsyncConnection, tenant: str, usage: TenantUsage, now: datetime, zone: ZoneInfo
) -> None:
    """Read the hours that the current one is compared with, unless they are there."""
    rules = [rule for rule in usage.rules if is_compared(rule)]
    hours = [hour.since for hour in compared_hours(now, zone)]
    if rules and usage.history.keys() != set(hours):
        usage.history = await read_hours(connection, tenant, rules, hours)


async def read_first(connection: AsyncConnection, tenant: str) -> int | None:
    """Return the quarter hour since which anything is recorded of a tenant."""
    first: int | None = await connection.scalar(_FIRST, {"tenant": tenant})
    return first


async def read_callers(connection: AsyncConnection, providers: Iterable[str], since: int) -> list[str]:
    """Return the tenants that have called providers since a quarter hour."""
    return list(await connection.scalars(_CALLERS, {"providers": sorted(providers), "since": since}))


async def read_hours(
    connection: AsyncConnection, tenant: str, rules: Sequence[AlertRuleTerms], hours: Sequence[int]
) -> dict[int, list[UsageCell]]:
    """Return the usage of hours, by the quarter hours in which they begin."""
    quarters = {hour + number: hour for hour in hours for number in range(QUARTERS_OF_HOUR)}
    found: dict[int, list[UsageCell]] = {hour: [] for hour in hours}
    for grain in (ALL_VALUES, TAG_VALUES):
        of_grain = [rule for rule in rules if (rule.scope.tag is not None) == (grain == TAG_VALUES)]
        if of_grain:
            picked = _HOURS.format(grain=grain)
            for cell in await read_cells(connection, tenant, of_grain, picked, {"quarters": list(quarters)}):
                found[quarters[cell.quarter]].append(cell)
    return found


async def read_span(
    connection: AsyncConnection, tenant: str, rule: AlertRuleTerms, since: int, until: int
) -> list[UsageCell]:
    """Return a span of usage by quarter hour, as one rule looks at it."""
    picked = _RECENT if rule.scope.tag is None else _RECENT_TAGS
    return await read_cells(connection, tenant, [rule], picked, {"since": since, "until": until})


async def read_uses(connection: AsyncConnection, tenant: str, now: datetime) -> list[tuple[str, str, str, int]]:
    """Return with what keys were used since when, of the time in which something counts as known."""
    since = floor_quarter(now) - KNOWN_FOR_DAYS * QUARTERS_OF_DAY - KEY_HISTORY_QUARTERS
    rows = await connection.execute(_USES, {"tenant": tenant, "since": since})
    return [
        (row.key_id, column, value, row.first)
        for row in rows
        for column, value in (("model", row.model), ("client_token_id", row.client_token_id))
        if value is not None
    ]


async def _read_tags(
    connection: AsyncConnection, tenant: str, rules: Iterable[AlertRule], since: int
) -> list[UsageCell]:
    by_tag = [rule for rule in rules if rule.scope.tag is not None]
    if not by_tag:
        return []
    return await read_cells(connection, tenant, by_tag, _RECENT_TAGS, {"since": since, "until": BIGINT_MAX})


async def read_cells(
    connection: AsyncConnection, tenant: str, rules: Sequence[AlertRuleTerms], picked: str, values: dict[str, Any]
) -> list[UsageCell]:
    """Return the usage that `picked` selects, added up over all values but those that these rules look at."""
    by_tag = TAG_VALUES in _grains(picked)
    columns = _columns(rules, by_tag=by_tag)
    keys = ", ".join(("r.bucket", *(f"v.{column}" for column in columns)))
    source = _SOURCE.format(picked=picked)
    statement = text(f"SELECT {keys}, {_SUMS} {source} GROUP BY {keys}")
    found: dict[tuple[Any, ...], WatchedUsage] = {}
    for row in await connection.execute(statement, values | {"tenant": tenant}):
        key = tuple(row[: len(columns) + 1])
        found[key] = WatchedUsage(row.requests, int(row.tokens), int(row.spend), row.attempts, row.failed or 0)
    if any(rule.metric is AlertMetric.LATENCY_P95 for rule in rules) and not by_tag:
        await _add_latencies(connection, keys, len(columns), picked, values | {"tenant": tenant}, found)
    return [
        UsageCell(key[0], dict(zip(columns, key[1:], strict=True)), usage, by_tag=by_tag)
        for key, usage in found.items()
    ]


async def _add_latencies(
    connection: AsyncConnection,
    keys: str,
    columns: int,
    picked: str,
    values: dict[str, Any],
    found: dict[tuple[Any, ...], WatchedUsage],
) -> None:
    source = _SOURCE.replace("WHERE", f"{_LATENCY} WHERE v.outcome = 'completed' AND").format(picked=picked)
    statement = text(
        f"SELECT {keys}, (entry & 1023)::integer - 1 AS place, sum(entry >> 10)::bigint AS number"
        f" {source} GROUP BY {keys}, place"
    )
    for row in await connection.execute(statement, values):
        found[tuple(row[: columns + 1])].latencies[row.place] = row.number


def _columns(rules: Sequence[AlertRuleTerms], *, by_tag: bool) -> list[str]:
    """Return the columns that rules look at."""
    of_kind = [rule for rule in rules if (rule.scope.tag is not None) == by_tag]
    found = {column for rule in of_kind for column, _ in conditions(rule.scope)}
    if by_tag:
        return sorted(found | set(_TAG_COLUMNS))
    key_use = any(rule.metric.startswith("key_") for rule in of_kind)
    return sorted(found | (set(_OF_KEY_USE) if key_use else set()))


def _grains(picked: str) -> set[int]:
    return {TAG_VALUES} if f"grain = {TAG_VALUES} " in picked else {ALL_VALUES}
