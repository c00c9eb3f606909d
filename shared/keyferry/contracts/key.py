"""Messages about provider keys: their properties, and the requests about them.

No message here can hold a plaintext key. In transit a key is sealed (`keyferry.sealing`), as base64url without padding: to the
vault's intake key on its way in, to one worker's short-lived key on its way out (`lease`). Pure.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.ids import Actor as Actor
from keyferry.contracts.ids import ChosenModel, EndpointName, KeyFields, ProviderName, Reference, TenantId
from keyferry.contracts.ids import KeyId as KeyId
from keyferry.contracts.money import Usd
from keyferry.contracts.route import ModelName
from keyferry.contracts.tenancy import Label
from keyferry.contracts.text import Count, Explanation, GivenUrl, Identifier, Line, Moment, Ordinal, Refusing, Url

Base64 = Annotated[str, Refusing(32_768, pattern=r"^[A-Za-z0-9_-]+$", form="base64url without padding")]
"""Bytes as base64url without padding."""
Provider = ProviderName


class KeyStatus(StrEnum):
    """The status of a provider key."""

    UNTESTED = "untested"
    VALID = "valid"
    DEGRADED = "degraded"
    """Accepted by the provider, but credit, a region or a model is missing. Used after the valid ones."""
    INVALID = "invalid"
    """The provider does not accept it; only an authentication error leads here."""
    EXPIRED = "expired"
    """Past its expiry date."""
    DISABLED = "disabled"
    """Switched off by a person or a rule."""
    UNDECRYPTABLE = "undecryptable"
    """The vault cannot decrypt its record: the KEK is missing, or the record was changed."""


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
    """The outcome of one step. `passed` is null where it was not reached, or this provider does not show it."""

    step: KeyTestStep
    passed: bool | None = None
    duration_ms: Count | None = None
    detail: Explanation


class KeyTestResult(StrEnum):
    """The result of a key's test."""

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
    duration_ms: Count
    tested_at: Moment
    credit_left_usd: Usd | None = None
    """The remaining credit, where the provider reports it."""
    format_warning: Line | None = None
    """What is unusual about the form of the key, such as the prefix of another provider; it decides nothing."""
    models: list[ModelName] = Field(default_factory=list, max_length=2000)
    """Model names that the provider lists for this key."""


class KeyFacts(Message):
    """What routers and workers know of a key: its entry in the view, by `<tenant>.<key_id>`."""

    key_id: KeyId
    tenant: TenantId
    """Its owner; `platform` for the platform's own keys."""
    provider: Provider
    label: Label
    status: KeyStatus
    version: Ordinal
    """Grows with each rotation and revert; leases of another version are void."""
    origin: Url
    """`scheme://host[:port]`, the only origin that the key is ever sent to."""
    base_url: Url
    fields: KeyFields = Field(default_factory=dict)
    priority: int = Field(default=100, ge=0, le=1000)
    """Lower is used first."""
    weight: int = Field(default=1, ge=1, le=1000)
    """Share of the calls among keys of the same priority."""
    allowed_models: list[ModelName] | None = None
    """The models it may be used for; null for all."""
    expires_at: Moment | None = None
    over_limit: bool = False
    """Whether its monthly limit is spent."""
    models: list[ModelName] = Field(default_factory=list)
    """The models that the provider listed at its last test."""
    name: EndpointName | None = None
    """The name of its server, for a provider whose address is the tenant's own: `NAME/MODEL` calls it."""
    team: Reference | None = None
    """The team whose requests alone it pays for."""
    member: Reference | None = None
    """The member whose requests alone it pays for. A key has a team, a member, or neither."""
    secret_set_at: Moment | None = None
    """Of an entry in the view: since when the secret in use is stored."""


KeySearch = Annotated[str, Refusing(100, no_key=True, visible=True)]
"""What is searched for in the lists of keys; never a key."""


class ProviderKey(KeyFacts):
    """What people and the management API see of a key: never the key itself."""

    masked: Line
    """Its first and last characters: `sk-…A9f2`."""
    fingerprint: Identifier
    """16 hex digits of a keyed hash: equal for equal keys, and it reveals nothing about the key."""
    created_at: Moment
    created_by: Actor
    last_test: KeyTest | None = None
    next_test_at: Moment | None = None
    last_used_at: Moment | None = None
    monthly_limit_usd: Usd | None = None
    spent_usd: Usd | None = None
    """The known costs of the current calendar month (UTC); null if none is known."""
    unpriced: Count = 0
    """Calls of that month whose cost is unknown; they are not in `spent_usd` and do not count towards the limit."""
    revert_until: Moment | None = None
    """Until then the version before the last rotation is kept, and the key can be reverted to it."""
    rotated_at: Moment | None = None
    """When the secret in use was rotated in; null for the one that the key was added with."""
    rotated_by: Actor | None = None
    """Who rotated the secret in use in; null for the one that the key was added with."""
    age_days: Count | None = None
    """Whole days since the secret in use was set: since `rotated_at`, else `created_at`."""
    rotation_due: bool = False
    """Whether the secret in use is older than the operator's limit."""
    credit_low: bool = False
    """Whether less credit is left than the operator's threshold, by `last_test.credit_left_usd`."""
    paused: bool = False
    """Whether its owner's tier includes fewer keys for the provider, and it is one of those beyond; nothing is deleted."""
    unlisted_models: list[ModelName] = Field(default_factory=list)
    """Of `allowed_models`, those that the provider did not list at the last test; empty where it gives no list."""


class GetIntakeKey(Command):
    """Request the public key that provider keys are sealed to."""


class IntakeKey(Message):
    """The vault's public intake key. Compare its fingerprint with the one that was pinned when the system was set up."""

    suite: Identifier
    public_key: Base64
    fingerprint: Identifier
    base_urls: dict[Provider, Url] = Field(default_factory=dict)
    """Base URLs that the operator set in place of providers' own."""
    private_networks: bool = False
    """Whether the operator allows private networks, and with them plain http and unusual ports."""


class KeyCommand(Command):
    """A request about a tenant's keys. `actor` is audited."""

    tenant: TenantId
    actor: Actor = "operator"


class NewKey(KeyCommand):
    """A key that is not stored yet, sealed to the intake key for this tenant, provider and origin."""

    provider: Provider
    sealed: Base64
    base_url: GivenUrl | None = None
    """Null for a provider with one fixed address."""
    fields: KeyFields = Field(default_factory=dict)


class TryKey(NewKey):
    """Test a key without storing it."""


class AddKey(NewKey):
    """Store a key after its format check and test."""

    label: Label
    priority: int = Field(default=100, ge=0, le=1000)
    weight: int = Field(default=1, ge=1, le=1000)
    allowed_models: list[ChosenModel] | None = Field(default=None, min_length=1, max_length=1000)
    expires_at: Moment | None = None
    monthly_limit_usd: Usd | None = None
    name: EndpointName | None = None
    """The name of its server, as in `KeyFacts`."""
    team: Reference | None = None
    member: Reference | None = None
    save_untested: bool = False
    """Store it also if its test is inconclusive, marked as untested."""
    once: bool = False
    """Refuse a platform key that was ever stored, even if it was removed: imports must not bring it back."""


class NamedKey(KeyCommand):
    """A stored key."""

    key_id: KeyId


class TestKey(NamedKey):
    """Test a stored key now."""

    __test__ = False


class RotateKey(NamedKey):
    """Replace a key's secret, for the same provider and origin; the old one is kept for a while."""

    sealed: Base64
    save_untested: bool = False


class RevertKey(NamedKey):
    """Go back to the version before the last rotation."""


class EditKey(NamedKey):
    """Change a key's properties; null fields stay, and `clear` empties fields."""

    label: Label | None = None
    name: EndpointName | None = None
    team: Reference | None = None
    """Takes a member away, as a key has one scope."""
    member: Reference | None = None
    """Takes a team away."""
    priority: int | None = Field(default=None, ge=0, le=1000)
    weight: int | None = Field(default=None, ge=1, le=1000)
    allowed_models: list[ChosenModel] | None = Field(default=None, min_length=1, max_length=1000)
    expires_at: Moment | None = None
    monthly_limit_usd: Usd | None = None
    disabled: bool | None = None
    clear: list[Literal["allowed_models", "expires_at", "monthly_limit_usd", "name", "team", "member"]] = Field(
        default_factory=list
    )


class DisableKey(Message):
    """Switch off a key of which the use is unusual, as a rule of its owner asks."""

    tenant: TenantId
    key_id: KeyId
    rule_id: Identifier
    """The alert rule, which the audit has as the actor."""


class RemoveKey(NamedKey):
    """Destroy a key: its record is deleted and every lease of it ends."""


class KeyRemoved(Message):
    """A removed key, and how many keys its owner has left for that provider."""

    key: ProviderKey
    keys_left: Count


class ListKeys(Command):
    """List a tenant's keys in the order of their use."""

    tenant: TenantId
    created_by: Actor | None = None
    """Only keys that this actor added or last rotated."""
    key_id: KeyId | None = None
    """Only this key."""
    provider: Provider | None = None
    status: KeyStatus | None = None
    text: KeySearch | None = None
    """Only keys with it in their label, id, masked key, fingerprint, server's name, team or member; case does not matter."""
    after: KeyId | None = None
    """Only keys after this one, of those that the rest of the query selects."""
    limit: int | None = Field(default=None, ge=1, le=1000)
    """At most so many; null for all."""
    brief: bool = False
    """Without models, fields and tests, for counting: a reply holds ten thousand such keys."""


class ProviderKeys(Message):
    """A tenant's keys."""

    keys: list[ProviderKey]
    more: bool = False
    """Whether others follow these."""
    after_found: bool = True
    """False if the query's `after` is none of the keys that it selects."""


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
    """Its secret is older than the operator's limit; sent once for each version."""
    CREDIT_LOW = "credit_low"
    """Less credit is left than the operator's threshold; sent once each time it falls below that."""
    REMOVED = "removed"
    SHREDDED = "shredded"


class KeyChanged(Message):
    """A key changed; `detail` is for its tenant."""

    key_id: KeyId
    tenant: TenantId
    provider: Provider
    change: KeyChange
    status: KeyStatus
    detail: Explanation
    at: Moment


class KeySpend(Message):
    """What calls with a key cost in a calendar month so far: cumulative, so lost or repeated messages do no harm."""

    key_id: KeyId
    tenant: TenantId
    """The key's owner."""
    month: Annotated[str, Refusing(7, pattern=r"^[0-9]{4}-[0-9]{2}$", form="YYYY-MM")]
    """UTC."""
    spent_usd: Usd | None = None
    """The sum of the known costs; null if none is known."""
    attempts: Count
    unpriced: Count
    """Attempts whose cost is unknown; they are not in `spent_usd`."""
    last_used_at: Moment


class KeySpends(Message):
    """The figures of many keys, of any tenants."""

    spends: list[KeySpend] = Field(max_length=1000)
