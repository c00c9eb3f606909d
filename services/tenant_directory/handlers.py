"""Handlers of the directory: management requests about tenants over the bus."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from keyferry.contracts.purchase_management import TENANT_APPLY_SUBSCRIPTION
from keyferry.contracts.subscriptions import AppliedSubscription, ApplySubscription
from keyferry.contracts.tenancy import (
    CreateTenant,
    GetTenant,
    ListTenants,
    Tenant,
    Tenants,
    TierSource,
    UpdateTenant,
)
from keyferry.contracts.tiers import GetTiers, TierTable
from keyferry.contracts.topology import (
    TENANT_CREATE,
    TENANT_GET,
    TENANT_LIST,
    TENANT_UPDATE,
    TIER_LIST,
)
from keyferry.runtime.bus.connection import Bus
from services.tenant_directory.refusal import UNKNOWN_OUTCOME, reading, refuse_errors
from services.tenant_directory.store import DirectoryStore


class Handlers:
    """Handlers of one process. `committed` is called after every change.

    Every handler raises Refused if it cannot do what was requested.
    """

    def __init__(
        self,
        store: DirectoryStore,
        tiers: TierTable,
        committed: Callable[[], None],
    ) -> None:
        self._store = store
        self._tiers = tiers
        self._committed = committed

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the directory's subjects of the topology."""
        bus.respond(TENANT_CREATE, self.create_tenant)
        bus.respond(TENANT_UPDATE, self.update_tenant)
        bus.respond(TENANT_APPLY_SUBSCRIPTION, self.apply_subscription)
        bus.respond(TENANT_GET, self.get_tenant)
        bus.respond(TENANT_LIST, self.list_tenants)
        bus.respond(TIER_LIST, self.list_tiers)

    async def create_tenant(self, command: CreateTenant) -> Tenant:
        """Add a tenant."""
        async with self._change():
            return await self._store.create_tenant(command)

    async def update_tenant(self, command: UpdateTenant) -> Tenant:
        """Change a tenant's name, tier, limits or policies, suspend it, or end its suspension."""
        async with self._change():
            return await self._store.update_tenant(command)

    async def apply_subscription(self, command: ApplySubscription) -> AppliedSubscription:
        """Give a tenant the tier that its subscription pays for, unless an operator has set its tier."""
        async with self._change():
            tenant = await self._store.apply_subscription(command)
        return AppliedSubscription(tenant=tenant, applied=tenant.tier_set_by is not TierSource.OPERATOR)

    async def get_tenant(self, command: GetTenant) -> Tenant:
        """Return one tenant."""
        async with reading():
            return await self._store.get_tenant(command.tenant)

    async def list_tenants(self, command: ListTenants) -> Tenants:
        """Return all tenants, including the platform's own."""
        async with reading():
            return Tenants(tenants=await self._store.list_tenants())

    async def list_tiers(self, command: GetTiers) -> TierTable:
        """Return what each tier includes."""
        return self._tiers

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        async with refuse_errors(UNKNOWN_OUTCOME):
            yield
        self._committed()
