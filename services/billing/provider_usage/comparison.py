"""Comparing what a provider says with what the ledger has, by day and model as far as the provider says them. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from keyferry.contracts.money import bounded
from keyferry.contracts.reconciliation import (
    MAX_ROWS,
    ProviderDay,
    ProviderDayRow,
    ReconciliationRow,
    ReconciliationTotals,
)
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import UsageSource
from services.billing.provider_usage.explanation import LedgerSide, explain
from services.billing.provider_usage.stated_usage import StatedUsage, merge_stated

_SNAPSHOT = re.compile(r"[-@](?:20[0-9]{2}-?[0-9]{2}-?[0-9]{2}|[0-9]{4}|latest)\Z")
"""The end of a model's name that says which version of it: `-2024-08-06`, `-20250929`, `-0613`, `-latest`."""
_MOST_NAMES = 20

_Place = tuple[date | None, str | None]


@dataclass(slots=True)
class _Both:
    stated: StatedUsage | None = None
    ledger: LedgerSide = field(default_factory=LedgerSide)


@dataclass(frozen=True, slots=True)
class ProviderComparison:
    """All rows, the largest differences first, and their totals."""

    totals: ReconciliationTotals
    rows: list[ReconciliationRow]
    more_rows: int


def compare(
    stated: Iterable[StatedUsage], days: Sequence[ProviderDay], unsettled: frozenset[date]
) -> ProviderComparison:
    """Compare. `unsettled` are the days to which the provider may still add."""
    statements = merge_stated(stated)
    by_day = bool(statements) and all(each.day is not None for each in statements)
    by_model = bool(statements) and any(each.model is not None for each in statements)
    places: dict[_Place, _Both] = {}
    for each in statements:
        places.setdefault((each.day if by_day else None, each.model if by_model else None), _Both()).stated = each
    names = NameMatcher(each.model for each in statements if each.model is not None)
    for day in days:
        for row in day.rows:
            model = names.find(row) if by_model else None
            place = (day.day if by_day else None, model)
            places.setdefault(place, _Both()).ledger.add(row, model)
    rows = [_row(place, both, unsettled) for place, both in places.items()]
    rows.sort(key=_size, reverse=True)
    sides = [both.ledger for both in places.values()]
    return ProviderComparison(_totals(statements, sides), rows[:MAX_ROWS], max(len(rows) - MAX_ROWS, 0))


class NameMatcher:
    """Finds the name that a provider reports a model by."""

    def __init__(self, stated: Iterable[str]) -> None:
        self._stated = frozenset(stated)
        versions: dict[str, list[str]] = {}
        for name in sorted(self._stated):
            versions.setdefault(_SNAPSHOT.sub("", name), []).append(name)
        self._only = {base: found[0] for base, found in versions.items() if len(found) == 1}

    def find(self, row: ProviderDayRow) -> str:
        """Return the provider's name: that of the model as served, as called, or of its only version that is reported."""
        called = [name for name in (row.model_served, row.model) if name]
        for name in called:
            if name in self._stated:
                return name
        for name in called:
            if (found := self._only.get(_SNAPSHOT.sub("", name))) is not None:
                return found
        return called[0]


def _row(place: _Place, both: _Both, unsettled: frozenset[date]) -> ReconciliationRow:
    stated, ledger = both.stated, both.ledger
    tokens = _tokens(stated)
    row = ReconciliationRow(
        day=place[0],
        model=place[1],
        called_as=sorted(ledger.called_as)[:_MOST_NAMES],
        provider_requests=stated.requests if stated else None,
        provider_prompt_tokens=stated.prompt_tokens if stated else None,
        provider_completion_tokens=stated.completion_tokens if stated else None,
        provider_cost_usd=stated.cost_usd if stated else None,
        attempts=ledger.attempts,
        prompt_tokens=min(ledger.prompt_tokens, BIGINT_MAX),
        completion_tokens=min(ledger.completion_tokens, BIGINT_MAX),
        cost_usd=bounded(ledger.cost_usd),
        token_difference=None if tokens is None else tokens - ledger.tokens_like(stated),
        cost_difference_usd=_difference(stated.cost_usd if stated else None, ledger.cost_usd),
    )
    return row.model_copy(update={"explanations": explain(row, ledger, day_open=place[0] in unsettled)})


def _tokens(stated: StatedUsage | None) -> int | None:
    if stated is None:
        return None
    known = [count for count in (stated.prompt_tokens, stated.completion_tokens) if count is not None]
    return sum(known) if known else None


def _difference(provider: Decimal | None, ours: Decimal | None) -> Decimal | None:
    return None if provider is None or ours is None else provider - ours


def _size(row: ReconciliationRow) -> tuple[Decimal, int, int]:
    return abs(row.cost_difference_usd or Decimal(0)), abs(row.token_difference or 0), row.attempts


def _totals(statements: Sequence[StatedUsage], sides: Sequence[LedgerSide]) -> ReconciliationTotals:
    ours = LedgerSide.of(sides)
    tokens = [count for each in statements if (count := _tokens(each)) is not None]
    costs = [each.cost_usd for each in statements if each.cost_usd is not None]
    provider_tokens = sum(tokens) if tokens else None
    provider_cost = sum(costs, Decimal(0)) if costs else None
    return ReconciliationTotals(
        provider_tokens=provider_tokens,
        tokens=min(ours.tokens, BIGINT_MAX),
        token_difference=None if provider_tokens is None else provider_tokens - ours.tokens,
        provider_cost_usd=bounded(provider_cost),
        cost_usd=bounded(ours.cost_usd),
        cost_difference_usd=_difference(provider_cost, ours.cost_usd),
        attempts=ours.attempts,
        unreported=ours.unreported,
        estimated=ours.by_source.get(UsageSource.ESTIMATED, 0),
        unpriced=ours.unpriced,
    )


def is_over(totals: ReconciliationTotals, tolerance_usd: Decimal, tolerance_percent: int) -> bool:
    """Return whether the difference is above both tolerances; of tokens where an amount is unknown."""
    if totals.cost_difference_usd is not None:
        larger = max(totals.provider_cost_usd or Decimal(0), totals.cost_usd or Decimal(0))
        difference = abs(totals.cost_difference_usd)
        return difference > tolerance_usd and difference * 100 > larger * tolerance_percent
    if totals.token_difference is None:
        return False
    most = max(totals.provider_tokens or 0, totals.tokens)
    return abs(totals.token_difference) * 100 > most * tolerance_percent


def unsettled_days(days: Iterable[date], settled_before: date) -> frozenset[date]:
    """Return the days of a span to which a provider may still add."""
    return frozenset(day for day in days if day >= settled_before)
