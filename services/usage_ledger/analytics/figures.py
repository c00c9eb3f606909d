"""Sums over attempts as the database returns them, and the figures that answers have. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from typing import Any

from keyferry.contracts.analytics import Measure
from keyferry.contracts.analytics_answers import MAX_CHANGE, Percentiles, UsageChange, UsageFigures
from keyferry.contracts.money import bounded
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import Outcome, TokenUsage
from keyferry.latency.sketch import LatencySketch
from services.usage_ledger.analytics.rollup_sql import SUMMED
from services.usage_ledger.database import TOKEN_KINDS

OUTCOMES = tuple(outcome.value for outcome in Outcome)
_EXACT = Context(prec=100)
"""More digits than the sum of any number of amounts has."""


@dataclass
class Sums:
    """Exact sums over a set of attempts."""

    values: dict[str, int | Decimal] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name, 0)

    def plus(self, other: "Sums", sign: int = 1) -> "Sums":
        """Return both together, or this without the other."""
        names = self.values.keys() | other.values.keys()
        with localcontext(_EXACT):
            return Sums({name: self[name] + sign * other[name] for name in names})

    @property
    def total_tokens(self) -> int:
        """All tokens."""
        return int(sum(self[f"{kind}_tokens"] for kind in TOKEN_KINDS))

    def measure(self, measure: Measure) -> Decimal | int:
        """Return what rows are in order of."""
        names = {Measure.COST: "cost_usd", Measure.SPEND: "spend_micro_usd", Measure.CHARGE: "charge_micro_usd"}
        amount: Decimal | int = self[names.get(measure, measure.value)]
        return self.total_tokens if measure is Measure.TOKENS else amount

    @property
    def cost_usd(self) -> Decimal | None:
        """The known cost; None if there are attempts and no cost is known."""
        return self._known("cost_usd", "unpriced")

    @property
    def spend_micro_usd(self) -> int | None:
        """What counts in budgets, as far as it is known."""
        known = self._known("spend_micro_usd", "spend_unknown")
        return None if known is None else int(known)

    def _known(self, name: str, unknown: str) -> Decimal | None:
        if 0 < self["attempts"] <= self[unknown]:
            return None
        return Decimal(self[name])


def sums_of(row: Mapping[str, Any]) -> Sums:
    """Return the sums of a row, whose nulls are zeros."""
    return Sums({name: row[name] for name in (*SUMMED, *OUTCOMES) if row[name]})


def add_up(all_sums: Iterable[Sums]) -> Sums:
    """Return the sum of sums."""
    total = Sums()
    for each in all_sums:
        total = total.plus(each)
    return total


def figures_of(sums: Sums, latency: Percentiles | None = None, first_token: Percentiles | None = None) -> UsageFigures:
    """Return sums as an answer has them. What is absurdly large is cut to the largest number that it can have."""
    return UsageFigures(
        requests=_count(sums["requests"]),
        attempts=_count(sums["attempts"]),
        **{name: _count(sums[name]) for name in OUTCOMES},
        token_usage=TokenUsage(**{kind: _count(sums[f"{kind}_tokens"]) for kind in TOKEN_KINDS}),
        total_tokens=_count(sums.total_tokens),
        cost_usd=bounded(sums.cost_usd),
        unpriced=_count(sums["unpriced"]),
        charge_micro_usd=_count(sums["charge_micro_usd"]),
        charged=_count(sums["charged"]),
        absorbed_micro_usd=_count(sums["absorbed_micro_usd"]),
        spend_micro_usd=None if sums.spend_micro_usd is None else _count(sums.spend_micro_usd),
        spend_unknown=_count(sums["spend_unknown"]),
        latency=latency,
        first_token=first_token,
    )


def percentiles_of(counts: Mapping[int, int]) -> Percentiles | None:
    """Return the percentiles of a sketch as the database has it; None without any duration."""
    sketch = LatencySketch({bucket - 1: count for bucket, count in counts.items()})
    found = [sketch.percentile(percent) for percent in (50, 95, 99)]
    p50, p95, p99 = (each or 0 for each in found)
    return Percentiles(count=len(sketch), p50_ms=p50, p95_ms=p95, p99_ms=p99) if len(sketch) else None


def change_of(now: UsageFigures, before: UsageFigures) -> UsageChange:
    """Return by how much figures differ."""
    return UsageChange(
        requests_permille=_permille(now.requests, before.requests),
        attempts_permille=_permille(now.attempts, before.attempts),
        tokens_permille=_permille(now.total_tokens, before.total_tokens),
        cost_permille=_permille(now.cost_usd, before.cost_usd),
        charge_permille=_permille(now.charge_micro_usd, before.charge_micro_usd),
        spend_permille=_permille(now.spend_micro_usd, before.spend_micro_usd),
        failed_permille=_permille(now.failed, before.failed),
        p95_permille=_permille(_p95_ms(now), _p95_ms(before)),
    )


def _p95_ms(figures: UsageFigures) -> int | None:
    return None if figures.latency is None else figures.latency.p95_ms


def _permille(now: Decimal | int | None, before: Decimal | int | None) -> int | None:
    if now is None or not before:
        return None
    with localcontext(_EXACT):
        change = round((Decimal(now) - before) * 1000 / before)
    return max(-MAX_CHANGE, min(change, MAX_CHANGE))


def _count(value: Decimal | int) -> int:
    return max(0, min(int(value), BIGINT_MAX))
