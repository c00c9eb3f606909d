"""Figures about all tenants together, for operators."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from keyferry.contracts.analytics import ComputeSavings, Dimension
from keyferry.contracts.credit import MICRO
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.money import bounded
from keyferry.contracts.operator_analytics import (
    AnalyzeInstallation,
    FailedClass,
    InstallationAnalytics,
    KeySourceShare,
    ModelDiversity,
    Onboarding,
    OwnKeyFailures,
    PlatformKeyMargin,
    TierAdoption,
    UsageShare,
)
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.usage import KeySource
from services.usage_ledger.analytics import installation_sql as sql
from services.usage_ledger.analytics.diversity import effective_number, median
from services.usage_ledger.analytics.estimates import UsageEstimates
from services.usage_ledger.analytics.figures import Sums, add_up, sums_of
from services.usage_ledger.analytics.query_sql import RollupSelection, RollupSource, source_of
from services.usage_ledger.analytics.reports import Reading, UsageReports
from services.usage_ledger.analytics.snapshot import RollupSnapshot

_OPENROUTER = "openrouter"
_OWN = (KeySource.BYOK, KeySource.CUSTOM)


class InstallationReports:
    """Answers about all tenants. Methods raise DatabaseUnavailable, InvalidSpan and QueryTooLong."""

    def __init__(self, reports: UsageReports, estimates: UsageEstimates) -> None:
        self._reports = reports
        self._estimates = estimates

    async def analyze(self, query: AnalyzeInstallation) -> InstallationAnalytics:
        """Return the figures of a span."""
        async with self._reports.reading(query) as reading:
            answer = await self._answer(reading)
        span = {name: getattr(query, name) for name in ("period", "since", "until", "tz")}
        savings = await self._estimates.compute_savings(ComputeSavings(**span))
        return InstallationAnalytics(**reading.about, **answer, savings=savings)

    async def _answer(self, reading: Reading) -> dict[str, Any]:
        snapshot = reading.snapshot
        # The rows of the providers' side are the fewest; tiers are in those of all values alone.
        few = source_of(RollupSelection(None, {}, {}, (Dimension.KEY_SOURCE,)), reading.span, whole_days=True)
        whole = source_of(RollupSelection(None, {}, {}, (Dimension.TIER,)), reading.span, whole_days=True)
        by_source = {row["key_source"]: row for row in await _rows(snapshot, sql.by_key_source, few)}
        sums = {name: sums_of(row) for name, row in by_source.items()}
        total = add_up(sums.values())
        requests, attempts = int(total["requests"]), int(total["attempts"])
        (tenants,) = await _rows(snapshot, sql.tenants, few)
        (openrouter,) = await _rows(snapshot, sql.of_provider, few, provider=_OPENROUTER)
        return {
            "tenants": tenants["tenants"],
            "requests": requests,
            "attempts": attempts,
            "key_sources": [
                KeySourceShare(key_source=KeySource(name), **_share(by_source[name], requests))
                for name in sorted(by_source, key=lambda name: -sums[name]["requests"])
            ],
            "tiers": [_adoption(row) for row in await _rows(snapshot, sql.by_tier, whole)],
            "openrouter": UsageShare(**_share(openrouter, requests)),
            "onboarding": await _onboarding(snapshot, reading),
            "models": _diversity(await _rows(snapshot, sql.completed_by_model, few)),
            "own_keys": _own_failures(sums, await _rows(snapshot, sql.own_failures, few)),
            "margin": _margin(sums),
        }


async def _rows(
    snapshot: RollupSnapshot, select: Callable[[RollupSource], str], source: RollupSource, **values: object
) -> list[dict[str, Any]]:
    return await snapshot.rows(select(source), {**source.parameters, **values})


def _share(row: Mapping[str, Any], requests: int) -> dict[str, Any]:
    own = int(row["requests"] or 0)
    return {
        "tenants": row["tenants"],
        "requests": own,
        "attempts": int(row["attempts"] or 0),
        "requests_permille": permille(own, requests),
    }


def permille(part: int, whole: int) -> int | None:
    """Return a share in thousandths, rounded half up; None of nothing."""
    return (part * 1000 + whole // 2) // whole if whole else None


def _adoption(row: Mapping[str, Any]) -> TierAdoption:
    return TierAdoption(
        tier=Tier(row["tier"]) if row["tier"] else None,
        tenants=row["tenants"],
        tenants_with_own_keys=row["own_tenants"],
        adoption_permille=permille(row["own_tenants"], row["tenants"]) or 0,
        requests=int(row["requests"] or 0),
        own_key_requests=int(row["own_requests"] or 0),
    )


async def _onboarding(snapshot: RollupSnapshot, reading: Reading) -> Onboarding:
    since, until = reading.span.bounds
    rows = await snapshot.rows(sql.ONBOARDING, {"created_since": since, "created_until": until})
    to_key = [_seconds(row, "key_at") for row in rows if row["key_at"] is not None]
    to_request = [_seconds(row, "request_at") for row in rows if row["request_at"] is not None]
    return Onboarding(
        tenants_created=len(rows),
        with_own_key=len(to_key),
        with_request=len(to_request),
        median_seconds_to_key=median(to_key),
        median_seconds_to_request=median(to_request),
    )


def _seconds(row: Mapping[str, Any], name: str) -> int:
    # Clocks of two processes may differ by a little.
    waited: timedelta = row[name] - row["created_at"]
    return max(0, round(waited.total_seconds()))


def _diversity(rows: Sequence[Mapping[str, Any]]) -> ModelDiversity:
    counts = [int(row["attempts"]) for row in rows if row["attempts"]]
    return ModelDiversity(
        models=len(counts), effective_models_permille=round(effective_number(counts) * 1000), attempts=sum(counts)
    )


def _own_failures(sums: Mapping[str, Sums], rows: Sequence[Mapping[str, Any]]) -> OwnKeyFailures:
    own = add_up(sums[source] for source in _OWN if source in sums)
    attempts, failed = int(own["attempts"]), int(own["failed"])
    classes = [
        FailedClass(error_class=FailureClass(row["error_class"]) if row["error_class"] else None, failed=row["failed"])
        for row in rows
    ]
    return OwnKeyFailures(attempts=attempts, failed=failed, failed_permille=permille(failed, attempts), classes=classes)


def _margin(sums: Mapping[str, Sums]) -> PlatformKeyMargin:
    platform = sums.get(KeySource.PLATFORM, Sums())
    own = add_up(sums[source] for source in _OWN if source in sums)
    earned = Decimal(int(platform["charge_micro_usd"]) + int(own["charge_micro_usd"])) / MICRO
    cost = platform.cost_usd
    return PlatformKeyMargin(
        attempts=int(platform["attempts"]),
        cost_usd=bounded(cost),
        unpriced=int(platform["unpriced"]),
        charge_micro_usd=int(platform["charge_micro_usd"]),
        absorbed_micro_usd=int(platform["absorbed_micro_usd"]),
        margin_usd=None if cost is None else bounded(earned - cost),
        own_key_fee_micro_usd=int(own["charge_micro_usd"]),
    )
