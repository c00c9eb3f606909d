"""Handlers of requests about client tokens, and of the reports of their use."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from keyferry.contracts import client_token, ids
from keyferry.contracts.client_token_management import TOKEN_END_OVERLAP, TOKEN_ROTATE, TOKEN_USED
from keyferry.contracts.client_token_use import ClientTokensUsed, EndTokenOverlap, RotateClientToken
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import (
    ClientToken,
    ClientTokens,
    CreateClientToken,
    ListClientTokens,
    RevokeClientToken,
    UpdateClientToken,
)
from keyferry.contracts.topology import TOKEN_CREATE, TOKEN_LIST, TOKEN_REVOKE, TOKEN_UPDATE
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.tenant_directory.client_token_store import ClientTokenStore
from services.tenant_directory.refusal import UNKNOWN_OUTCOME, reading, refuse_errors

_log = logging.getLogger(__name__)


class ClientTokenHandlers:
    """Handlers of one process. `committed` is called after every change.

    Every handler of a request raises Refused if it cannot do what was requested.
    """

    def __init__(
        self,
        store: ClientTokenStore,
        pepper: Secret,
        committed: Callable[[], None],
    ) -> None:
        self._store = store
        self._pepper = pepper
        self._committed = committed

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the subjects about client tokens."""
        bus.respond(TOKEN_CREATE, self.create_token)
        bus.respond(TOKEN_UPDATE, self.update_token)
        bus.respond(TOKEN_ROTATE, self.rotate_token)
        bus.respond(TOKEN_END_OVERLAP, self.end_overlap)
        bus.respond(TOKEN_REVOKE, self.revoke_token)
        bus.respond(TOKEN_LIST, self.list_tokens)
        bus.subscribe(TOKEN_USED, self.on_used)

    async def create_token(self, command: CreateClientToken) -> ClientToken:
        """Register a client token by its digest."""
        fingerprint = client_token.fingerprint(command.digest, self._pepper)
        async with self._change():
            return await self._store.register_token(command, fingerprint, ids.new(ids.CLIENT_TOKEN))

    async def update_token(self, command: UpdateClientToken) -> ClientToken:
        """Change what a client token may do, its label, expiry or limits; disable it, or enable it again."""
        async with self._change():
            return await self._store.update_token(command)

    async def rotate_token(self, command: RotateClientToken) -> ClientToken:
        """Replace a client token's secret; the old one is accepted until the overlap ends."""
        fingerprint = client_token.fingerprint(command.digest, self._pepper)
        async with self._change():
            return await self._store.rotate_token(command, fingerprint)

    async def end_overlap(self, command: EndTokenOverlap) -> ClientToken:
        """Stop accepting the secret before a client token's current one."""
        async with self._change():
            return await self._store.end_overlap(command)

    async def revoke_token(self, command: RevokeClientToken) -> ClientToken:
        """Revoke a client token; a second time keeps the first time of revocation."""
        async with self._change():
            return await self._store.revoke_token(command)

    async def list_tokens(self, command: ListClientTokens) -> ClientTokens:
        """Return the client tokens of a tenant that a query asks for."""
        async with reading():
            return await self._store.list_tokens(command)

    async def on_used(self, message: ReceivedMessage[ClientTokensUsed]) -> None:
        """Record when client tokens were last used. During an outage the report is lost; the next use is reported again."""
        if not message.message.uses:
            return
        try:
            await self._store.note_uses(message.message.uses)
        except DatabaseUnavailable:
            _log.info(
                "the last use of client tokens could not be recorded", extra={"tokens": len(message.message.uses)}
            )

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        async with refuse_errors(UNKNOWN_OUTCOME):
            yield
        self._committed()
