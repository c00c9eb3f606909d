"""The vault's leases over a real bus and a real PostgreSQL, with workers."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts import ids
from keyferry.contracts.audit import UncountedAuditEvent
from keyferry.contracts.key import ProviderKey
from keyferry.contracts.lease import LeaseKey, Registered, SealedKey, WorkerRegistration
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import (
    KEY_LEASE,
    PROVIDER_KEYS_VIEW,
    WORKER_REGISTER,
    Role,
    worker_id,
)
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.views import ViewWriter
from keyferry.sealing import registration
from keyferry.sealing.delivery import NONCE_BYTES, Purpose, Recipient, open_sealed
from keyferry.sealing.framing import to_base64
from keyferry.sealing.leased import LeasedKey
from services.key_vault.database.transaction import Database
from services.key_vault.leases.alarms import LeaseAlarms
from services.key_vault.leases.lease_watch import LeaseWatch
from services.key_vault.leases.registrations import EnrolledWorkers
from services.key_vault.leases.service import LeaseService, ask_over_bus
from tests.integration.key_vault.vault_database import VaultDatabase, act, provider_key
from tests.support.servers.provisioned_bus import ProvisionedBus
from tests.support.vault.grants import Granting

ASK_SECONDS = 20.0
SLOTS = (1, 2)


@dataclass
class VaultOnBus:
    """The servers, a vault's tables, and the identities of two worker slots."""

    bus: ProvisionedBus
    vault: VaultDatabase
    signer: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    identities: dict[int, Ed25519PrivateKey] = field(
        default_factory=lambda: {slot: Ed25519PrivateKey.generate() for slot in SLOTS}
    )

    granting: Granting = field(default_factory=Granting)

    @property
    def enrolled(self) -> EnrolledWorkers:
        return EnrolledWorkers({worker_id(slot): key.public_key() for slot, key in self.identities.items()})

    def lease_service(self, bus: Bus, vault: VaultDatabase | None = None) -> LeaseService:
        """Return a replica's lease service, with an empty cache."""
        chosen = vault or self.vault
        return LeaseService(
            chosen.stores.database,
            chosen.encryption,
            self.signer,
            self.enrolled,
            lambda: datetime.now(UTC),
            ask_over_bus(bus),
            self.granting.check(),
            quiet_alarms(chosen.stores.database),
        )

    @asynccontextmanager
    async def vault_process(self) -> AsyncIterator["VaultProcess"]:
        """Run a replica of the vault that answers workers."""
        async with self.bus.connected(Role.KEY_VAULT) as bus:
            leases = self.lease_service(bus)
            bus.respond(WORKER_REGISTER, leases.register)
            bus.subscribe(KEY_LEASE, leases.on_lease)
            await bus.broker.start()
            await bus.start()
            yield VaultProcess(bus, leases)
            await bus.leave()
            await bus.finish(5)

    @asynccontextmanager
    async def worker(self, slot: int = 1, *, register: bool = True) -> AsyncIterator["WorkerEnd"]:
        """Connect a worker with a short-lived key of its own."""
        async with self.bus.connected(Role.PROVIDER_WORKER, slot) as bus:
            worker = WorkerEnd(bus, self.identities[slot], self.signer, self.granting)
            if register:
                await worker.register()
            yield worker

    async def add(self, secret: Secret, tenant: str = "acme", **changes: Any) -> ProviderKey:
        """Store a key as the service does."""
        key = provider_key(tenant, fingerprint=self.vault.encryption.fingerprint(tenant, secret), **changes)
        sealed = await self.vault.encryption.encrypt(key, secret)
        await self.vault.stores.keys.insert(key, sealed, act("key.add", key), "A key was added.")
        return key

    async def publish_view(self) -> None:
        """Publish the view as the vault's relay does."""
        async with self.bus.client(Role.KEY_VAULT) as client:
            contents = await self.vault.stores.keys.view_contents()
            await ViewWriter(client, PROVIDER_KEYS_VIEW).reconcile(contents[PROVIDER_KEYS_VIEW.name])

    def audited(self, action: str = "key.lease") -> list[UncountedAuditEvent]:
        """Return the committed audit events, in order."""
        rows = self.vault.rows("SELECT * FROM key_vault.event_outbox ORDER BY 1")
        found = [next(bytes(value) for value in row.values() if isinstance(value, bytes | memoryview)) for row in rows]
        events = [UncountedAuditEvent.decode(data) for data in found if "event_id" in orjson.loads(data)]
        return [event for event in events if event.action == action]


@dataclass(frozen=True)
class VaultProcess:
    """A vault replica that answers workers only."""

    bus: Bus
    leases: LeaseService


class WorkerEnd:
    """A worker's requests."""

    def __init__(self, bus: Bus, identity: Ed25519PrivateKey, vault: Ed25519PrivateKey, granting: Granting) -> None:
        self.granting = granting
        self.bus = bus
        self._identity = identity
        self._private_key = X25519PrivateKey.generate()
        self._vault = vault

    @property
    def recipient(self) -> Recipient:
        return Recipient(self.bus.user, self.bus.instance_id, (self._private_key,), self._vault.public_key())

    def registration(self, **changes: object) -> WorkerRegistration:
        values: dict[str, object] = {
            "worker_id": self.bus.user,
            "instance_id": self.bus.instance_id,
            "public_key": self._private_key.public_key().public_bytes_raw(),
            "not_after_unix_ms": now_unix_ms() + 600_000,
        }
        return registration.sign(self._identity, **(values | changes))  # type: ignore[arg-type]

    async def register(self, registration: WorkerRegistration | None = None) -> Registered:
        return await self.bus.ask(
            WORKER_REGISTER,
            registration or self.registration(),
            timeout_seconds=ASK_SECONDS,
            worker=self.bus.user,
        )

    def asks(self, key: ProviderKey, **changes: object) -> LeaseKey:
        """Return a lease request for a request of the key's owner that ingress signed, and that is paid for."""
        question = LeaseKey(
            instance_id=self.bus.instance_id,
            tenant=key.tenant,
            owner=key.tenant,
            provider=key.provider,
            key_id=key.key_id,
            origin=key.origin,
            attempt_id=ids.new(ids.ATTEMPT),
            nonce=to_base64(secrets.token_bytes(NONCE_BYTES)),
            sent_at_unix_ms=now_unix_ms(),
        )
        return self.granting.signed(question.model_copy(update=changes)).model_copy(update=changes)

    async def lease(self, question: LeaseKey) -> SealedKey:
        return await self.bus.ask(KEY_LEASE, question, timeout_seconds=ASK_SECONDS, worker=self.bus.user)

    def opened(self, sealed: SealedKey) -> LeasedKey:
        return open_sealed(sealed, self.recipient, Purpose.LEASE)


def quiet_alarms(database: Database) -> LeaseAlarms:
    """Return the alarms of a replica whose events nobody publishes."""
    return LeaseAlarms(database, LeaseWatch(), lambda: datetime.now(UTC), lambda: None)


def now_unix_ms() -> int:
    return time.time_ns() // 1_000_000
