"""Provider keys over HTTP: each route asks the vault, and no answer of it holds a key."""

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
    KeyId,
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
    KEY_ADD,
    KEY_EDIT,
    KEY_INTAKE,
    KEY_LIST,
    KEY_REMOVE,
    KEY_REVERT,
    KEY_ROTATE,
    KEY_TEST,
    KEY_TRY,
)
from services.console.acting import Acting, For
from services.console.asking import KEY_TEST_SECONDS, Questions
from services.console.bodies import AddKeyBody, EditKeyBody, KeyPaging, RotateKeyBody, TryKeyBody
from services.console.paging import page
from services.console.problem import not_found
from services.console.routing_table import Route
from services.console.sealing import Sealer
from services.console.views import ProviderKeyPage, ProviderKeySummary, summary

NamedKey = Annotated[KeyId, InPath(description="A provider key's id, as the list shows it")]


class KeyRoutes:
    """The routes below `/provider-keys`. `clock` gives the time in UTC."""

    def __init__(self, questions: Questions, sealer: Sealer, clock: Callable[[], datetime]) -> None:
        self._questions = questions
        self._sealer = sealer
        self._clock = clock

    def table(self) -> tuple[Route, ...]:
        """The routes; fixed names stand before the key's id, which would take them for its own."""
        base, one = "/provider-keys", "/provider-keys/{key_id}"
        return (
            Route("GET", base, "list_provider_keys", self.list_),
            Route("POST", base, "add_provider_key", self.add, status=201),
            Route("POST", f"{base}/test", "try_provider_key", self.try_),
            Route("GET", f"{base}/summary", "summarize_provider_keys", self.summary),
            Route("GET", f"{base}/intake-key", "get_intake_key", self.intake_key),
            Route("GET", one, "get_provider_key", self.get),
            Route("PATCH", one, "edit_provider_key", self.edit),
            Route("DELETE", one, "remove_provider_key", self.remove),
            Route("POST", f"{one}/test", "test_provider_key", self.test),
            Route("POST", f"{one}/rotate", "rotate_provider_key", self.rotate),
            Route("POST", f"{one}/revert", "revert_provider_key", self.revert),
        )

    async def list_(self, who: For, query: Annotated[KeyPaging, Query()]) -> ProviderKeyPage:
        """A tenant's provider keys, masked, in the order in which they are used."""
        keys = await self._keys(who, query.created_by)
        data, following = page(keys, lambda key: key.key_id, query.limit, query.after)
        return ProviderKeyPage(data=data, next=following)

    async def add(self, who: For, body: AddKeyBody, request: Request, response: Response) -> ProviderKey:
        """Store a provider key: tested against its provider first, then sealed. Give it as `sealed`, or as `key` in clear."""
        known = body.model_dump(exclude={"key", "sealed"})
        command = AddKey(tenant=who.tenant, actor=who.actor, sealed=await self._sealed(who, body), **known)
        added = await self._questions.change(KEY_ADD, command, ProviderKey, timeout_seconds=KEY_TEST_SECONDS)
        response.headers["location"] = f"{request.url.path}/{added.key_id}"
        return added

    async def try_(self, who: For, body: TryKeyBody) -> KeyTest:
        """Test a provider key without storing it."""
        known = body.model_dump(exclude={"key", "sealed"})
        command = TryKey(tenant=who.tenant, actor=who.actor, sealed=await self._sealed(who, body), **known)
        return await self._questions.read(KEY_TRY, command, KeyTest, timeout_seconds=KEY_TEST_SECONDS)

    async def summary(self, who: For) -> ProviderKeySummary:
        """A tenant's provider keys in figures."""
        return summary(await self._keys(who), self._clock())

    async def intake_key(self, who: For) -> IntakeKey:
        """The key that clients seal provider keys to. Compare it with the one that the operator has published."""
        return await self._intake_key()

    async def get(self, who: For, key_id: NamedKey) -> ProviderKey:
        """One provider key, masked."""
        return await self._named(who, key_id)

    async def edit(self, who: For, key_id: NamedKey, body: EditKeyBody) -> ProviderKey:
        """Change what is known of a provider key; null takes a restriction away."""
        command = EditKey.model_validate({"tenant": who.tenant, "actor": who.actor, "key_id": key_id, **body.changes()})
        return await self._questions.change(KEY_EDIT, command, ProviderKey)

    async def remove(self, who: For, key_id: NamedKey) -> KeyRemoved:
        """Destroy a provider key. Nothing brings it back."""
        command = RemoveKey(tenant=who.tenant, actor=who.actor, key_id=key_id)
        return await self._questions.change(KEY_REMOVE, command, KeyRemoved)

    async def test(self, who: For, key_id: NamedKey) -> ProviderKey:
        """Test a stored provider key now; `last_test` says how each step went."""
        command = TestKey(tenant=who.tenant, actor=who.actor, key_id=key_id)
        return await self._questions.read(KEY_TEST, command, ProviderKey, timeout_seconds=KEY_TEST_SECONDS)

    async def rotate(self, who: For, key_id: NamedKey, body: RotateKeyBody) -> ProviderKey:
        """Put another key in a stored one's place. The former one is kept for a while, to go back to."""
        if body.sealed is not None:
            sealed = body.sealed
        else:
            assert body.key is not None, "a body has one of both"
            stored = await self._named(who, key_id)
            sealed = self._sealer.seal_replacement(await self._intake_key(), stored, body.key)
        command = RotateKey(
            tenant=who.tenant, actor=who.actor, key_id=key_id, sealed=sealed, save_untested=body.save_untested
        )
        return await self._questions.change(KEY_ROTATE, command, ProviderKey, timeout_seconds=KEY_TEST_SECONDS)

    async def revert(self, who: For, key_id: NamedKey) -> ProviderKey:
        """Go back to what a provider key was before its last rotation."""
        command = RevertKey(tenant=who.tenant, actor=who.actor, key_id=key_id)
        return await self._questions.change(KEY_REVERT, command, ProviderKey, timeout_seconds=KEY_TEST_SECONDS)

    async def _sealed(self, who: Acting, body: TryKeyBody) -> str:
        if body.sealed is not None:
            return body.sealed
        assert body.key is not None, "a body has one of both"
        intake = await self._intake_key()
        return self._sealer.seal_new(intake, who.tenant, body.provider, body.base_url, body.fields, body.key)

    async def _intake_key(self) -> IntakeKey:
        return self._sealer.trusted(await self._questions.read(KEY_INTAKE, GetIntakeKey(), IntakeKey))

    async def _keys(self, who: Acting, created_by: str | None = None) -> list[ProviderKey]:
        asked = ListKeys(tenant=who.tenant, created_by=created_by)
        return (await self._questions.read(KEY_LIST, asked, ProviderKeys)).keys

    async def _named(self, who: Acting, key_id: str) -> ProviderKey:
        for key in await self._keys(who):
            if key.key_id == key_id:
                return key
        raise not_found("the tenant has no such provider key; the list shows every key's id")
