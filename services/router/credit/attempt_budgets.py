"""The budgets with a hard cap that an attempt counts in, with the accounts of their windows. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime

from keyferry.budgets.matching import BudgetIndex, Spender, WindowedBudget, model_names
from keyferry.contracts.chat import RequestHead
from keyferry.contracts.route import Candidate
from services.router.credit.needs import HardBudget


class AttemptBudgets:
    """Finds the budgets of attempts. `catalog_id` returns the catalog's name of a provider's model, None for one outside it."""

    def __init__(self, index: BudgetIndex, catalog_id: Callable[[str, str], str | None]) -> None:
        self._index = index
        self._catalog_id = catalog_id

    def find(self, request: RequestHead, candidate: Candidate, now: datetime) -> Sequence[HardBudget]:
        """Return the budgets that the attempt at a candidate counts in."""
        budgets = self._index.of(request.tenant)
        if not budgets:
            return ()
        provider, model = candidate.provider, candidate.model
        spender = Spender(
            team=request.team,
            member=request.member,
            client_token_id=request.client_token_id,
            key_id=candidate.key_id,
            models=model_names(provider, model, self._catalog_id(provider, model)),
        )
        return [_of_window(budget, now) for budget in budgets.applying_to(spender)]


def _of_window(windowed: WindowedBudget, now: datetime) -> HardBudget:
    budget = windowed.budget
    name = f"{budget.budget_id} ({budget.name})" if budget.name else budget.budget_id
    end = windowed.span_at(now).end
    resets = f"at {end:%Y-%m-%d %H:%M} UTC" if end else "hour by hour, as earlier spending becomes older"
    return HardBudget(windowed.account_at(now), name, resets)
