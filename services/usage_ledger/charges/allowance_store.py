"""Free requests in the accounts: funded on first use, and read."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.charges import AllowanceState
from keyferry.contracts.credit import allowance_account
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.accounts.store import apply_transfers, read_balances, read_held
from services.usage_ledger.charges.allowance import describe_allowance, fund_allowance, funding_id
from services.usage_ledger.database import TransactionalStore

_FUNDED = text("SELECT amount FROM usage_ledger.transfers WHERE id = :id")

TenantOf = Callable[[str], Tenant | None]


class AllowanceStore(TransactionalStore):
    """The accounts of free requests. `tenants_known` says whether `tenant_of` knows every tenant."""

    def __init__(
        self, engine: AsyncEngine, plan: BillingPlan, tenant_of: TenantOf, tenants_known: Callable[[], bool]
    ) -> None:
        super().__init__(engine)
        self._plan = plan
        self._tenant_of = tenant_of
        self._tenants_known = tenants_known

    async def open_account(self, connection: AsyncConnection, tenant: str, account: str, now: datetime) -> bool:
        """Fund an account on its first use; return whether the tenant has it. Raises Refused until the tenants are known.

        Guard: the id of the transfer. Two processes that do it at once fund it once.
        """
        found = self._require(tenant)
        transfer = None if found is None else fund_allowance(tenant, account, found.tier, self._plan, now)
        if transfer is None:
            return False
        await apply_transfers(connection, [transfer], now)
        return True

    async def read(self, tenant: str, now: datetime) -> AllowanceState:
        """Return what a tenant has left in this month. Raises Refused for one that does not exist, and DatabaseUnavailable."""
        found = self._require(tenant)
        if found is None:
            raise Refused(ErrorCode.NOT_FOUND, f"there is no tenant {tenant!r}")
        account = allowance_account(tenant, now)
        async with self.snapshot() as connection:
            balance = (await read_balances(connection, [account])).get(account)
            held = (await read_held(connection, [account])).get(account, 0)
            funded = await connection.scalar(_FUNDED, {"id": funding_id(account)})
        available = 0 if balance is None else balance.available
        return describe_allowance(tenant, found.tier, self._plan, now, funded=funded, available=available, held=held)

    def _require(self, tenant: str) -> Tenant | None:
        if not self._tenants_known():
            message = "the tenants are not known yet: try again in a moment; `keyferry doctor` shows what is missing"
            raise Refused(ErrorCode.UNAVAILABLE, message)
        return self._tenant_of(tenant)
