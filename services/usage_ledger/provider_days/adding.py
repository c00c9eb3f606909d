"""Adding attempts up by what may explain a difference to a provider's own figures. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any

from keyferry.contracts.failure import Where
from keyferry.contracts.money import bounded
from keyferry.contracts.reconciliation import ProviderDayRow
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import Outcome, TokenUsage, UsageSource
from services.usage_ledger.database import TOKEN_KINDS

_LONGEST_MS = 10**11
"""Three years: a longer time is a defect of a worker, and must not leave the range of dates."""
_ANSWER_LOST = frozenset({Where.NO_ANSWER.value, Where.MID_STREAM.value})
"""Where a failure leaves open whether the provider has charged: the request was sent."""

Group = tuple[str, str | None, str, str | None]
"""Model as sent and as served, source of the usage, version of the price."""


@dataclass(slots=True)
class _Sum:
    attempts: int = 0
    unreported: int = 0
    unpriced: int = 0
    across_midnight: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOKEN_KINDS, 0))
    cost_usd: Decimal | None = None


class DaySums:
    """Adds up the attempts of one day, one after another."""

    def __init__(self) -> None:
        self._sums: dict[Group, _Sum] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Add an attempt: a whole row of the table with what holds of its cost, and `failed_where`."""
        group = (row["model"], row["model_served"], row["usage_source"], row["price_version"])
        found = self._sums.setdefault(group, _Sum())
        unreported = may_be_charged_unseen(row)
        found.attempts += 1
        found.unreported += unreported
        found.unpriced += not unreported and row["pricing"] == "unpriced"
        started_at = row["started_at"].astimezone(UTC)
        ended_at = started_at + timedelta(milliseconds=min(row["latency_ms"], _LONGEST_MS))
        found.across_midnight += ended_at.date() != started_at.date()
        for kind in TOKEN_KINDS:
            found.tokens[kind] += row[f"{kind}_tokens"]
        if row["cost_usd"] is not None:
            found.cost_usd = (found.cost_usd or Decimal(0)) + row["cost_usd"]

    def rows(self) -> list[ProviderDayRow]:
        """Return the sums in the order of their groups."""
        return [
            ProviderDayRow(
                model=group[0],
                model_served=group[1],
                usage_source=UsageSource(group[2]),
                price_version=group[3],
                attempts=found.attempts,
                unreported=found.unreported,
                unpriced=found.unpriced,
                across_midnight=found.across_midnight,
                token_usage=TokenUsage(**{kind: min(count, BIGINT_MAX) for kind, count in found.tokens.items()}),
                cost_usd=bounded(found.cost_usd),
            )
            for group, found in sorted(self._sums.items(), key=lambda item: tuple(part or "" for part in item[0]))
        ]


def may_be_charged_unseen(row: Mapping[str, Any]) -> bool:
    """Return whether an attempt reached its provider and nobody knows what it used."""
    if row["usage_source"] != UsageSource.NONE.value:
        return False
    if row["outcome"] == Outcome.INDETERMINATE.value:
        return True
    if row["outcome"] == Outcome.FAILED.value:
        return row["failed_where"] in _ANSWER_LOST
    return True
