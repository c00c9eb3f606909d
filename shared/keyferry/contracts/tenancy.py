"""Tenants and client tokens. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, ModelName, Operation, Reference, TenantId
from keyferry.contracts.limits import LimitChanges, Limits
from keyferry.contracts.text import Identifier, Line, Moment, Refusing, Url
from keyferry.contracts.token_scope import (
    AllowedApis,
    AllowedModels,
    AllowedOperations,
    AllowedOrigins,
    ClearableField,
    ClientApi,
)
from keyferry.contracts.zone import ZoneName

PLATFORM_TENANT = "platform"
"""Reserved: the tenant that owns the platform's own keys."""

Label = Annotated[str, Refusing(100, no_key=True, visible=True)]
TokenSearch = Annotated[str, Refusing(100, no_key=True, visible=True)]
"""What is searched for in the lists of client tokens; never a token."""
Digest = Annotated[str, Refusing(64, pattern=r"^[0-9a-f]{64}$", form="64 hex digits")]
LastFour = Annotated[str, Refusing(4, pattern=r"^[0-9A-Za-z]{4}$", form="four letters or digits")]


class Tier(StrEnum):
    """A tenant's plan; it determines models and limits."""

    FREE = "free"
    STARTER = "starter"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"


class TierSource(StrEnum):
    """Who has decided a tenant's tier."""

    OPERATOR = "operator"
    """A person or an identity provider: a subscription does not change it."""
    SUBSCRIPTION = "subscription"


DEFAULT_TIER = Tier.STARTER
"""The tier of a new tenant: the lowest that may have provider keys of its own."""


class KeyPolicy(StrEnum):
    """Whose provider keys may pay for a tenant's requests, and in which order."""

    PLATFORM = "platform"
    """Platform keys only."""
    OWN = "own"
    """The tenant's own keys only: without a usable one the request is refused."""
    OWN_THEN_PLATFORM = "own_then_platform"
    """The tenant's own keys first, then platform keys."""


class ByokUse(StrEnum):
    """Whether a tenant's own provider keys are used: as the operator has switched it, or as the installation's settings say."""

    ON = "on"
    OFF = "off"
    """Its keys stay stored, and are not used."""
    DEFAULT = "default"


class ContentPolicy(StrEnum):
    """What is stored of a tenant's prompts and answers."""

    OFF = "off"
    REDACTED = "redacted"
    """The texts without what looks like credentials or data of people; patterns find forms only."""
    FULL = "full"


MAX_CONTENT_DAYS = 90
DEFAULT_CONTENT_DAYS = 30
DEFAULT_TIME_ZONE = "UTC"
ContentDays = Annotated[int, Field(ge=1, le=MAX_CONTENT_DAYS)]
"""How long stored content is kept."""


class Tenant(Message):
    """A company that uses the gateway."""

    tenant: TenantId
    name: Label
    tier: Tier
    suspended: bool = False
    key_policy: KeyPolicy | None = None
    """Null: the tenant's own keys only once it has one for the provider, platform keys until then."""
    drop_unsupported: bool = False
    """Whether request fields that a provider does not support are dropped and reported instead of rejected."""
    allow_unapproved: bool = False
    """Whether its own keys may be used for models that they list outside the approved catalog."""
    limits: Limits | None = None
    """Its own limits in place of the tier's; null for the tier's."""
    byok: ByokUse = ByokUse.DEFAULT
    """Whether its own provider keys are used."""
    content: ContentPolicy = ContentPolicy.OFF
    """What is stored of its prompts and answers."""
    content_days: ContentDays = DEFAULT_CONTENT_DAYS
    """How long what is stored from now on is kept."""
    time_zone: Line = DEFAULT_TIME_ZONE
    """Whose days, weeks and months pages count by, unless somebody asks for another one."""
    tier_set_by: TierSource | None = None
    """Who has decided the tier; null for the one that every new tenant has, which a subscription may change."""
    deleted_at: Moment | None = None
    """When it was deleted, for good; its entry stays, so that its id is never given again."""


class PreviousSecret(Message):
    """The secret that a client token had before its last rotation, while it is still accepted."""

    last4: LastFour
    valid_until: Moment


class ClientToken(Message):
    """A client token's metadata. The token itself is known only to the program that minted it."""

    token_id: Identifier
    tenant: TenantId
    label: Label
    last4: LastFour
    allowed_models: list[ModelName] | None = None
    team: Reference | None = None
    """The team whose preferences its requests have."""
    member: Reference | None = None
    """The member whose preferences its requests have."""
    created_at: Moment
    expires_at: Moment | None = None
    revoked_at: Moment | None = None
    limits: Limits | None = None
    """Its own limits, which apply besides the tenant's; null for none."""
    allowed_operations: list[Operation] | None = None
    """Which values of `X-Operation` its requests may have; null for any, and for none."""
    allowed_apis: list[ClientApi] | None = None
    allowed_origins: list[Url] | None = None
    """The web pages from which it may be used; null for all. Programs that are no browser send no origin."""
    disabled_at: Moment | None = None
    """Since when it is not accepted, until it is enabled again."""
    previous: PreviousSecret | None = None
    """The secret before the current one, while both are accepted."""
    secret_valid_until: Moment | None = None
    """Of an entry in the view whose secret was replaced: until when it is accepted. Null for the current secret."""
    last_used_at: Moment | None = None
    """When it was last accepted, a minute late at most; not in the view."""


class CreateTenant(Command):
    """Add a tenant."""

    tenant: TenantId
    name: Label
    tier: Tier = DEFAULT_TIER
    limits: LimitChanges | None = None
    """Limits in place of the tier's."""
    actor: Actor = "operator"
    """Who does it, for the audit."""


class UpdateTenant(Command):
    """Change a tenant; null fields stay as they are."""

    tenant: TenantId
    actor: Actor = "operator"
    """Who does it, for the audit."""
    name: Label | None = None
    tier: Tier | None = None
    suspended: bool | None = None
    key_policy: KeyPolicy | None = None
    drop_unsupported: bool | None = None
    allow_unapproved: bool | None = None
    limits: LimitChanges | None = None
    byok: ByokUse | None = None
    content: ContentPolicy | None = None
    content_days: ContentDays | None = None
    time_zone: ZoneName | None = None
    follow_subscription: bool | None = None
    """With true, the tier is that of the subscription from now on, also if an operator has set it before."""


class GetTenant(Command):
    """Request one tenant."""

    tenant: TenantId


class ListTenants(Command):
    """Request all tenants."""


class Tenants(Message):
    """All tenants."""

    tenants: list[Tenant]


class CreateClientToken(Command):
    """Register a client token that the caller has minted (`client_token.mint`).

    Only its digest travels, so the token is never on the bus, in a log or in the database.
    """

    tenant: TenantId
    actor: Actor = "operator"
    """Who does it, for the audit."""
    label: Label
    digest: Digest
    last4: LastFour
    allowed_models: AllowedModels | None = None
    team: Reference | None = None
    member: Reference | None = None
    expires_at: Moment | None = None
    limits: LimitChanges | None = None
    """Limits of its own; the tenant's apply as well."""
    allowed_operations: AllowedOperations | None = None
    allowed_apis: AllowedApis | None = None
    allowed_origins: AllowedOrigins | None = None


class UpdateClientToken(Command):
    """Change a client token; null fields stay as they are, and `clear` empties fields."""

    tenant: TenantId
    token_id: Identifier
    actor: Actor = "operator"
    """Who does it, for the audit."""
    limits: LimitChanges | None = None
    label: Label | None = None
    allowed_models: AllowedModels | None = None
    allowed_operations: AllowedOperations | None = None
    allowed_apis: AllowedApis | None = None
    allowed_origins: AllowedOrigins | None = None
    expires_at: Moment | None = None
    disabled: bool | None = None
    """Whether it is refused until it is enabled again."""
    clear: list[ClearableField] = Field(default_factory=list, max_length=5)


class RevokeClientToken(Command):
    """Revoke a client token everywhere."""

    tenant: TenantId
    token_id: Identifier
    actor: Actor = "operator"
    """Who does it, for the audit."""


class TokenState(StrEnum):
    """Whether a client token is accepted now, and why not."""

    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ListClientTokens(Command):
    """Request a tenant's client tokens, oldest first."""

    tenant: TenantId
    token_id: Identifier | None = None
    """Only this token."""
    member: Reference | None = None
    team: Reference | None = None
    state: TokenState | None = None
    text: TokenSearch | None = None
    """Only tokens with it in their label, id, last characters, team or member; case does not matter."""
    newest_first: bool = False
    after: Identifier | None = None
    """Only tokens after this one, in the order of the list."""
    limit: int | None = Field(default=None, ge=1, le=1000)
    """At most so many; null for all."""


class ClientTokens(Message):
    """A tenant's client tokens."""

    tokens: list[ClientToken]
    more: bool = False
    """Whether others follow these."""
    after_found: bool = True
    """False if the query's `after` is no token of the tenant."""
