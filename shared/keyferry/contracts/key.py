"""Provider keys: what is known of them, what can be done with them, and how one reaches the worker that uses it.

No message here can hold a key in clear. Where a key travels it is sealed, and the text in the message is base64url without
padding: to the vault's intake key on its way in, to one worker's short-lived key on its way out (`keyferry.sealing`).
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.ids import TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.route import ModelName
from keyferry.contracts.tenancy import Label

Base64 = Annotated[str, StringConstraints(min_length=1, max_length=32_768, pattern=r"^[A-Za-z0-9_-]+$")]
"""Bytes as base64url without padding."""
Actor = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
"""Who does something, for the audit: `operator`, `console:operator`, `vault`, `provider-worker-1`."""
Provider = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9_-]+$")]
KeyId = Annotated[str, StringConstraints(min_length=5, max_length=64, pattern=r"^[a-z0-9_]+$")]
Fields = Annotated[dict[str, Annotated[str, StringConstraints(max_length=500)]], Field(max_length=16)]


class KeyStatus(StrEnum):
    """Where a provider key is in its life."""

    UNTESTED = "untested"
    VALID = "valid"
    DEGRADED = "degraded"
    """Accepted by the provider, and short of something: money, a region, a model. Used after the valid ones."""
    INVALID = "invalid"
    """The provider does not accept it: only an authentication answer leads here."""
    EXPIRED = "expired"
    """Past the date that was set for it."""
    DISABLED = "disabled"
    """Switched off by a person or a rule."""
    UNDECRYPTABLE = "undecryptable"
    """The vault cannot open its record: the KEK is missing, or the record was changed."""


USABLE = frozenset({KeyStatus.UNTESTED, KeyStatus.VALID, KeyStatus.DEGRADED})
"""Statuses in which a key may pay for a call."""


class KeyTestStep(StrEnum):
    """The steps of a key's test, in order."""

    REACHABLE = "reachable"
    ACCEPTED = "accepted"
    CREDIT = "credit"
    MODEL = "model"
    """A model can be called, in this region and with this key's scope."""


class StepResult(Message):
    """How one step went. `passed` is null where it was not reached, or cannot be told for this provider."""

    step: KeyTestStep
    passed: bool | None = None
    duration_ms: int | None = Field(default=None, ge=0)
    detail: str


class KeyTestResult(StrEnum):
    """What a test says of a key."""

    VALID = "valid"
    DEGRADED = "degraded"
    INVALID = "invalid"
    INCONCLUSIVE = "inconclusive"
    """Timeouts, 5xx, 429: nothing is known about the key, and its status stays."""


class KeyTest(Message):
    """One test of a key against its provider."""

    result: KeyTestResult
    steps: list[StepResult]
    failure_class: FailureClass | None = None
    """Of the step that failed."""
    duration_ms: int = Field(ge=0)
    tested_at: datetime
    credit_left_usd: Usd | None = None
    """What the provider says is left, where it does."""
    models: list[ModelName] = Field(default_factory=list, max_length=2000)
    """Model names that the provider lists for this key."""


class KeyFacts(Message):
    """What routers and workers know of a key: the view's entry, by `<tenant>.<key_id>`."""

    key_id: KeyId
    tenant: TenantId
    """Its owner; `platform` for the platform's own keys."""
    provider: Provider
    label: Label
    status: KeyStatus
    version: int = Field(ge=1)
    """Grows with each rotation and revert: what was leased under another version is worth nothing any more."""
    origin: str
    """`scheme://host[:port]`, the only place that the key is ever sent to."""
    base_url: str
    fields: dict[str, str] = Field(default_factory=dict)
    priority: int = Field(default=100, ge=0, le=1000)
    """Lower is used first."""
    weight: int = Field(default=1, ge=1, le=1000)
    """Share of the calls among keys of the same priority."""
    allowed_models: list[ModelName] | None = None
    """What it may be used for; null is everything."""
    expires_at: datetime | None = None
    over_limit: bool = False
    """Whether its monthly limit is spent."""
    models: list[ModelName] = Field(default_factory=list)
    """What the provider listed at its last test."""


class ProviderKey(KeyFacts):
    """What people and management see of a key: never the key itself."""

    masked: str
    """Its first and last characters: `sk-…A9f2`."""
    fingerprint: str
    """16 hex digits of a keyed hash: the same key has the same one, and it says nothing about the key."""
    created_at: datetime
    created_by: Actor
    last_test: KeyTest | None = None
    next_test_at: datetime | None = None
    last_used_at: datetime | None = None
    monthly_limit_usd: Usd | None = None
    spent_usd: Usd | None = None
    """In the current calendar month (UTC), as far as prices are known."""
    revert_until: datetime | None = None
    """Until then the version before the last rotation is kept and can be gone back to."""
    rotated_at: datetime | None = None
    """When the secret in use took another one's place; null for the one that the key was added with."""
    rotated_by: Actor | None = None
    """Who put the secret in use there; null for the one that the key was added with."""
    age_days: int | None = Field(default=None, ge=0)
    """Whole days since the secret in use was given: since `rotated_at`, else `created_at`."""
    rotation_due: bool = False
    """Whether the secret in use is older than the operator wants."""
    credit_low: bool = False
    """Whether less credit is left than the operator wants, as far as the provider says: `last_test.credit_left_usd`."""


class GetIntakeKey(Command):
    """Ask for the key to seal provider keys to."""


class IntakeKey(Message):
    """The vault's public intake key. Compare its fingerprint with the one that was pinned when the system was set up."""

    suite: str
    public_key: Base64
    fingerprint: str
    base_urls: dict[Provider, str] = Field(default_factory=dict)
    """Where the operator has keys of a provider used instead of at the provider's own address."""
    private_networks: bool = False
    """Whether the operator allows private networks, and with them plain http and unusual ports."""


class KeyCommand(Command):
    """What somebody does with a tenant's keys. `actor` goes to the audit."""

    tenant: TenantId
    actor: Actor = "operator"


class NewKey(KeyCommand):
    """A key that is not stored yet, sealed to the intake key for this tenant, provider and origin."""

    provider: Provider
    sealed: Base64
    base_url: Annotated[str, StringConstraints(max_length=2000)] | None = None
    """Null where the provider has one address for everybody."""
    fields: Fields = Field(default_factory=dict)


class TryKey(NewKey):
    """Test a key without storing it."""


class AddKey(NewKey):
    """Store a key: checked for its format, tested, sealed."""

    label: Label
    priority: int = Field(default=100, ge=0, le=1000)
    weight: int = Field(default=1, ge=1, le=1000)
    allowed_models: list[ModelName] | None = Field(default=None, min_length=1, max_length=1000)
    expires_at: datetime | None = None
    monthly_limit_usd: Usd | None = None
    save_untested: bool = False
    """Store it also where its test could not tell anything; it is then marked as untested."""
    once: bool = False
    """Refuse a platform key that was stored before, also where it was removed since: imports must not bring it back."""


class NamedKey(KeyCommand):
    """A stored key."""

    key_id: KeyId


class TestKey(NamedKey):
    """Test a stored key now."""

    __test__ = False


class RotateKey(NamedKey):
    """Put another key in place of the stored one's, for the same provider and origin; the old one is kept for a while."""

    sealed: Base64
    save_untested: bool = False


class RevertKey(NamedKey):
    """Go back to the version before the last rotation."""


class EditKey(NamedKey):
    """Change what is known of a key without entering it again; what is null stays, and `clear` empties."""

    label: Label | None = None
    priority: int | None = Field(default=None, ge=0, le=1000)
    weight: int | None = Field(default=None, ge=1, le=1000)
    allowed_models: list[ModelName] | None = Field(default=None, min_length=1, max_length=1000)
    expires_at: datetime | None = None
    monthly_limit_usd: Usd | None = None
    disabled: bool | None = None
    clear: list[Literal["allowed_models", "expires_at", "monthly_limit_usd"]] = Field(default_factory=list)


class RemoveKey(NamedKey):
    """Destroy a key: its record is deleted and every lease of it ends."""


class KeyRemoved(Message):
    """A key that is gone, and how many of its owner's for that provider are left."""

    key: ProviderKey
    keys_left: int = Field(ge=0)


class ListKeys(Command):
    """Ask for a tenant's keys, in the order in which they are used."""

    tenant: TenantId
    created_by: Actor | None = None
    """Only keys that this one added, or gave the secret in use of."""


class ProviderKeys(Message):
    """A tenant's keys."""

    keys: list[ProviderKey]


class KeyChange(StrEnum):
    """What happened to a key."""

    ADDED = "added"
    TESTED = "tested"
    ROTATED = "rotated"
    REVERTED = "reverted"
    EDITED = "edited"
    EXPIRED = "expired"
    OVER_LIMIT = "over_limit"
    ROTATION_DUE = "rotation_due"
    """Its secret is older than the operator wants: once for each version."""
    CREDIT_LOW = "credit_low"
    """Less credit is left at its provider than the operator wants: once each time it falls below that."""
    REMOVED = "removed"
    SHREDDED = "shredded"


class KeyChanged(Message):
    """A key changed; `words` tell its tenant."""

    key_id: KeyId
    tenant: TenantId
    provider: Provider
    change: KeyChange
    status: KeyStatus
    detail: str
    at: datetime


class KeySpend(Message):
    """What calls with a key came to in a calendar month so far: cumulative, so a lost or repeated message does no harm."""

    key_id: KeyId
    tenant: TenantId
    """The key's owner."""
    month: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}$")]
    """UTC."""
    spent_usd: Usd
    attempts: int = Field(ge=0)
    unpriced: int = Field(ge=0)
    last_used_at: datetime


# --- the way to the worker


class WorkerRegistration(Message):
    """A worker process's short-lived public key, signed with the slot's enrolled identity key (Ed25519)."""

    worker_id: str
    instance_id: str
    suite: str
    public_key: Base64
    not_after_unix_ms: int
    signature: Base64


class Registered(Message):
    """The vault knows the worker process now."""

    instance_id: str


class LeaseKey(Message):
    """A worker asks for a key, sealed to the public key that it registered. `nonce` is 16 fresh bytes, good once."""

    instance_id: str
    tenant: TenantId
    """For whose request."""
    owner: TenantId
    """Whose key: `tenant`, or `platform`."""
    provider: Provider
    key_id: KeyId
    origin: str
    attempt_id: str
    nonce: Base64
    sent_at_unix_ms: int
    grant: str | None = None
    """Proof of a request of that tenant, where grants are required."""


class SealedKey(Message):
    """A key on its way to one worker process: sealed to it, and signed by the vault over everything here."""

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
    """When the worker has to forget it."""
    sealed: Base64
    signature: Base64


class RunKeyTest(Message):
    """The vault asks a worker to test a key; `key.nonce` is the vault's own and good once."""

    key: SealedKey
    base_url: str
    fields: dict[str, str] = Field(default_factory=dict)
    model: ModelName | None = None
    """What to call in the last step; null lets the worker choose from what the provider lists."""


# --- the vault itself


class RotateKek(Command):
    """Rewrap every data key under the primary KEK, in the background; or tell how far that is."""

    start: bool = True
    renew: bool = False
    """Have whoever holds the KEKs make a new primary one first."""
    actor: Actor = "operator"


class KekAgeReport(Message):
    """How old the oldest KEK in use is: one that is primary, or still wraps a data key."""

    kek: str
    since: datetime
    """When the vault first saw it in use."""
    age_days: int = Field(ge=0)
    due_at: datetime | None = None
    """When it is to be replaced; null where the operator wants no reminder."""
    overdue: bool = False
    """Whether somebody has to do something: it is due, and the vault does not or cannot replace it by itself."""
    detail: str
    """What happens next, or what to do."""


class KekRotation(Message):
    """How far a rotation is. `left` counts data keys that are still wrapped by another KEK than the primary."""

    primary: str
    total: int = Field(ge=0)
    left: int = Field(ge=0)
    running: bool
    by_kek: dict[str, int]
    failed: list[str] = Field(default_factory=list)
    """Data keys that could not be unwrapped, by id."""
    term: KekAgeReport | None = None
    """The age of the oldest KEK in use."""


class RotateDataKeys(Command):
    """Seal a tenant's keys under a fresh data key."""

    tenant: TenantId
    actor: Actor = "operator"


class VerifyVault(Command):
    """Open every record and say which cannot be."""

    tenant: TenantId | None = None


class VaultReport(Message):
    """What a verification found. `undecryptable` are key ids."""

    records: int = Field(ge=0)
    data_keys: int = Field(ge=0)
    undecryptable: list[str] = Field(default_factory=list)
    keks: dict[str, int] = Field(default_factory=dict)
    """KEK -> data keys that it wraps."""
    primary: str


class ShredTenant(Command):
    """Destroy a tenant's data keys, and with them every provider key of it. Nothing brings them back."""

    tenant: TenantId
    confirm: TenantId
    """The tenant once more."""
    actor: Actor = "operator"


class Shredded(Message):
    """What was destroyed."""

    tenant: TenantId
    keys: int
    data_keys: int
