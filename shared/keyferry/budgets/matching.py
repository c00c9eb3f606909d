"""Which of a tenant's budgets an attempt counts in. Looking it up takes as long as there are scopes, not budgets. Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from keyferry.budgets.windows import WindowSpan, account_name, window_at
from keyferry.contracts.budget import Budget, BudgetScope


@dataclass(frozen=True, slots=True)
class Spender:
    """What is known of an attempt that spends, or may spend."""

    team: str | None = None
    member: str | None = None
    client_token_id: str | None = None
    key_id: str | None = None
    models: Collection[str] = ()
    """The names of the model by which budgets may be set: see `model_names`."""


def model_names(provider: str, model: str, catalog_id: str | None = None) -> tuple[str, ...]:
    """Return the names of a model by which budgets are set: the provider's, with and without the provider, and the catalog's."""
    names = (model, f"{provider}/{model}")
    return names if catalog_id is None or catalog_id in names else (*names, catalog_id)


class WindowedBudget:
    """A budget, and the window that it is in. The window last looked up is kept: it is the same for a day or longer."""

    __slots__ = ("_account", "_span", "budget")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._span: WindowSpan | None = None
        self._account = ""

    def span_at(self, now: datetime) -> WindowSpan:
        """Return the window that contains `now`."""
        span = self._span
        if span is None or span.end is None or not span.start <= now < span.end:
            span = self._span = window_at(self.budget.window, now)
            self._account = account_name(self.budget.budget_id, span)
        return span

    def account_at(self, now: datetime) -> str:
        """Return the name of the account of the window that contains `now`."""
        if self._span is None or self._span.end is not None:  # a rolling window has one account for all time
            self.span_at(now)
        return self._account


class TenantBudgets:
    """Some budgets of one tenant, by what they count."""

    __slots__ = ("_by_id", "_by_scope", "_of_tenant")

    def __init__(self, budgets: Iterable[Budget] = ()) -> None:
        by_scope: dict[tuple[BudgetScope, str | None], list[WindowedBudget]] = {}
        self._by_id: dict[str, WindowedBudget] = {}
        for budget in sorted(budgets, key=lambda budget: budget.budget_id):
            each = self._by_id[budget.budget_id] = WindowedBudget(budget)
            by_scope.setdefault((budget.scope, budget.value), []).append(each)
        self._of_tenant = by_scope.pop((BudgetScope.TENANT, None), [])
        self._by_scope = by_scope

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def find(self, budget_id: str) -> WindowedBudget | None:
        """Return a budget by its id; None if it is not among them."""
        return self._by_id.get(budget_id)

    def applying_to(self, spender: Spender) -> Sequence[WindowedBudget]:
        """Return the budgets in which an attempt counts, each once."""
        if not self._by_scope:
            return self._of_tenant
        found = list(self._of_tenant)
        for scope in _values(spender):
            found += self._by_scope.get(scope, ())
        return found


NO_BUDGETS = TenantBudgets()


class BudgetIndex:
    """The enabled hard budgets of all tenants, for a router. Soft ones refuse nothing, so that it needs none of them."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, TenantBudgets] = {}

    def replace(self, tenant: str, budgets: Iterable[Budget]) -> None:
        """Replace the budgets of one tenant."""
        enforced = TenantBudgets(budget for budget in budgets if budget.hard and budget.enabled)
        if enforced:
            self._by_tenant[tenant] = enforced
        else:
            self._by_tenant.pop(tenant, None)

    def of(self, tenant: str) -> TenantBudgets:
        """Return the budgets of a tenant that may refuse its requests."""
        return self._by_tenant.get(tenant, NO_BUDGETS)


def _values(spender: Spender) -> Iterator[tuple[BudgetScope, str | None]]:
    if spender.team is not None:
        yield BudgetScope.TEAM, spender.team
    if spender.member is not None:
        yield BudgetScope.MEMBER, spender.member
    if spender.client_token_id is not None:
        yield BudgetScope.CLIENT_TOKEN, spender.client_token_id
    if spender.key_id is not None:
        yield BudgetScope.KEY, spender.key_id
    for name in spender.models:
        yield BudgetScope.MODEL, name
