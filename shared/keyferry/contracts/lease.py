"""Messages that deliver provider keys to workers: registration, leases and key tests. Pure."""

from pydantic import Field

from keyferry.contracts.envelope import Message
from keyferry.contracts.ids import TenantId
from keyferry.contracts.key import Base64, KeyId, Provider
from keyferry.contracts.route import ModelName


class WorkerRegistration(Message):
    """A worker process's short-lived public key, signed with the slot's enrolled identity key (Ed25519)."""

    worker_id: str
    instance_id: str
    suite: str
    public_key: Base64
    not_after_unix_ms: int
    signature: Base64


class Registered(Message):
    """The worker process is registered."""

    instance_id: str


class LeaseKey(Message):
    """Request a key, sealed to the public key that the worker registered. `nonce` is 16 random bytes, good once."""

    instance_id: str
    tenant: TenantId
    """The tenant whose request needs it."""
    owner: TenantId
    """The key's owner: `tenant`, or `platform`."""
    provider: Provider
    key_id: KeyId
    origin: str
    attempt_id: str
    nonce: Base64
    sent_at_unix_ms: int
    grant: str | None = None
    """Proof of a request of that tenant, where grants are required."""


class SealedKey(Message):
    """A key for one worker process: sealed to it, with the vault's signature over every field."""

    worker_id: str
    instance_id: str
    suite: str
    tenant: TenantId
    owner: TenantId
    provider: Provider
    key_id: str
    version: int
    origin: str
    nonce: Base64
    not_after_unix_ms: int
    """When the worker has to drop it."""
    sealed: Base64
    signature: Base64


class RunKeyTest(Message):
    """Have a worker test a key; the vault chose `key.nonce`, which is good once."""

    key: SealedKey
    base_url: str
    fields: dict[str, str] = Field(default_factory=dict)
    model: ModelName | None = None
    """The model to call in the last step; null lets the worker choose from the provider's list."""
