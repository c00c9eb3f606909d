"""Tenants and client tokens. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, ChosenModel, ModelName, Reference, TenantId
from keyferry.contracts.limits import LimitChanges, Limits
from keyferry.contracts.text import Identifier, Moment, Refusing

PLATFORM_TENANT = "platform"
"""Reserved: the tenant that owns the platform's own keys."""

Label = Annotated[str, Refusing(100, no_key=True, visible=True)]
Digest = Annotated[str, Refusing(64, pattern=r"^[0-9a-f]{64}$", form="64 hex digits")]
LastFour = Annotated[str, Refusing(4, pattern=r"^[0-9A-Za-z]{4}$", form="four letters or digits")]


class Tier(StrEnum):
    """A tenant's plan; it determines models and limits."""

    FREE = "free"
    STARTER = "starter"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"


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
    allowed_models: list[ChosenModel] | None = Field(default=None, min_length=1, max_length=1000)
    team: Reference | None = None
    member: Reference | None = None
    expires_at: Moment | None = None
    limits: LimitChanges | None = None
    """Limits of its own; the tenant's apply as well."""


class UpdateClientToken(Command):
    """Change a client token; null fields stay as they are."""

    tenant: TenantId
    token_id: Identifier
    actor: Actor = "operator"
    """Who does it, for the audit."""
    limits: LimitChanges | None = None


class RevokeClientToken(Command):
    """Revoke a client token everywhere."""

    tenant: TenantId
    token_id: Identifier
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ListClientTokens(Command):
    """Request a tenant's client tokens."""

    tenant: TenantId


class ClientTokens(Message):
    """A tenant's client tokens."""

    tokens: list[ClientToken]
