"""Preferences: what a request gets where it says nothing itself, saved by scope, and the origin of each value in force. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, Strict, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.catalog import Region
from keyferry.contracts.chat import Temperature
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.fallback import UseCase
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ids import Actor, ChosenModel, Operation, Reference, TenantId
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.text import Count, Identifier, Line, Ordinal, Refusing

LEAST_MAX_TOKENS, MOST_MAX_TOKENS = 100, 128_000
"""Bounds of saved token limits. They do not bind a request: `max_tokens: 50` is fine."""
MAX_OPERATIONS = 100
MAX_MODELS = 10

Provider = Annotated[str, Refusing(63, pattern=r"^[a-z0-9_-]+$", form="a-z 0-9 _ and -", no_key=True)]
"""A provider, or one of the tenant's own endpoints or servers by its name."""
SavedMaxTokens = Annotated[int, Strict(), Field(ge=LEAST_MAX_TOKENS, le=MOST_MAX_TOKENS)]
SiteUrl = Annotated[
    str,
    Refusing(
        200, pattern=r"^https?://[\x21-\x7e]{1,192}$", form="a URL that begins with http:// or https://", no_key=True
    ),
]
SiteName = Annotated[
    str,
    Refusing(
        100,
        pattern=r"^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$",
        form="printable ASCII without spaces at its ends",
        no_key=True,
    ),
]
ModelList = Annotated[list[ChosenModel], Field(max_length=MAX_MODELS)]


class PreferenceScope(StrEnum):
    """Where preferences are saved, the broadest first: each overrides those before it, and a request overrides all."""

    PLATFORM = "platform"
    TENANT = "tenant"
    TEAM = "team"
    MEMBER = "member"
    CLIENT_TOKEN = "client_token"  # noqa: S105 - the name of a scope, not a token


class RoutingMode(StrEnum):
    """What may serve a request."""

    PLATFORM = "platform"
    """The platform's keys only."""
    BYOK = "byok"
    """The tenant's own keys; then the platform's, only where the tenant's key policy says so."""
    CUSTOM = "custom"
    """The tenant's own endpoints and servers only."""


class Preferences(Message):
    """The preferences saved in one scope. Null, or a missing name of a map, is not set there: the broader scope's value holds."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    mode: RoutingMode | None = None
    """What may serve requests: platform keys, own keys, or own endpoints. Not set: the tenant's key policy alone decides."""
    mode_by_operation: Annotated[dict[Operation, RoutingMode], Field(max_length=MAX_OPERATIONS)] | None = None
    """The mode of single operations."""
    default_model: ChosenModel | None = None
    """What the model name `default` stands for."""
    model_by_operation: Annotated[dict[Operation, ChosenModel], Field(max_length=MAX_OPERATIONS)] | None = None
    """What the model name `default` stands for in requests of single operations."""
    preferred_models: ModelList | None = None
    """Models that come first, in this order, where the gateway chooses the model."""
    fallback_models: ModelList | None = None
    """Models that are tried in this order after the one that was asked for. Not set, or empty: no other model answers."""
    default_provider: Provider | None = None
    """The provider that is tried first where several have the model."""
    fallback_provider: Provider | None = None
    """The provider that is tried next."""
    temperature: Temperature | None = None
    """For chats that set none."""
    max_tokens: SavedMaxTokens | None = None
    """For chats that set no limit of their own."""
    max_tokens_per_request: SavedMaxTokens | None = None
    """The most that a chat may ask for: one that asks for more is refused, and one that sets no limit gets this one."""
    eu_only: StrictBool | None = None
    """Whether requests may only be processed inside the European Union. Once true, no narrower scope can make it false."""
    allowed_regions: Annotated[list[Region], Field(min_length=1, max_length=20)] | None = None
    """Regions that may process requests, by their beginnings: `eu` is the European Union. Narrower scopes only narrow it."""
    power_level: PowerLevel | None = None
    """The power level where the gateway chooses the model."""
    learned_quality: StrictBool | None = None
    """Whether the tenant's ratings change the quality by which power levels choose. See first what they would change:
    `keyferry feedback preview`."""
    cost_optimization: StrictBool | None = None
    """Whether the cheapest provider of the model is tried first."""
    auto_provider_switch: StrictBool | None = None
    """Whether a request may go on to another provider. False: it ends where it began, or fails."""
    fallback_on_content_filter: StrictBool | None = None
    """Whether another model may answer what a provider's content filter has refused."""
    fallback_after_possible_charge: StrictBool | None = None
    """Whether another provider may answer after one that did not, and may charge all the same. Not set: yes, once per request."""
    fallback_chain: UseCase | None = None
    """The chain whose models are tried after the one that was asked for, and after `fallback_models`."""
    openrouter_site_url: SiteUrl | None = None
    """Your site's address, as OpenRouter shows it."""
    openrouter_site_name: SiteName | None = None
    """Your site's name, as OpenRouter shows it."""


class GivenPreferences(Preferences):
    """Preferences to save. Unknown names are rejected."""

    model_config = ConfigDict(extra="forbid")


class ScopedCommand(Command):
    """A command about one scope: of the team, member or client token that is named, else of the tenant or the platform."""

    tenant: TenantId
    """`platform` for the preferences of the whole installation."""
    team: Reference | None = None
    member: Reference | None = None
    client_token_id: Identifier | None = None

    @property
    def scope(self) -> PreferenceScope:
        """The narrowest scope that is named."""
        if self.client_token_id is not None:
            return PreferenceScope.CLIENT_TOKEN
        if self.member is not None:
            return PreferenceScope.MEMBER
        if self.team is not None:
            return PreferenceScope.TEAM
        return PreferenceScope.PLATFORM if self.tenant == PLATFORM_TENANT else PreferenceScope.TENANT

    @property
    def scope_id(self) -> str:
        """The team, member, client token or tenant whose scope it is."""
        return self.client_token_id or self.member or self.team or self.tenant

    @model_validator(mode="after")
    def _refuse_scopes_of_the_platform(self) -> "ScopedCommand":
        if self.tenant == PLATFORM_TENANT and self.scope is not PreferenceScope.PLATFORM:
            raise PydanticCustomError("scope", "the platform has no teams, members and client tokens: name a tenant")
        return self


class GetPreferences(ScopedCommand):
    """Request the preferences of the narrowest scope that is named, and the values in force for all that are named together."""


class SavePreferences(ScopedCommand):
    """Replace all preferences of one scope: what is missing is not set there any more. Name at most one team, member or token."""

    actor: Actor = "operator"
    """Who does it, for the audit."""
    preferences: GivenPreferences
    expected_revision: Count | None = None
    """Refuse unless this is the revision that is saved; 0 if nothing is. Null does not look."""

    @model_validator(mode="after")
    def _refuse_two_scopes(self) -> "SavePreferences":
        if sum(name is not None for name in (self.team, self.member, self.client_token_id)) > 1:
            raise PydanticCustomError("scope", "preferences are saved in one scope: name a team, a member or a token")
        return self


class ListPreferences(Command):
    """Request the scopes of a tenant in which anything is saved."""

    tenant: TenantId


class SavedPreferences(Message):
    """The preferences of one scope as they are stored, and their entry in the view."""

    tenant: TenantId
    scope: PreferenceScope
    scope_id: Identifier
    revision: Ordinal
    """Grows with each change."""
    preferences: Preferences


class SavedScopes(Message):
    """The scopes of a tenant in which anything is saved, the broadest first."""

    scopes: list[SavedPreferences]


class PreferenceOrigin(StrEnum):
    """Where a value in force comes from: a scope, or the gateway's default."""

    DEFAULT = "default"
    PLATFORM = "platform"
    TENANT = "tenant"
    TEAM = "team"
    MEMBER = "member"
    CLIENT_TOKEN = "client_token"  # noqa: S105 - the name of a scope, not a token


PreferenceValue = StrictBool | SavedMaxTokens | Temperature | Line | list[Line] | None


class EffectivePreference(Message):
    """One value in force, and its origin."""

    name: Line
    """Of the preference; `model_by_operation.research` for one name of a map."""
    value: PreferenceValue = None
    """Null where nothing is set and there is no default."""
    origin: PreferenceOrigin
    origin_id: Identifier | None = None
    """The tenant, team, member or client token; null for the platform and for defaults."""


class PreferencesInForce(Message):
    """What is saved in one scope, and the values in force there with the origin of each."""

    tenant: TenantId
    scope: PreferenceScope
    scope_id: Identifier
    revision: Count
    """0 if nothing is saved in this scope."""
    saved: Preferences
    """What is set in this scope itself."""
    effective: list[EffectivePreference]
    """Every preference, in a fixed order."""
