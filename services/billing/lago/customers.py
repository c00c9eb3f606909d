"""Which customer a tenant is in Lago; a tenant without one gets one if there is a plan for such tenants."""

from collections.abc import Callable, Mapping
from datetime import datetime

from keyferry.contracts.lago import LagoCustomer, LagoCustomerState
from services.billing.lago.client import LagoClient
from services.billing.lago.store import LagoStore

CREATOR = "billing"
WALLET_NAME = "Keyferry credits"
_CACHE_SECONDS = 10.0
_MOST_CACHED = 10_000


def external_id(tenant: str) -> str:
    """Return the id by which a tenant's customer and subscription are known in Lago if nobody chose another one."""
    return f"keyferry-{tenant}"


class LagoCustomerDirectory:
    """Finds and adds customers. `plan` is that of tenants without one; None to leave them out.

    All steps of adding one can be repeated: the ids are ours, so after a stop between two steps the next one finds what is there.
    """

    def __init__(self, store: LagoStore, client: LagoClient, plan: str | None, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._client = client
        self._plan = plan
        self._clock = clock
        self._found: dict[str, tuple[LagoCustomer, datetime]] = {}

    async def resolve(self, first_used: Mapping[str, datetime]) -> dict[str, LagoCustomer]:
        """Return the customers of tenants, by when each has used something first; without those to leave out.

        Raises LagoUnavailable, LagoRefused if Lago does not take a new customer, and DatabaseUnavailable.
        """
        now = self._clock()
        found = {
            tenant: known
            for tenant in first_used
            if (entry := self._found.get(tenant)) and (now - entry[1]).total_seconds() < _CACHE_SECONDS
            for known in (entry[0],)
        }
        missing = first_used.keys() - found.keys()
        if missing:
            found |= await self._store.read_customers(missing)
            for tenant in sorted(missing - found.keys()):
                if self._plan is not None:
                    found[tenant] = await self._add(tenant, self._plan, first_used[tenant])
            if len(self._found) > _MOST_CACHED:
                self._found.clear()
            self._found |= {tenant: (found[tenant], now) for tenant in missing & found.keys()}
        return {tenant: each for tenant, each in found.items() if each.state is LagoCustomerState.REPORTED}

    def forget(self, tenant: str) -> None:
        """Read a tenant's customer again at the next use."""
        self._found.pop(tenant, None)

    async def wallet_of(self, customer: LagoCustomer) -> str:
        """Return the wallet of a customer, which is added if there is none. Raises as `resolve` does."""
        if customer.wallet_id is not None:
            return customer.wallet_id
        wallet_id = await self._find_wallet(customer.external_customer_id)
        changed = customer.model_copy(update={"wallet_id": wallet_id, "updated_at": self._clock()})
        await self._store.save_customer(changed, actor=CREATOR, replace=True)
        self.forget(customer.tenant)
        return wallet_id

    async def _find_wallet(self, external_customer_id: str) -> str:
        for wallet in await self._client.list_wallets(external_customer_id):
            if wallet.name == WALLET_NAME and wallet.currency == "USD":
                return wallet.wallet_id
        return await self._client.add_wallet(external_customer_id, WALLET_NAME)

    async def _add(self, tenant: str, plan: str, first_used: datetime) -> LagoCustomer:
        name = external_id(tenant)
        await self._client.save_customer(name, tenant)
        if not await self._client.has_subscription(name):
            # Lago counts no event from before its subscription: it begins with the month of the first one.
            since = first_used.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            await self._client.add_subscription(name, name, plan, since.strftime("%Y-%m-%dT%H:%M:%SZ"))
        customer = LagoCustomer(
            tenant=tenant,
            state=LagoCustomerState.REPORTED,
            external_customer_id=name,
            external_subscription_id=name,
            wallet_id=await self._find_wallet(name),
            created_by=CREATOR,
            updated_at=self._clock(),
        )
        return await self._store.save_customer(customer, actor=CREATOR, replace=False)
