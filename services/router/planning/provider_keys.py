"""Provider keys by owner, and a closed list of reasons why a key may not pay for a request. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from keyferry.contracts.catalog import Capability, CatalogModel, Offering
from keyferry.contracts.key import USABLE, KeyFacts, KeyStatus
from keyferry.contracts.providers import NAMED_BY_TENANT, PROVIDERS
from keyferry.contracts.route import DropReason
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant, Tier
from keyferry.tiers.file import upgrade_to
from services.router.catalog.lookup import ResolvedModel
from services.router.planning.context import Keys, RouteRequest, RoutingContext
from services.router.planning.list_prices import covers

Ineligibility = tuple[DropReason, str] | None
"""Why something may not be used, as a reason code and a text; None if it may."""

_TIERS = {tier: rank for rank, tier in enumerate(Tier)}
_REGION_FIELDS = ("region", "location")
_NO_KEYS: Keys = {}
Value = TypeVar("Value")
_NO_SERVERS: Mapping[str, str] = {}


ALL_OF_OWNER = 2
"""The `breadth` of a key that is for no team or member in particular."""


class KeyIndex:
    """Provider keys by owner and provider."""

    def __init__(self) -> None:
        self._by_owner: dict[str, dict[str, list[KeyFacts]]] = {}
        self._servers: dict[str, dict[str, str]] = {}

    def rebuild(self, keys: Iterable[KeyFacts]) -> None:
        """Replace the index by these keys of any owners."""
        by_owner: dict[str, list[KeyFacts]] = {}
        for key in keys:
            by_owner.setdefault(key.tenant, []).append(key)
        self._by_owner, self._servers = {}, {}
        for owner, found in by_owner.items():
            self.replace(owner, found)

    def replace(self, owner: str, keys: Iterable[KeyFacts]) -> None:
        """Replace the keys of one owner. A key that says that it belongs to another is left out."""
        by_provider: dict[str, list[KeyFacts]] = {}
        servers: dict[str, str] = {}
        for key in sorted(keys, key=lambda key: (key.priority, key.key_id)):
            if key.tenant != owner:
                continue
            by_provider.setdefault(key.provider, []).append(key)
            if key.name is not None:
                servers.setdefault(key.name, key.provider)
        _set_or_remove(self._by_owner, owner, by_provider)
        _set_or_remove(self._servers, owner, servers)

    def of(self, owner: str) -> Keys:
        """Return an owner's keys; the platform's belong to the tenant `platform`."""
        return self._by_owner.get(owner, _NO_KEYS)

    def servers_of(self, owner: str) -> Mapping[str, str]:
        """Return the names of the servers that an owner's keys are for, with the provider of each."""
        return self._servers.get(owner, _NO_SERVERS)


def _set_or_remove(index: dict[str, Value], owner: str, value: Value) -> None:
    if value:
        index[owner] = value
    else:
        index.pop(owner, None)


def provider_title(provider: str) -> str:
    """Return a provider's display name."""
    known = PROVIDERS.get(provider)
    return known.title if known else provider


def describe_key(key: KeyFacts) -> str:
    """Describe a key for people. The labels of the platform's keys are not shown."""
    if key.tenant == PLATFORM_TENANT:
        return f"the platform's key for {provider_title(key.provider)}"
    return f"the own key {key.label!r} for {key.name or provider_title(key.provider)}"


def _describe_remedy(status: KeyStatus, key: KeyFacts) -> str:
    """Return what to do about a key that cannot be used. The ids of the platform's keys are not shown."""
    if status is KeyStatus.UNDECRYPTABLE:
        return "the operator has to run `keyferry vault verify`"
    if key.tenant == PLATFORM_TENANT:
        return "the operator sees it with `keyferry keys list --tenant platform`"
    rotate = f"`keyferry keys rotate {key.key_id} --tenant {key.tenant}`"
    if status is KeyStatus.DISABLED:
        return f"switch it on with `keyferry keys enable {key.key_id} --tenant {key.tenant}`"
    if status is KeyStatus.EXPIRED:
        return f"replace it with {rotate}, or set a later date with `keyferry keys edit {key.key_id} --tenant {key.tenant}`"
    return f"replace it with {rotate}, or test it again with `keyferry keys test {key.key_id} --tenant {key.tenant}`"


def find_offering(offerings: Sequence[Offering], key: KeyFacts) -> Offering | None:
    """Return the first offering of the key's provider that is available in the key's region; None without any."""
    region = next((key.fields[name] for name in _REGION_FIELDS if name in key.fields), "")
    for offering in offerings:
        if offering.provider == key.provider and (offering.region is None or region.startswith(offering.region)):
            return offering
    return None


def check_key(key: KeyFacts, context: RoutingContext) -> Ineligibility:
    """Return why a key cannot be used at all: its state, a switch, or that its owner's tier includes fewer; None if it can."""
    return _check_paused(key, context) or check_state(key, context.now)


def _check_paused(key: KeyFacts, context: RoutingContext) -> Ineligibility:
    tenant = context.tenant
    if tenant is None or key.tenant != tenant.tenant or key.tenant == PLATFORM_TENANT:
        return None
    if (off := context.byok.why_off(tenant)) is not None:
        return DropReason.KEY_PAUSED, f"{describe_key(key)} is paused, since {off}"
    if context.tiers is None:
        return None
    at_most = context.tiers.keys_per_provider(tenant.tier)
    if at_most is None:
        return None
    # They are sorted by priority, then by age, as in `keyferry.tiers.paused_keys`.
    if all(paused.key_id != key.key_id for paused in context.own_keys.get(key.provider, ())[at_most:]):
        return None
    detail = (
        f"{describe_key(key)} is paused, since the tier {tenant.tier} includes {at_most} of a tenant's own keys per provider:"
        f" {upgrade_to(tenant, context.tiers.lowest_with_keys(at_most))}"
    )
    return DropReason.KEY_PAUSED, detail


def check_state(key: KeyFacts, now: datetime) -> Ineligibility:
    """Return why a key cannot be used at all; None if it can."""
    if key.status not in USABLE:
        detail = f"{describe_key(key)} is {key.status}: {_describe_remedy(key.status, key)}"
        return DropReason.KEY_UNUSABLE, detail
    if key.expires_at is not None and key.expires_at <= now:
        detail = f"{describe_key(key)} is expired: {_describe_remedy(KeyStatus.EXPIRED, key)}"
        return DropReason.KEY_UNUSABLE, detail
    if key.over_limit:
        return DropReason.KEY_LIMIT_SPENT, f"the monthly limit of {describe_key(key)} is spent"
    return None


def check_caller(key: KeyFacts, request: RouteRequest) -> Ineligibility:
    """Return why a key for one team or member does not pay for a request; None if it does, or if it is for all of its owner."""
    if key.team is None and key.member is None:
        return None
    if key.team is not None and key.team != request.team:
        return DropReason.KEY_OTHER_SCOPE, f"{describe_key(key)} is for requests of the team {key.team}"
    if key.member is not None and key.member != request.member:
        return DropReason.KEY_OTHER_SCOPE, f"{describe_key(key)} is for requests of the member {key.member}"
    return None


def breadth(key: KeyFacts) -> int:
    """Return the place of a key's scope, the narrowest first: a member, a team, all of the owner."""
    return 0 if key.member is not None else 1 if key.team is not None else ALL_OF_OWNER


def check_server(key: KeyFacts, resolved: ResolvedModel, offering: Offering) -> Ineligibility:
    """Return why a request that names a provider does not mean this key's server, which has a name of its own."""
    if key.name is None or resolved.server is not None or resolved.provider not in NAMED_BY_TENANT:
        return None
    detail = f"{describe_key(key)} is called by the name of its server: ask for {key.name}/{offering.upstream}"
    return DropReason.SERVER_NOT_NAMED, detail


def check_scope(key: KeyFacts, resolved: ResolvedModel, offering: Offering, context: RoutingContext) -> Ineligibility:
    """Return why this key may not be used for this model; None if it may."""
    assert context.tenant is not None
    names = (
        resolved.name,
        offering.upstream,
        resolved.model.id if resolved.model else resolved.name,
        f"{key.name or key.provider}/{offering.upstream}",
    )
    if resolved.model is None:
        ineligibility = _check_unlisted(key, offering, context.tenant)
    elif key.tenant == PLATFORM_TENANT:
        ineligibility = _check_platform(resolved.model, offering, context.tenant.tier, context)
    else:
        ineligibility = None
    if (
        ineligibility is None
        and key.allowed_models is not None
        and not any(name in key.allowed_models for name in names)
    ):
        return DropReason.KEY_NOT_FOR_MODEL, f"{describe_key(key)} is not allowed for {resolved.name}"
    return ineligibility


def _check_platform(model: CatalogModel, offering: Offering, tier: Tier, context: RoutingContext) -> Ineligibility:
    """Check that the model is in the tenant's tier and that its cost is known in advance."""
    if _TIERS[tier] < _TIERS[model.tier]:
        assert context.tenant is not None
        way = upgrade_to(context.tenant, model.tier)
        detail = f"{model.id} on the platform's keys needs the tier {model.tier}; this tenant's is {tier}: {way}"
        return DropReason.TIER_TOO_LOW, detail
    prices = context.prices(offering.provider, offering.upstream)
    if covers(prices, embeds=Capability.EMBEDDINGS in model.capabilities):
        return None
    detail = (
        f"{offering.upstream} of {provider_title(offering.provider)} has no list price, and the platform's keys pay only for what"
        " has one: use an own key, or have the operator set its price (`keyferry prices set`)"
    )
    return DropReason.UNPRICED, detail


def _check_unlisted(key: KeyFacts, offering: Offering, tenant: Tenant) -> Ineligibility:
    """Check a model outside the catalog: only own keys that list it may pay, and only with the tenant's permission.

    On its own servers and Azure deployments a tenant chooses the models itself, so they need no approval.
    """
    if key.tenant == PLATFORM_TENANT:
        return DropReason.NOT_IN_CATALOG, "the platform's keys are for models of the catalog only"
    if key.provider in NAMED_BY_TENANT:
        return None
    if offering.upstream not in key.models:
        detail = (
            f"{describe_key(key)} did not list {offering.upstream} when it was last tested"
            f" (`keyferry keys test {key.key_id} --tenant {key.tenant}` tests it again)"
        )
        return DropReason.NOT_IN_CATALOG, detail
    if tenant.allow_unapproved:
        return None
    detail = (
        f"{describe_key(key)} lists {offering.upstream}, but the tenant uses approved models only"
        f" (`keyferry tenants set {tenant.tenant} --allow-unapproved`)"
    )
    return DropReason.UNAPPROVED, detail
