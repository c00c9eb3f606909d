"""The vault's side of leasing, for tests of the worker: real signatures and sealing, and a dict for a table.

Parity with the real vault is what the integration tests of delivery show.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.lease import LeaseKey, Registered, SealedKey, WorkerRegistration
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused
from keyferry.sealing.delivery import Purpose, seal_to_worker
from keyferry.sealing.registration import verify
from services.provider_worker.keys.lease_client import AskForKey, LeaseClient
from services.provider_worker.keys.registrar import Registrar

WORKER_ID = "provider-worker-1"
INSTANCE_ID = "inst_1"


def key_facts(
    key_id: str = "key_0001",
    *,
    tenant: str = "acme",
    provider: str = "openai",
    origin: str = "https://api.openai.com",
    version: int = 1,
    status: KeyStatus = KeyStatus.VALID,
) -> KeyFacts:
    return KeyFacts(
        key_id=key_id,
        tenant=tenant,
        provider=provider,
        label="main",
        status=status,
        version=version,
        origin=origin,
        base_url=f"{origin}/v1",
    )


@dataclass
class VaultDouble:
    """Answers what a worker asks. `view` is both the vault's table and the worker's view; `connected` is the view's state."""

    view: dict[str, KeyFacts] = field(default_factory=dict)
    keys: dict[tuple[str, int], Secret] = field(default_factory=dict)
    connected: bool = True
    lease_ms: int = 60_000
    commands: list[LeaseKey] = field(default_factory=list)
    delivered: list[SealedKey] = field(default_factory=list)
    registrations: list[WorkerRegistration] = field(default_factory=list)
    signer: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    identity: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def put(self, facts: KeyFacts, key: Secret) -> None:
        """Store a version of a key; the view has it at once."""
        self.view[f"{facts.tenant}.{facts.key_id}"] = facts
        self.keys[facts.key_id, facts.version] = key

    async def register(self, registration: WorkerRegistration) -> Registered:
        verify(registration, self.identity.public_key(), time.time_ns() // 1_000_000)
        self.registrations.append(registration)
        return Registered(instance_id=registration.instance_id)

    async def lease(self, command: LeaseKey) -> SealedKey:
        self.commands.append(command)
        facts = self.view.get(f"{command.owner}.{command.key_id}")
        if facts is None:
            raise Refused(ErrorCode.NOT_FOUND, f"{command.owner} has no key {command.key_id}")
        if not self.registrations:
            raise Refused(ErrorCode.CONFLICT, "register first")
        sealed = self.seal(facts, command)
        self.delivered.append(sealed)
        return sealed

    def seal(self, facts: KeyFacts, command: LeaseKey) -> SealedKey:
        return seal_to_worker(
            self.keys[facts.key_id, facts.version],
            self.signer,
            self.registrations[-1],
            facts,
            purpose=Purpose.LEASE,
            tenant=command.tenant,
            nonce=command.nonce,
            not_after_unix_ms=command.sent_at_unix_ms + self.lease_ms,
        )


@dataclass(frozen=True)
class WorkerSide:
    """A worker's registrar and lease client, connected to a vault."""

    registrar: Registrar
    leases: LeaseClient


def worker_side(
    vault: VaultDouble,
    *,
    ask: AskForKey | None = None,
    max_waiting: int = 1000,
    unix_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> WorkerSide:
    """Return a worker that asks `vault`, or `ask` in its place for a hostile bus."""
    registrar = Registrar(
        worker_id=WORKER_ID,
        instance_id=INSTANCE_ID,
        identity=vault.identity,
        vault=vault.signer.public_key(),
        ask=vault.register,
        unix_ms=unix_ms,
    )
    leases = LeaseClient(
        registrar=registrar,
        ask=ask or vault.lease,
        facts_of=vault.view.get,
        current=lambda: vault.connected,
        instance_id=INSTANCE_ID,
        max_waiting=max_waiting,
        unix_ms=unix_ms,
    )
    return WorkerSide(registrar, leases)
