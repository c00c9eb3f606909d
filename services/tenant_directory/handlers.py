"""Handlers of the directory: management requests over the bus."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from keyferry.contracts import client_token, ids
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import (
    ClientToken,
    ClientTokens,
    CreateClientToken,
    CreateTenant,
    GetTenant,
    ListClientTokens,
    ListTenants,
    RevokeClientToken,
    Tenant,
    Tenants,
    UpdateClientToken,
    UpdateTenant,
)
from keyferry.contracts.tiers import GetTiers, TierTable
from keyferry.contracts.topology import (
    TENANT_CREATE,
    TENANT_GET,
    TENANT_LIST,
    TENANT_UPDATE,
    TIER_LIST,
    TOKEN_CREATE,
    TOKEN_LIST,
    TOKEN_REVOKE,
    TOKEN_UPDATE,
)
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.tenant_directory.client_token_store import ClientTokenStore
from services.tenant_directory.store import DirectoryStore
from services.tenant_directory.tenants import RuleViolation

UNKNOWN_OUTCOME = "so it is unknown whether the change was made: list first, then try again"
"""What follows for a change from an outage."""


class Handlers:
    """Handlers of one process. `committed` is called after every change; `clock` returns the time in UTC.

    Every handler raises Refused if it cannot do what was requested.
    """

    def __init__(
        self,
        store: DirectoryStore,
        tokens: ClientTokenStore,
        pepper: Secret,
        tiers: TierTable,
        committed: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._pepper = pepper
        self._tiers = tiers
        self._committed = committed
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the directory's subjects of the topology."""
        bus.respond(TENANT_CREATE, self.create_tenant)
        bus.respond(TENANT_UPDATE, self.update_tenant)
        bus.respond(TENANT_GET, self.get_tenant)
        bus.respond(TENANT_LIST, self.list_tenants)
        bus.respond(TOKEN_CREATE, self.create_token)
        bus.respond(TOKEN_UPDATE, self.update_token)
        bus.respond(TOKEN_REVOKE, self.revoke_token)
        bus.respond(TOKEN_LIST, self.list_tokens)
        bus.respond(TIER_LIST, self.list_tiers)

    async def create_tenant(self, command: CreateTenant) -> Tenant:
        """Add a tenant."""
        async with self._change():
            return await self._store.create_tenant(command)

    async def update_tenant(self, command: UpdateTenant) -> Tenant:
        """Change a tenant's name, tier, limits or policies, suspend it, or end its suspension."""
        async with self._change():
            return await self._store.update_tenant(command)

    async def get_tenant(self, command: GetTenant) -> Tenant:
        """Return one tenant."""
        async with reading():
            return await self._store.get_tenant(command.tenant)

    async def list_tenants(self, command: ListTenants) -> Tenants:
        """Return all tenants, including the platform's own."""
        async with reading():
            return Tenants(tenants=await self._store.list_tenants())

    async def create_token(self, command: CreateClientToken) -> ClientToken:
        """Register a client token by its digest."""
        fingerprint = client_token.fingerprint(command.digest, self._pepper)
        async with self._change():
            return await self._tokens.register_token(command, fingerprint, ids.new(ids.CLIENT_TOKEN), self._clock())

    async def list_tiers(self, command: GetTiers) -> TierTable:
        """Return what each tier includes."""
        return self._tiers

    async def update_token(self, command: UpdateClientToken) -> ClientToken:
        """Change a client token's limits."""
        async with self._change():
            return await self._tokens.update_token(command)

    async def revoke_token(self, command: RevokeClientToken) -> ClientToken:
        """Revoke a client token; a second time keeps the first time of revocation."""
        async with self._change():
            return await self._tokens.revoke_token(command, self._clock())

    async def list_tokens(self, command: ListClientTokens) -> ClientTokens:
        """Return a tenant's client tokens."""
        async with reading():
            return ClientTokens(tokens=await self._tokens.list_tokens(command.tenant))

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        async with refuse_errors(UNKNOWN_OUTCOME):
            yield
        self._committed()


def reading() -> AbstractAsyncContextManager[None]:
    """Refuse a request that only reads, on a violated rule or an outage."""
    return refuse_errors("so it cannot list them: try again in a moment")


@asynccontextmanager
async def refuse_errors(consequence: str) -> AsyncIterator[None]:
    """Refuse the request on a violated rule or an outage."""
    try:
        yield
    except RuleViolation as error:
        raise Refused(error.code, error.message) from None
    except DatabaseUnavailable:
        message = f"the tenant directory cannot reach its database, {consequence}; `keyferry doctor` shows the cause"
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
