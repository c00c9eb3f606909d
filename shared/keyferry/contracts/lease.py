"""Messages that deliver provider keys to workers: registration, leases and key tests. Pure."""

from pydantic import Field

from keyferry.contracts.credit import CreditCertificate
from keyferry.contracts.envelope import Message
from keyferry.contracts.ids import KeyFields, TenantId
from keyferry.contracts.key import Base64, KeyId, Provider
from keyferry.contracts.route import ModelName
from keyferry.contracts.text import Count, Identifier, Line, Ordinal, Url


class WorkerRegistration(Message):
    """A worker process's short-lived public key, signed with the slot's enrolled identity key (Ed25519)."""

    worker_id: Identifier
    instance_id: Identifier
    suite: Identifier
    public_key: Base64
    not_after_unix_ms: Count
    signature: Base64


class Registered(Message):
    """The worker process is registered."""

    instance_id: Identifier


class LeaseKey(Message):
    """Request a key, sealed to the public key that the worker registered. `nonce` is 16 random bytes, good once."""

    instance_id: Identifier
    tenant: TenantId
    """The tenant whose request needs it."""
    owner: TenantId
    """The key's owner: `tenant`, or `platform`."""
    provider: Provider
    key_id: KeyId
    origin: Url
    attempt_id: Identifier
    nonce: Base64
    sent_at_unix_ms: Count
    request_id: Identifier | None = None
    grant: Line | None = None
    """Proof of that request of the tenant, where grants are required."""
    certificate: CreditCertificate | None = None
    """Proof that somebody pays, for a key of the platform."""


class SealedKey(Message):
    """A key for one worker process: sealed to it, with the vault's signature over every field."""

    worker_id: Identifier
    instance_id: Identifier
    suite: Identifier
    tenant: TenantId
    owner: TenantId
    provider: Provider
    key_id: Identifier
    version: Ordinal
    origin: Url
    nonce: Base64
    not_after_unix_ms: Count
    """When the worker has to drop it."""
    sealed: Base64
    signature: Base64


class RunKeyTest(Message):
    """Have a worker test a key; the vault chose `key.nonce`, which is good once."""

    key: SealedKey
    base_url: Url
    fields: KeyFields = Field(default_factory=dict)
    model: ModelName | None = None
    """The model to call in the last step; null lets the worker choose from the provider's list."""
