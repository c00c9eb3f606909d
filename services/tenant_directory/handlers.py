"""The directory's doors: management requests over the bus."""

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
    ListClientTokens,
    ListTenants,
    RevokeClientToken,
    Tenant,
    Tenants,
    UpdateTenant,
)
from keyferry.contracts.topology import (
    TENANT_CREATE,
    TENANT_LIST,
    TENANT_UPDATE,
    TOKEN_CREATE,
    TOKEN_LIST,
    TOKEN_REVOKE,
)
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.tenant_directory.rejection import Rejected
from services.tenant_directory.store import DirectoryStore


class Handlers:
    """Answers for one process. `committed` is called after every change, `clock` gives the time in UTC.

    Every method raises Refused where the answer is no.
    """

    def __init__(
        self, store: DirectoryStore, pepper: Secret, committed: Callable[[], None], clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._pepper = pepper
        self._committed = committed
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Answer on `bus` whatever the topology has the directory hear."""
        bus.respond(TENANT_CREATE, self.create_tenant)
        bus.respond(TENANT_UPDATE, self.update_tenant)
        bus.respond(TENANT_LIST, self.list_tenants)
        bus.respond(TOKEN_CREATE, self.create_token)
        bus.respond(TOKEN_REVOKE, self.revoke_token)
        bus.respond(TOKEN_LIST, self.list_tokens)

    async def create_tenant(self, command: CreateTenant) -> Tenant:
        """Add a tenant."""
        async with self._changing():
            return await self._store.create_tenant(command)

    async def update_tenant(self, command: UpdateTenant) -> Tenant:
        """Rename, re-tier, suspend a tenant or end its suspension."""
        async with self._changing():
            return await self._store.update_tenant(command)

    async def list_tenants(self, command: ListTenants) -> Tenants:
        """All tenants, the platform's own included."""
        async with _reading():
            return Tenants(tenants=await self._store.all_tenants())

    async def create_token(self, command: CreateClientToken) -> ClientToken:
        """Register a client token by its digest."""
        fingerprint = client_token.fingerprint(command.digest, self._pepper)
        async with self._changing():
            return await self._store.register_token(command, fingerprint, ids.new(ids.CLIENT_TOKEN), self._clock())

    async def revoke_token(self, command: RevokeClientToken) -> ClientToken:
        """Revoke a client token; again, it stays revoked as of the first time."""
        async with self._changing():
            return await self._store.revoke_token(command, self._clock())

    async def list_tokens(self, command: ListClientTokens) -> ClientTokens:
        """A tenant's client tokens."""
        async with _reading():
            return ClientTokens(tokens=await self._store.tokens_of(command.tenant))

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        async with _refusing("so nobody knows whether the change was made: look at the list before asking again"):
            yield
        self._committed()


def _reading() -> AbstractAsyncContextManager[None]:
    return _refusing("so it cannot tell: ask again in a moment")


@asynccontextmanager
async def _refusing(then: str) -> AsyncIterator[None]:
    """Rules and outages as refusals."""
    try:
        yield
    except Rejected as error:
        raise Refused(error.code, error.message) from None
    except DatabaseUnavailable:
        message = f"the tenant directory cannot reach its database, {then}; `keyferry doctor` tells what is missing"
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
