"""Routes for provider keys: each sends a request to the vault, and no response contains a key."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import Path as InPath
from fastapi import Query, Request, Response

from keyferry.contracts.key import (
    AddKey,
    EditKey,
    GetIntakeKey,
    IntakeKey,
    KeyRemoved,
    KeyTest,
    ListKeys,
    ProviderKey,
    ProviderKeys,
    RemoveKey,
    RevertKey,
    RotateKey,
    TestKey,
    TryKey,
)
from keyferry.contracts.topology import (
    INTAKE_KEY_GET,
    KEY_ADD,
    KEY_EDIT,
    KEY_LIST,
    KEY_REMOVE,
    KEY_REVERT,
    KEY_ROTATE,
    KEY_TEST,
    KEY_TRY,
)
from services.console.access import RouteSpec
from services.console.bodies import AddKeyBody, EditKeyBody, KeyListQuery, RotateKeyBody, TryKeyBody
from services.console.problem import not_found
from services.console.sealing import Sealer
from services.console.service_client import KEY_TEST_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant, TenantContext
from services.console.views import ProviderKeyPage, ProviderKeySummary, gone_cursor, summarize_keys

KEY_ID_PATTERN = r"^key_[0-9a-z_]{1,60}$"
"""Narrower than a key's id in the contracts: many providers' keys are of a-z and 0-9 alone, and the vault repeats an id."""
NamedKey = Annotated[
    str, InPath(pattern=KEY_ID_PATTERN, description="A provider key's id, as the list shows it; never the key")
]


class KeyRoutes:
    """The routes under `/provider-keys`. `clock` returns the time in UTC."""

    def __init__(self, services: ServiceClient, sealer: Sealer, clock: Callable[[], datetime]) -> None:
        self._services = services
        self._sealer = sealer
        self._clock = clock

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes. Fixed paths come before `{key_id}`, which would match them as well."""
        base, one = "/provider-keys", "/provider-keys/{key_id}"
        return (
            RouteSpec("GET", base, "list_provider_keys", self.list_),
            RouteSpec("POST", base, "add_provider_key", self.add, status=201),
            RouteSpec("POST", f"{base}/test", "try_provider_key", self.try_),
            RouteSpec("GET", f"{base}/summary", "summarize_provider_keys", self.summary),
            RouteSpec("GET", f"{base}/intake-key", "get_intake_key", self.intake_key),
            RouteSpec("GET", one, "get_provider_key", self.get),
            RouteSpec("PATCH", one, "edit_provider_key", self.edit),
            RouteSpec("DELETE", one, "remove_provider_key", self.remove),
            RouteSpec("POST", f"{one}/test", "test_provider_key", self.test),
            RouteSpec("POST", f"{one}/rotate", "rotate_provider_key", self.rotate),
            RouteSpec("POST", f"{one}/revert", "revert_provider_key", self.revert),
        )

    async def list_(self, context: CurrentTenant, query: Annotated[KeyListQuery, Query()]) -> ProviderKeyPage:
        """List a tenant's provider keys, masked, in the order in which they are used."""
        if query.after is not None and not re.fullmatch(KEY_ID_PATTERN, query.after):
            raise gone_cursor()
        found = await self._list(context, **query.model_dump())
        if not found.after_found:
            raise gone_cursor()
        return ProviderKeyPage(data=found.keys, next=found.keys[-1].key_id if found.more else None)

    async def add(self, context: CurrentTenant, body: AddKeyBody, request: Request, response: Response) -> ProviderKey:
        """Test a provider key against its provider and store it. Give it as `sealed`, or as `key` in clear text."""
        fields = body.model_dump(exclude={"key", "sealed"})
        command = AddKey(
            tenant=context.tenant, actor=context.actor, sealed=await self._sealed_key(context, body), **fields
        )
        added = await self._services.change(KEY_ADD, command, timeout_seconds=KEY_TEST_SECONDS)
        response.headers["location"] = f"{request.url.path}/{added.key_id}"
        return added

    async def try_(self, context: CurrentTenant, body: TryKeyBody) -> KeyTest:
        """Test a provider key without storing it."""
        fields = body.model_dump(exclude={"key", "sealed"})
        command = TryKey(
            tenant=context.tenant, actor=context.actor, sealed=await self._sealed_key(context, body), **fields
        )
        return await self._services.read(KEY_TRY, command, timeout_seconds=KEY_TEST_SECONDS)

    async def summary(self, context: CurrentTenant) -> ProviderKeySummary:
        """Return statistics of a tenant's provider keys."""
        return summarize_keys((await self._list(context, brief=True)).keys, self._clock())

    async def intake_key(self, context: CurrentTenant) -> IntakeKey:
        """Return the key to which clients seal provider keys. Compare it with the one that the operator has published."""
        return await self._intake_key()

    async def get(self, context: CurrentTenant, key_id: NamedKey) -> ProviderKey:
        """Return one provider key, masked."""
        return await self._find(context, key_id)

    async def edit(self, context: CurrentTenant, key_id: NamedKey, body: EditKeyBody) -> ProviderKey:
        """Change the properties of a provider key; null removes a restriction."""
        command = EditKey.model_validate(
            {"tenant": context.tenant, "actor": context.actor, "key_id": key_id, **body.changes()}
        )
        return await self._services.change(KEY_EDIT, command)

    async def remove(self, context: CurrentTenant, key_id: NamedKey) -> KeyRemoved:
        """Destroy a provider key. This cannot be undone."""
        command = RemoveKey(tenant=context.tenant, actor=context.actor, key_id=key_id)
        return await self._services.change(KEY_REMOVE, command)

    async def test(self, context: CurrentTenant, key_id: NamedKey) -> ProviderKey:
        """Test a stored provider key now; `last_test` holds the result of each step."""
        command = TestKey(tenant=context.tenant, actor=context.actor, key_id=key_id)
        return await self._services.read(KEY_TEST, command, timeout_seconds=KEY_TEST_SECONDS)

    async def rotate(self, context: CurrentTenant, key_id: NamedKey, body: RotateKeyBody) -> ProviderKey:
        """Replace a stored key by another one. The previous key is kept for a while, so that it can be restored."""
        if body.sealed is not None:
            sealed = body.sealed
        else:
            assert body.key is not None, "a body has exactly one of the two"
            stored = await self._find(context, key_id)
            sealed = self._sealer.seal_replacement(await self._intake_key(), stored, body.key)
        command = RotateKey(
            tenant=context.tenant, actor=context.actor, key_id=key_id, sealed=sealed, save_untested=body.save_untested
        )
        return await self._services.change(KEY_ROTATE, command, timeout_seconds=KEY_TEST_SECONDS)

    async def revert(self, context: CurrentTenant, key_id: NamedKey) -> ProviderKey:
        """Restore a provider key to what it was before its last rotation."""
        command = RevertKey(tenant=context.tenant, actor=context.actor, key_id=key_id)
        return await self._services.change(KEY_REVERT, command, timeout_seconds=KEY_TEST_SECONDS)

    async def _sealed_key(self, context: TenantContext, body: TryKeyBody) -> str:
        if body.sealed is not None:
            return body.sealed
        assert body.key is not None, "a body has exactly one of the two"
        intake = await self._intake_key()
        return self._sealer.seal_new(intake, context.tenant, body.provider, body.base_url, body.fields, body.key)

    async def _intake_key(self) -> IntakeKey:
        return self._sealer.require_pinned(await self._services.read(INTAKE_KEY_GET, GetIntakeKey()))

    async def _list(self, context: TenantContext, **query: object) -> ProviderKeys:
        return await self._services.read(KEY_LIST, ListKeys.model_validate({"tenant": context.tenant, **query}))

    async def _find(self, context: TenantContext, key_id: str) -> ProviderKey:
        for key in (await self._list(context, key_id=key_id)).keys:
            if key.key_id == key_id:
                return key
        raise not_found("the tenant has no such provider key; the list shows every key's id")
