"""Tenants by the thousand: their keys encrypted and stored by the vault's own code, with client tokens."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine

from keyferry.cli.connection import Connection, run
from keyferry.cli.installation import Installation
from keyferry.cli.tokens import build_registration
from keyferry.contracts import client_token, ids
from keyferry.contracts.key import KeyStatus, ProviderKey
from keyferry.contracts.limits import NO_LIMITS
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import CreateTenant, KeyPolicy, Tier, UpdateTenant
from keyferry.contracts.topology import TENANT_CREATE, TENANT_UPDATE, TOKEN_CREATE
from keyferry.runtime.process.settings import read_secret
from keyferry.sealing.framing import from_base64
from services.key_vault.database.transaction import Act, Database
from services.key_vault.encryption.data_key_store import DataKeyStore
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.file import FileKeyring
from services.key_vault.keys.store import KeyStore
from tests.support.clients.steady_load import Request
from tests.support.providers.openai_double import fresh_key
from tests.support.providers.scripted_answers import Script
from tests.support.vault.keyed_system import KeyedSystem, vault_url

_AT_ONCE = 8
PROVIDER = "openai"


def store_keys(keyed_system: KeyedSystem, tenants: Sequence[str]) -> dict[str, str]:
    """Give each tenant a key that the provider double serves. Return the keys by tenant.

    Nothing of it has to outlive a power cut, so no single key waits for the disk. The vault publishes them in its own time.
    """
    keys = {tenant: fresh_key() for tenant in tenants}
    keyed_system.provider.known.update(dict.fromkeys(keys.values()))
    asyncio.run(_find_key(keyed_system, keys))
    return keys


async def _find_key(keyed_system: KeyedSystem, keys: dict[str, str]) -> None:
    secrets_dir = keyed_system.system.home / "secrets" / "vault"
    url = vault_url(keyed_system.system.home).replace("postgresql://", "postgresql+psycopg://")
    engine = create_async_engine(
        url, pool_size=_AT_ONCE, hide_parameters=True, connect_args={"options": "-c synchronous_commit=off"}
    )
    database, deployment = Database(engine), read_secret(secrets_dir / "deployment-id").reveal()
    data_keys = DataKeys(DataKeyStore(database), FileKeyring(secrets_dir / "keks"), deployment)
    encryption = EnvelopeEncryption(data_keys, deployment, _bytes_of(secrets_dir / "fingerprint-key"))
    left = iter(keys.items())

    async def add() -> None:
        for tenant, key in left:
            await _store(KeyStore(database), encryption, keyed_system, tenant, Secret(key))

    try:
        await asyncio.gather(*(add() for _ in range(_AT_ONCE)))
    finally:
        await engine.dispose()


async def _store(
    store: KeyStore, encryption: EnvelopeEncryption, keyed_system: KeyedSystem, tenant: str, secret: Secret
) -> None:
    base_url = keyed_system.provider.base_url
    key = ProviderKey(
        key_id=ids.new(ids.PROVIDER_KEY),
        tenant=tenant,
        provider=PROVIDER,
        label="main",
        status=KeyStatus.VALID,
        version=1,
        origin=base_url.removesuffix("/v1"),
        base_url=base_url,
        masked="sk-…A9f2",
        fingerprint=encryption.fingerprint(tenant, secret),
        created_at=datetime.now(UTC),
        created_by="operator",
    )
    sealed = await encryption.encrypt(key, secret)
    await store.insert(key, sealed, Act("operator", "key.add", tenant, key.key_id), "A key was added.")


def _bytes_of(file: Path) -> bytes:
    return from_base64(read_secret(file).reveal())


def open_accounts(keyed_system: KeyedSystem, tenants: Sequence[str]) -> dict[str, str]:
    """Create tenants whose own keys pay. Return a client token of each, by tenant."""
    tokens = {tenant: client_token.mint() for tenant in tenants}

    async def work(me: Connection) -> None:
        left = iter(tokens.items())

        async def make() -> None:
            for tenant, token in left:
                await me.ask(
                    TENANT_CREATE, CreateTenant(tenant=tenant, name=tenant, tier=Tier.PROFESSIONAL, limits=NO_LIMITS)
                )
                await me.ask(TENANT_UPDATE, UpdateTenant(tenant=tenant, key_policy=KeyPolicy.OWN))
                await me.ask(TOKEN_CREATE, build_registration(token, tenant, "load"))

        await asyncio.gather(*(make() for _ in range(_AT_ONCE)))

    home = keyed_system.system.home
    run(work, Installation(str(keyed_system.system.state["nats_url"]), home / "secrets" / "nkeys" / "operator.seed"))
    return {tenant: token.reveal() for tenant, token in tokens.items()}


class RequestsInTurn:
    """One-word requests, for the tenants with these tokens one after the other in a random order."""

    def __init__(self, tokens: dict[str, str]) -> None:
        self._tokens = tokens
        self._order = self._ordered()
        self._numbers = random.Random(0)
        self.asked_by: dict[str, str] = {}
        """Request -> its tenant."""

    def make_request(self, name: str, numbers: random.Random) -> Request:
        """Return the next tenant's request; a `RequestFactory`."""
        self._numbers = numbers
        tenant = next(self._order)
        self.asked_by[name] = tenant
        return Request(Script(name, 1), stream=False, token=self._tokens[tenant])

    def _ordered(self) -> Iterator[str]:
        while True:
            yield from self._numbers.sample(sorted(self._tokens), len(self._tokens))
