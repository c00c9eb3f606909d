"""What may explain a difference between a provider's figures and ours, as far as attempts say. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from keyferry.contracts.money import plain
from keyferry.contracts.reconciliation import (
    DifferenceExplanation,
    DifferenceReason,
    ProviderDayRow,
    ReconciliationRow,
)
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import UsageSource
from services.billing.provider_usage.stated_usage import StatedUsage

_MILLION = 1_000_000


@dataclass(slots=True)
class LedgerSide:
    """What the ledger has for one row of a report."""

    attempts: int = 0
    unreported: int = 0
    unpriced: int = 0
    across_midnight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated_tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)
    """Null if there are attempts, and no cost of any is known."""
    estimated_cost_usd: Decimal = Decimal(0)
    by_source: dict[UsageSource, int] = field(default_factory=dict)
    price_versions: set[str] = field(default_factory=set)
    called_as: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, sides: Iterable["LedgerSide"]) -> "LedgerSide":
        """Return the sum of several."""
        total = cls()
        for each in sides:
            total._add_known(each.cost_usd if each.attempts else None, each.attempts)
            total.unreported += each.unreported
            total.unpriced += each.unpriced
            total.prompt_tokens += each.prompt_tokens
            total.completion_tokens += each.completion_tokens
            for source, count in each.by_source.items():
                total.by_source[source] = total.by_source.get(source, 0) + count
        return total

    def add(self, row: ProviderDayRow, model: str | None) -> None:
        """Add attempts; `model` is the name that the provider reports them by."""
        self._add_known(row.cost_usd, row.attempts)
        self.unreported += row.unreported
        self.unpriced += row.unpriced
        self.across_midnight += row.across_midnight
        self.prompt_tokens += row.token_usage.prompt
        self.completion_tokens += row.token_usage.completion
        self.by_source[row.usage_source] = self.by_source.get(row.usage_source, 0) + row.attempts
        if row.usage_source is UsageSource.ESTIMATED:
            self.estimated_tokens += row.token_usage.total
            self.estimated_cost_usd += row.cost_usd or 0
        if row.price_version is not None:
            self.price_versions.add(row.price_version)
        if model is not None and row.model != model:
            self.called_as.add(row.model)

    def _add_known(self, cost_usd: Decimal | None, attempts: int) -> None:
        if cost_usd is not None:
            self.cost_usd = (self.cost_usd or Decimal(0)) + cost_usd
        elif attempts and not self.attempts:
            self.cost_usd = None
        self.attempts += attempts

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.prompt_tokens + self.completion_tokens

    def tokens_like(self, stated: StatedUsage | None) -> int:
        """Return our tokens of the kinds that the provider states."""
        if stated is None:
            return self.tokens
        prompt = 0 if stated.prompt_tokens is None else self.prompt_tokens
        return prompt + (0 if stated.completion_tokens is None else self.completion_tokens)


def explain(row: ReconciliationRow, ledger: LedgerSide, *, day_open: bool) -> list[DifferenceExplanation]:
    """Return what may explain the differences of a row; nothing if there are none."""
    tokens, cost = row.token_difference, row.cost_difference_usd
    if not tokens and not cost and not (row.provider_cost_usd and row.cost_usd is None):
        return _other_name(ledger)
    found = [*_open_day(day_open), *_other_name(ledger), *_by_attempts(row, ledger)]
    more = (tokens or 0) > 0 or (not tokens and (cost or 0) > 0)
    open_question = (
        day_open or ledger.unreported or ledger.by_source.get(UsageSource.ESTIMATED) or ledger.across_midnight
    )
    if tokens == 0 and cost:
        found += _prices(row, ledger)
    elif more and not open_question:
        detail = "No attempt can explain it: the key was used outside of Keyferry, or something else was charged for."
        found.append(DifferenceExplanation(reason=DifferenceReason.ELSEWHERE, detail=detail))
    elif not more and not open_question:
        detail = "The provider reports less than was recorded: some attempts used another account, or its report is not whole."
        found.append(
            DifferenceExplanation(reason=DifferenceReason.NOT_AT_PROVIDER, attempts=ledger.attempts, detail=detail)
        )
    return found


def _open_day(day_open: bool) -> list[DifferenceExplanation]:
    detail = "The provider may still add usage to this day: compare it again later."
    return [DifferenceExplanation(reason=DifferenceReason.INCOMPLETE_DAY, detail=detail)] if day_open else []


def _other_name(ledger: LedgerSide) -> list[DifferenceExplanation]:
    if not ledger.called_as:
        return []
    detail = f"It was called as {', '.join(sorted(ledger.called_as)[:5])}."
    return [DifferenceExplanation(reason=DifferenceReason.OTHER_NAME, detail=detail)]


def _by_attempts(row: ReconciliationRow, ledger: LedgerSide) -> list[DifferenceExplanation]:
    found: list[tuple[DifferenceReason, int, int, Decimal | None, str]] = []
    if ledger.unreported:
        detail = f"{ledger.unreported} attempts timed out or broke off: the provider may have charged for them."
        found.append((DifferenceReason.UNREPORTED, ledger.unreported, 0, None, detail))
    if estimated := ledger.by_source.get(UsageSource.ESTIMATED, 0):
        detail = f"The usage of {estimated} attempts is an estimate, since the provider reported none with the answer."
        tokens, cost = min(ledger.estimated_tokens, BIGINT_MAX), ledger.estimated_cost_usd
        found.append((DifferenceReason.ESTIMATED, estimated, tokens, cost, detail))
    if ledger.across_midnight and row.day is not None:
        detail = f"{ledger.across_midnight} attempts ended on the next day (UTC): the provider may count them there."
        found.append((DifferenceReason.ACROSS_MIDNIGHT, ledger.across_midnight, 0, None, detail))
    if ledger.unpriced:
        detail = f"Keyferry has no price for {ledger.unpriced} attempts: set one with `keyferry prices set`."
        found.append((DifferenceReason.UNPRICED, ledger.unpriced, 0, None, detail))
    return [
        DifferenceExplanation(reason=reason, attempts=attempts, tokens=tokens, cost_usd=cost, detail=detail)
        for reason, attempts, tokens, cost, detail in found
    ]


def _prices(row: ReconciliationRow, ledger: LedgerSide) -> list[DifferenceExplanation]:
    versions = ", ".join(sorted(ledger.price_versions)) or "none"
    if len(ledger.price_versions) > 1:
        detail = f"The price changed in between (versions {versions})."
        return [DifferenceExplanation(reason=DifferenceReason.SEVERAL_PRICES, attempts=ledger.attempts, detail=detail)]
    if ledger.unpriced or row.provider_cost_usd is None or row.cost_usd is None or not ledger.tokens:
        return []
    theirs, ours = (_per_million(cost, ledger.tokens) for cost in (row.provider_cost_usd, row.cost_usd))
    detail = (
        f"The tokens agree: the provider charged {theirs} dollars per million on average, Keyferry's price (version {versions})"
        f" makes {ours}."
    )
    return [DifferenceExplanation(reason=DifferenceReason.PRICE, attempts=ledger.attempts, detail=detail)]


def _per_million(cost_usd: Decimal, tokens: int) -> str:
    return plain((cost_usd * _MILLION / tokens).quantize(Decimal("0.000001")))
