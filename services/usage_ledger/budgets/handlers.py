"""Handlers of budgets."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from nats.errors import Error as NatsError
from nats.js.errors import APIError

from keyferry.contracts.audit import AuditHead
from keyferry.contracts.budget import (
    MAX_BUDGETS,
    BudgetRemoved,
    Budgets,
    BudgetState,
    ListBudgets,
    RemoveBudget,
    SaveBudget,
)
from keyferry.contracts.ledger_management import BUDGET_LIST, BUDGET_REMOVE, BUDGET_SAVE
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.budgets.store import (
    BudgetChanged,
    BudgetExists,
    BudgetStore,
    FixedTerms,
    TooManyBudgets,
    UnknownBudget,
)
from services.usage_ledger.database_outage import refuse_outages

_ACROSS_TENANTS = (
    "what was spent before is counted under locks that keep the recording of all tenants out, and the limit is funded by an"
    " account of the platform"
)


class BudgetHandlers:
    """Answers requests about budgets. All raise Refused."""

    def __init__(
        self,
        store: BudgetStore,
        require_tenant: Callable[[str], Awaitable[None]],
        committed: Callable[[], None],
        publish_head: Callable[[AuditHead], Awaitable[None]],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._require_tenant = require_tenant
        self._committed = committed
        self._publish_head = publish_head
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.respond(BUDGET_SAVE, self.save, all_tenants=_ACROSS_TENANTS)
        bus.respond(BUDGET_REMOVE, self.remove)
        bus.respond(BUDGET_LIST, self.list)

    async def save(self, command: SaveBudget) -> BudgetState:
        """Add a budget, or replace its terms."""
        await self._require_tenant(command.tenant)
        with _refuse_errors(command):
            state, head = await self._store.save(command, self._clock())
        await self._publish(head)
        return state

    async def remove(self, command: RemoveBudget) -> BudgetRemoved:
        """Remove a budget."""
        with _refuse_errors(command):
            budget, head = await self._store.remove(command, self._clock())
        await self._publish(head)
        return BudgetRemoved(budget=budget)

    async def list(self, command: ListBudgets) -> Budgets:
        """Return the states of a tenant's budgets."""
        with _refuse_errors(command):
            return await self._store.list_states(command, self._clock())

    async def _publish(self, head: AuditHead) -> None:
        """Publish what is committed already; what cannot be published now follows with the next change of the chain."""
        self._committed()
        with suppress(NatsError, APIError, TimeoutError):
            await self._publish_head(head)


@contextmanager
def _refuse_errors(command: SaveBudget | RemoveBudget | ListBudgets) -> Iterator[None]:
    tenant = command.tenant
    try:
        with refuse_outages():
            yield
    except UnknownBudget:
        message = f"{tenant} has no budget {command.budget_id}: `keyferry budgets list --tenant {tenant}` shows those that it has"
        raise Refused(ErrorCode.NOT_FOUND, message) from None
    except TooManyBudgets:
        message = f"nothing was saved: {tenant} has {MAX_BUDGETS} budgets, the most there may be; remove one first"
        raise Refused(ErrorCode.CONFLICT, message) from None
    except BudgetExists as error:
        message = f"nothing was saved: {error.budget_id} is a budget of the same scope and window; change that one"
        raise Refused(ErrorCode.CONFLICT, message) from None
    except FixedTerms:
        message = (
            "nothing was saved: the scope and the window of a budget stay as they are, since what was counted would be of"
            " something else; add another budget, and remove this one"
        )
        raise Refused(ErrorCode.CONFLICT, message) from None
    except BudgetChanged as error:
        message = (
            f"nothing was saved: the budget is at revision {error.revision}, since somebody else has changed it; read it"
            " again, and repeat the change"
        )
        raise Refused(ErrorCode.CONFLICT, message) from None
