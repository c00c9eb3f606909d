"""What requests may spend in a router, against accounts in memory."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.chat import RequestHead
from keyferry.contracts.credit import LEASE_MS, CreditLease, LeaseCredit, LeaseResult, ReturnCredit
from keyferry.contracts.route import Candidate
from keyferry.pricing.book import PriceBook
from keyferry.pricing.file import BUNDLED_PRICES
from keyferry.pricing.tariff import Tariff
from keyferry.runtime.bus.requests import BusError
from keyferry.runtime.prices import load_prices
from services.router.credit.needs import HardBudget, SpendingRules
from services.router.credit.request_credit import RequestCredit
from services.router.credit.reserver import CreditReserver
from services.router.credit.shortage import Shortage
from services.router.credit.wallet import CreditWallet
from tests.support.router.keys_and_prices import catalog
from tests.support.router.limits import SetClock

PLAN = BillingPlan.parse(BUNDLED_PLAN.read_text(encoding="utf-8"))
_PRICES = PriceBook(load_prices(BUNDLED_PRICES))


class MemoryAccounts:
    """Spendable accounts that grant leases as the ledger does. `reachable` can be switched off."""

    def __init__(self, **balances: int) -> None:
        self.balances: dict[str, int] = {name.replace("__", "/"): amount for name, amount in balances.items()}
        self._numbers = itertools.count(1)
        self.asked: list[LeaseCredit] = []
        self.returned: list[ReturnCredit] = []
        self.reachable = True
        self.now_ms: Callable[[], int] = SetClock()

    async def lease(self, question: LeaseCredit) -> CreditLease:
        """Grant a lease, a moment later."""
        self.asked.append(question)
        await asyncio.sleep(0)
        if not self.reachable:
            raise BusError("no ledger answers")
        if question.account not in self.balances:
            return CreditLease(result=LeaseResult.UNKNOWN_ACCOUNT, account=question.account)
        left = self.balances[question.account]
        plenty = left >= 20 * question.need and not question.account.startswith("allowance/")
        amount = question.want if plenty else question.need
        if left < amount:
            return CreditLease(result=LeaseResult.INSUFFICIENT, account=question.account, available=left)
        self.balances[question.account] -= amount
        return CreditLease(
            result=LeaseResult.GRANTED,
            account=question.account,
            lease_id=f"lease_{next(self._numbers)}",
            amount=amount,
            not_after_unix_ms=self.now_ms() + LEASE_MS,
            available=left - amount,
        )

    async def give_back(self, given: ReturnCredit) -> None:
        """Take back what a router has not set aside."""
        self.returned.append(given)


def spending_rules(
    *,
    plan: BillingPlan = PLAN,
    credits_required: bool = True,
    budgets: Sequence[HardBudget] = (),
    shortage: Callable[[str], Shortage | None] = lambda account: None,
) -> SpendingRules:
    """Return rules with the bundled prices and catalog; `budgets` apply to every attempt."""

    def longest_answer(provider: str, model: str) -> int | None:
        found = catalog().find_model(provider, model)
        return None if found is None else found.max_output_tokens

    def find_budgets(request: RequestHead, candidate: Candidate, now: datetime) -> Sequence[HardBudget]:
        return budgets

    return SpendingRules(
        plan=plan,
        credits_required=credits_required,
        tariff=lambda provider, model, now, tier: _tariff(provider, model, tier),
        longest_answer=longest_answer,
        budgets=find_budgets,
        shortage=shortage,
        has_budgets=lambda tenant: bool(budgets),
    )


def _tariff(provider: str, model: str, service_tier: str | None) -> Tariff | None:
    found = _PRICES.find(provider, model, datetime(2026, 11, 1, tzinfo=UTC), service_tier)
    return None if found is None else found[0]


def request_credit(
    accounts: MemoryAccounts | None = None, clock: SetClock | None = None, *, credits_required: bool = True
) -> RequestCredit:
    """Return the spending of a router; without accounts nothing that can run out applies."""
    known = accounts or MemoryAccounts()
    now_ms = clock or SetClock()
    known.now_ms = now_ms
    reserver = CreditReserver(CreditWallet("inst_1"), known.lease, known.give_back, now_ms)
    rules = spending_rules(credits_required=credits_required and accounts is not None, shortage=reserver.shortage_of)
    return RequestCredit(rules, reserver)
