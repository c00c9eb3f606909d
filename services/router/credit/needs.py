"""What the attempts of a request may spend of which accounts: credits, the free allowance, and budgets with a hard cap.

The most that an attempt may cost is set aside before it begins: its prompt, and as long an answer as the request allows. For a
request that sets no limit that is the longest that the model gives; where an account has less left, the answer is
limited to what it covers. Pure.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from keyferry.billing.charge import OWN_KEY_SOURCES, ChargeTerms, charge_terms, spend_terms
from keyferry.billing.hold import LargestUsage, affordable_output_tokens, largest_cost, worst_case_charge
from keyferry.billing.image_tokens import most_image_tokens
from keyferry.billing.plan import CREDITS_PER_USD, BillingPlan
from keyferry.contracts.chat import RequestHead
from keyferry.contracts.credit import MAX_AMOUNT, MICRO, allowance_account, credits_account
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.money import plain
from keyferry.contracts.route import Candidate, DropReason
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant
from keyferry.contracts.usage import KeySource, RequestKind
from keyferry.pricing.tariff import Tariff
from services.router.credit.affordable import NOTHING, AttemptNeeds, Unaffordable
from services.router.credit.shortage import Shortage

UNKNOWN_OUTPUT_TOKENS = 32_768
"""What an answer is taken for where neither the request nor the catalog limits it."""
LEAST_OUTPUT_TOKENS = 256
"""An answer is not limited to less than that for want of credit: the request is refused instead."""
_LEAST_HOLD = 1
_PROMPT_FACTOR = 2
_PROMPT_MARGIN_TOKENS = 64
"""The prompt is estimated from its text, and providers add tokens of their own to messages and tools."""
_PRIORITY = "priority"
_BYTES_PER_TOKEN = 2
"""Where nobody has looked into the body."""


@dataclass(frozen=True, slots=True)
class HardBudget:
    """A budget with a hard cap that applies to an attempt."""

    account: str
    name: str
    """What a person calls it."""
    resets: str
    """When it has more, for a person."""


@dataclass(frozen=True, slots=True)
class SpendingRules:
    """What determines the needs of all requests."""

    plan: BillingPlan
    credits_required: bool
    """Whether attempts on the platform's keys are paid in credits."""
    tariff: Callable[[str, str, datetime, str | None], Tariff | None]
    """Returns the prices of a provider's model at a moment, for a service tier; None if there are none."""
    longest_answer: Callable[[str, str], int | None]
    """Returns the most tokens that a provider's model answers with; None if that is not known."""
    budgets: Callable[[RequestHead, Candidate, datetime], Sequence[HardBudget]]
    shortage: Callable[[str], Shortage | None]
    """Returns what is known of an account that had too little a moment ago."""
    has_budgets: Callable[[str], bool]

    def needs_of(
        self, request: RequestHead, body_bytes: int, tenant: Tenant | None, now: datetime
    ) -> "RequestNeeds | None":
        """Return what computes the needs of a request; None if nothing that can run out applies to it."""
        if tenant is None or tenant.tenant == PLATFORM_TENANT:
            return None
        if not (self.credits_required or self.has_budgets(tenant.tenant)):
            return None
        return RequestNeeds(self, request, body_bytes, tenant, now)


@dataclass(frozen=True, slots=True)
class _Cost:
    """What an attempt may cost one account."""

    account: str
    terms: ChargeTerms | None
    """What is made of the provider's cost; None counts the request itself."""
    budget: HardBudget | None = None
    least: int = 0
    """What is held at least: the vault releases a key of the platform only to who holds something of what pays for it."""

    def largest(self, tariff: Tariff | None, usage: LargestUsage) -> int | None:
        """Return the most that it may cost, or what is held at least; None if the model has no price."""
        amount = self._largest(tariff, usage)
        return None if amount is None else max(amount, self.least)

    def _largest(self, tariff: Tariff | None, usage: LargestUsage) -> int | None:
        if self.terms is None:
            # What nobody can price is nobody's to give away.
            return None if tariff is None or largest_cost(tariff, usage) is None else 1
        if self.terms.factor == 0:
            return self.terms.fee_micro_usd
        return None if tariff is None else worst_case_charge(tariff, usage, self.terms)


@dataclass(frozen=True, slots=True)
class RequestNeeds:
    """Computes what the attempt at a candidate may spend."""

    rules: SpendingRules
    request: RequestHead
    body_bytes: int
    tenant: Tenant
    now: datetime

    def __call__(self, candidate: Candidate, key: KeyFacts | None, level: PowerLevel) -> AttemptNeeds | Unaffordable:
        """Return what it may spend, or why it is not made. `level` is the one whose multiplier applies."""
        costs = list(self._costs(candidate, level))
        if not costs:
            return NOTHING
        features = self.request.features
        faster = _PRIORITY if features is not None and features.priority else None
        tariff = self.rules.tariff(candidate.provider, candidate.model, self.now, faster)
        usage = self._largest_usage(candidate)
        short: list[tuple[_Cost, Shortage, int]] = []
        amounts: dict[str, int] = {}
        for cost in costs:
            amount = cost.largest(tariff, usage)
            if amount is None:
                if cost.budget is None:
                    return _unpriced(candidate)
                continue  # what it costs its own provider is not known, before or after
            amount = min(amount, MAX_AMOUNT)  # no account has so much
            amounts[cost.account] = amount
            known = self.rules.shortage(cost.account)
            if known is not None and amount > known.available:
                short.append((cost, known, amount))
        if not short:
            return AttemptNeeds({account: amount for account, amount in amounts.items() if amount})
        return self._limit_answer(short, costs, tariff, usage)

    def _costs(self, candidate: Candidate, level: PowerLevel) -> Iterator[_Cost]:
        """Yield what the attempt costs which accounts."""
        source, tenant, plan = candidate.key_source, self.tenant, self.rules.plan
        if source is KeySource.NONE:
            return
        own = source in OWN_KEY_SOURCES
        if self.rules.credits_required:
            if not own and self._is_free():
                yield _Cost(allowance_account(tenant.tenant, self.now), None)
                return  # it spends nothing that a budget counts
            if not own or plan.byok_fee_micro_usd:
                terms = charge_terms(plan, key_source=source, level=level, tier=tenant.tier)
                yield _Cost(credits_account(tenant.tenant), terms, least=0 if own else _LEAST_HOLD)
        spending = spend_terms(plan, key_source=source, level=level, tier=tenant.tier)
        for budget in self.rules.budgets(self.request, candidate, self.now):
            yield _Cost(budget.account, spending, budget)

    def _is_free(self) -> bool:
        """Return whether the tenant has free requests left in this month, as far as is known."""
        if self.rules.plan.allowance(self.tenant.tier) is None:
            return False
        known = self.rules.shortage(allowance_account(self.tenant.tenant, self.now))
        return known is None or known.available > 0

    def _largest_usage(self, candidate: Candidate) -> LargestUsage:
        request, features = self.request, self.request.features
        prompt = self._largest_prompt(candidate.model)
        if request.kind is RequestKind.EMBEDDING:
            return LargestUsage(prompt)
        longest = self.rules.longest_answer(candidate.provider, candidate.model)
        asked = features.max_output_tokens if features else None
        limits = [each for each in (asked, longest) if each is not None]
        return LargestUsage(
            prompt,
            (min(limits) if limits else UNKNOWN_OUTPUT_TOKENS) * (features.choices if features else 1),
            images=features is None or features.images,
            audio=features is not None and features.audio,
        )

    def _largest_prompt(self, model: str) -> int:
        features = self.request.features
        if features is None:
            return self.body_bytes // _BYTES_PER_TOKEN + _PROMPT_MARGIN_TOKENS
        text_tokens = max(0, features.input_tokens - features.image_tokens)
        images = features.image_count * most_image_tokens(model)
        return _PROMPT_FACTOR * text_tokens + images + _PROMPT_MARGIN_TOKENS

    def _limit_answer(
        self,
        short: Sequence[tuple[_Cost, Shortage, int]],
        costs: Sequence[_Cost],
        tariff: Tariff | None,
        usage: LargestUsage,
    ) -> AttemptNeeds | Unaffordable:
        """Return the needs with as long an answer as the accounts cover, or why the attempt is not made."""
        features = self.request.features
        choices = features.choices if features else 1
        limited = features is not None and features.max_output_tokens is not None
        tokens = usage.output_tokens
        for cost, known, amount in short:
            affordable = None
            if not limited and cost.terms is not None and tariff is not None and usage.output_tokens:
                affordable = affordable_output_tokens(known.available, tariff, usage, cost.terms)
            if affordable is None or affordable // choices < LEAST_OUTPUT_TOKENS:
                return self._describe(cost, known, amount)
            tokens = min(tokens, affordable)
        limited_usage = replace(usage, output_tokens=tokens)
        amounts = {cost.account: cost.largest(tariff, limited_usage) or 0 for cost in costs}
        return AttemptNeeds({account: amount for account, amount in amounts.items() if amount}, tokens // choices)

    def _describe(self, cost: _Cost, known: Shortage, amount: int) -> Unaffordable:
        tenant, may_return = self.tenant.tenant, known.available + known.held >= amount
        lower = "" if cost.terms is None else ", lower max_tokens"
        running = f" ({_of_unit(cost, known.held)} are held by requests under way)" if known.held else ""
        if cost.budget is not None:
            if not known.known:
                detail = f"the budget {cost.budget.name} is not open yet: try again in a moment"
                return Unaffordable(DropReason.BUDGET_SPENT, detail, may_return=True)
            detail = (
                f"the budget {cost.budget.name} has {_of_unit(cost, max(0, known.available))} left{running}, and this attempt"
                f" may cost {_of_unit(cost, amount)}: it resets {cost.budget.resets}; have it raised{lower}"
            )
            return Unaffordable(DropReason.BUDGET_SPENT, detail, may_return=may_return)
        detail = (
            f"{tenant} has {_of_unit(cost, max(0, known.available))} left{running}, and this attempt may cost"
            f" {_of_unit(cost, amount)}: add credits (`keyferry credits grant {tenant} CREDITS --reason WHY`){lower}, or use an"
            " own key"
        )
        return Unaffordable(DropReason.NO_CREDIT, detail, may_return=may_return)


def _unpriced(candidate: Candidate) -> Unaffordable:
    detail = (
        f"{candidate.provider}'s {candidate.model} has no price for all that it may use, and credits pay only for what has one"
        " (`keyferry prices set`)"
    )
    return Unaffordable(DropReason.UNPRICED, detail)


def _of_unit(cost: _Cost, amount: int) -> str:
    """Return an amount for a person: credits for the tenant's credits, dollars for budgets."""
    if cost.budget is None:
        return f"{plain(Decimal(amount * CREDITS_PER_USD) / MICRO)} credits"
    return f"${plain(Decimal(amount) / MICRO)}"
