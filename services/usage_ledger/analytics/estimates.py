"""Answers that compute something from usage: what was saved, and what the month will come to."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

from keyferry.billing.plan import FACTOR_PLACES, BillingPlan
from keyferry.contracts.analytics import AnalyticsQuery, BucketLength, ComputeSavings, Dimension, ForecastUsage
from keyferry.contracts.analytics_answers import ForecastRange, UsageForecast, UsageSavings
from keyferry.contracts.credit import MICRO
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.money import PLACES, bounded
from keyferry.contracts.tenancy import Tier
from keyferry.pricing.tariff import Tariff
from services.usage_ledger.analytics.figures import Sums, add_up, sums_of
from services.usage_ledger.analytics.forecast import MAX_DAYS, forecast
from services.usage_ledger.analytics.periods import QuarterSpan, buckets, midnight, moment
from services.usage_ledger.analytics.query_sql import SUMS, RollupSelection, RollupSource, source_of
from services.usage_ledger.analytics.reports import Reading, UsageReports
from services.usage_ledger.database import TOKEN_KINDS
from services.usage_ledger.pricing import Prices

_QUANTUM = Decimal(1).scaleb(-PLACES)
_DIGITS = 100
_DAY_SECONDS = 86_400


class UsageEstimates:
    """Answers from rollups, prices and the billing plan. Methods raise DatabaseUnavailable, InvalidSpan and QueryTooLong."""

    def __init__(self, reports: UsageReports, prices: Prices, plan: BillingPlan) -> None:
        self._reports = reports
        self._prices = prices
        self._plan = plan

    async def compute_savings(self, query: ComputeSavings) -> UsageSavings:
        """Return what own keys saved, and what a baseline model would have cost."""
        async with self._reports.reading(query) as reading:
            # Of the rollups only those of all values have tiers and levels.
            source = source_of(RollupSelection.of(query, (Dimension.TIER,)), reading.span, whole_days=True)
            by_terms = await self._own_by_terms(reading, source)
            own = add_up(by_terms.values())
            found: dict[str, Any] = {
                "own_key_attempts": int(own["attempts"]),
                "own_cost_usd": bounded(own.cost_usd),
                "own_fee_micro_usd": int(own["charge_micro_usd"]),
                "uncounted": int(own["unpriced"]),
            }
            with localcontext(prec=_DIGITS):
                if own.cost_usd is not None:
                    price = self._platform_price(by_terms)
                    saved = price - own.cost_usd - Decimal(own["charge_micro_usd"]) / MICRO
                    found |= {"platform_price_usd": bounded(price), "saved_usd": bounded(saved)}
                if query.baseline_provider is not None and query.baseline_model is not None:
                    names = (query.baseline_provider, query.baseline_model)
                    found |= await self._baseline(reading, source, names, reading.about["as_of"])
            return UsageSavings(**reading.about, **found)

    async def _own_by_terms(self, reading: Reading, source: RollupSource) -> dict[tuple[str | None, str | None], Sums]:
        sql = f"""
        SELECT tier, charged_level, {SUMS} FROM ({source.sql}) AS found WHERE key_source IN ('byok', 'custom')
        GROUP BY 1, 2"""  # noqa: S608
        rows = await reading.snapshot.rows(sql, source.parameters)
        return {(row["tier"], row["charged_level"]): sums_of(row) for row in rows}

    def _platform_price(self, by_terms: dict[tuple[str | None, str | None], Sums]) -> Decimal:
        price = Decimal(0)
        for (tier, level), sums in by_terms.items():
            terms = (PowerLevel(level) if level else None, Tier(tier) if tier else None)
            price += Decimal(sums["cost_usd"]) * self._plan.factors[terms]
        return price.scaleb(-FACTOR_PLACES).quantize(_QUANTUM, ROUND_HALF_UP)

    async def _baseline(
        self, reading: Reading, source: RollupSource, names: tuple[str, str], now: datetime
    ) -> dict[str, Any]:
        """Return the cost of the tokens of all attempts of known cost with another model, by its price for short prompts."""
        provider, model = names
        found = self._prices.find_first(provider, (model,), now)
        if found is None:
            return {}
        tariff, version = found
        sql = f"SELECT {SUMS} FROM ({source.sql}) AS found WHERE unpriced IS NULL"  # noqa: S608
        sums = sums_of((await reading.snapshot.rows(sql, source.parameters))[0])
        cost = cost_of(tariff, sums)
        answer: dict[str, Any] = {
            "baseline_attempts": int(sums["attempts"]),
            "baseline_price_version": version,
            "baseline_cost_usd": bounded(cost),
        }
        if cost is not None:
            answer["baseline_saved_usd"] = bounded(cost - Decimal(sums["cost_usd"]))
        return answer

    async def forecast(self, query: ForecastUsage) -> UsageForecast:
        """Return what the month that lasts now will come to."""
        zone = ZoneInfo(query.tz)
        month = AnalyticsQuery(tenant=query.tenant, tz=query.tz, filters=query.filters, period="all")
        async with self._reports.reading(month, BucketLength.DAY) as reading:
            now: datetime = reading.about["as_of"]
            today = now.astimezone(zone).date()
            first = today.replace(day=1)
            since, until = midnight(first, zone), midnight((first + timedelta(days=32)).replace(day=1), zone)
            selection = RollupSelection.of(month)
            so_far = await reading.snapshot.total(source_of(selection, QuarterSpan(since, until), whole_days=True))
            days = await self._days(reading, selection, zone, midnight(today, zone))
            left = Decimal(round(max((moment(until) - now).total_seconds(), 0))) / _DAY_SECONDS
            about = reading.about | {"since": moment(since), "until": moment(until)}
            return UsageForecast(
                **about,
                days_seen=len(days),
                spend=self._range(so_far, days, left, "spend_micro_usd", "spend_unknown", 1),
                charge=self._range(so_far, days, left, "charge_micro_usd", "", 1),
                cost=self._range(so_far, days, left, "cost_usd", "unpriced", MICRO),
                unknown=int(so_far["unpriced"]),
            )

    async def _days(self, reading: Reading, selection: RollupSelection, zone: ZoneInfo, end: int) -> list[Sums]:
        """Return the sums of the whole days before today, from the first attempt of anything of the tenant.

        The day in which that began is not whole, unless it did with the day.
        """
        start = max(midnight(moment(end).astimezone(zone).date() - timedelta(days=MAX_DAYS), zone), 0)
        spans = buckets(QuarterSpan(start, end), BucketLength.DAY, zone)
        source = source_of(selection, QuarterSpan(start, end), whole_days=False)
        found = await reading.snapshot.series(source, None, (), [span.since for span in spans])
        return [
            found.get(("", position), Sums()) for position, span in enumerate(spans) if span.since >= reading.span.since
        ]

    def _range(
        self, so_far: Sums, days: Sequence[Sums], left: Decimal, name: str, unknown: str, factor: int
    ) -> ForecastRange | None:
        everything = add_up((so_far, *days))
        if unknown and 0 < everything["attempts"] <= everything[unknown]:
            return None
        amounts = [Decimal(day[name]) * factor for day in days]
        return forecast(Decimal(so_far[name]) * factor, amounts, left)


def cost_of(tariff: Tariff, sums: Sums) -> Decimal | None:
    """Return the cost of all tokens at a tariff's price for short prompts; None if tokens of a kind without a rate were used."""
    total = int(sums["attempts"]) * tariff.per_request
    for kind in TOKEN_KINDS:
        count = int(sums[f"{kind}_tokens"])
        rate = tariff.rate_of(kind)
        if count and rate is None:
            return None
        total += count * rate.base if rate is not None else 0
    with localcontext(prec=_DIGITS):
        return Decimal(total).scaleb(-PLACES)
