"""Provider keys out of the view, and what a key is good for: a closed list of reasons why it may not pay. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from keyferry.contracts.catalog import Capability, CatalogModel, Offering
from keyferry.contracts.key import USABLE, KeyFacts, KeyStatus
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.route import DropReason
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant, Tier
from services.router.catalog.lookup import NAMED_BY_TENANT, ResolvedModel
from services.router.context import Keys, RoutingContext
from services.router.list_prices import covers

Ineligibility = tuple[DropReason, str] | None
"""Why something may not be used, in data and in words; None where it may."""

_TIERS = {tier: rank for rank, tier in enumerate(Tier)}
_REGION_FIELDS = ("region", "location")
_NO_KEYS: Keys = {}
_REMEDIES = {
    KeyStatus.INVALID: "replace it with `keyferry keys rotate`, or test it again with `keyferry keys test`",
    KeyStatus.EXPIRED: "replace it, or set a later date",
    KeyStatus.DISABLED: "switch it on with `keyferry keys enable`",
    KeyStatus.UNDECRYPTABLE: "the operator has to look at `keyferry vault verify`",
}


class KeyIndex:
    """Provider keys by owner and provider, derived from the view whenever it changes."""

    def __init__(self) -> None:
        self._by_owner: dict[str, dict[str, list[KeyFacts]]] = {}

    def rebuild(self, keys: Iterable[KeyFacts]) -> None:
        """Take the whole view in."""
        fresh: dict[str, dict[str, list[KeyFacts]]] = {}
        for key in sorted(keys, key=lambda key: (key.priority, key.key_id)):
            fresh.setdefault(key.tenant, {}).setdefault(key.provider, []).append(key)
        self._by_owner = fresh

    def of(self, owner: str) -> Keys:
        """An owner's keys; the platform's stand under the tenant `platform`."""
        return self._by_owner.get(owner, _NO_KEYS)


def provider_title(provider: str) -> str:
    """A provider's name for people."""
    data = PROVIDERS.get(provider)
    return data.title if data else provider


def describe_key(key: KeyFacts) -> str:
    """A key in words. What the platform calls its own keys is nobody else's business."""
    if key.tenant == PLATFORM_TENANT:
        return f"the platform's key for {provider_title(key.provider)}"
    return f"the own key {key.label!r} for {provider_title(key.provider)}"


def find_offering(offerings: Sequence[Offering], key: KeyFacts) -> Offering | None:
    """The first offering of the key's provider that the key's region has; None where there is none."""
    region = next((key.fields[name] for name in _REGION_FIELDS if name in key.fields), "")
    for offering in offerings:
        if offering.provider == key.provider and (offering.region is None or region.startswith(offering.region)):
            return offering
    return None


def check_state(key: KeyFacts, now: datetime) -> Ineligibility:
    """What is wrong with a key, whatever it is to be used for."""
    if key.status not in USABLE:
        detail = f"{describe_key(key)} is {key.status}: {_REMEDIES[key.status]}"
        return DropReason.KEY_UNUSABLE, detail
    if key.expires_at is not None and key.expires_at <= now:
        return DropReason.KEY_UNUSABLE, f"{describe_key(key)} is expired: {_REMEDIES[KeyStatus.EXPIRED]}"
    if key.over_limit:
        return DropReason.KEY_LIMIT_SPENT, f"the monthly limit of {describe_key(key)} is spent"
    return None


def check_scope(key: KeyFacts, resolved: ResolvedModel, offering: Offering, context: RoutingContext) -> Ineligibility:
    """Why this key may not be used for this model."""
    assert context.tenant is not None
    names = (resolved.name, offering.upstream, resolved.model.id if resolved.model else resolved.name)
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
    """What the platform pays for is in the tenant's tier, and its cost is known beforehand."""
    if _TIERS[tier] < _TIERS[model.tier]:
        detail = f"{model.id} on the platform's keys needs the tier {model.tier}; this tenant's is {tier}"
        return DropReason.TIER_TOO_LOW, detail
    prices = context.prices(offering.provider, offering.upstream)
    if covers(prices, embeds=Capability.EMBEDDINGS in model.capabilities):
        return None
    detail = (
        f"{offering.upstream} of {provider_title(offering.provider)} has no list price, and the platform's keys pay only for what"
        " has one: use an own key, or have the operator add its price (KEYFERRY_PRICE_FILE)"
    )
    return DropReason.UNPRICED, detail


def _check_unlisted(key: KeyFacts, offering: Offering, tenant: Tenant) -> Ineligibility:
    """A model outside the catalog goes with the tenant's own keys alone, where one lists it and the tenant allows it.

    On servers of its own, Azure's deployments included, a tenant has chosen the models itself: nobody approves them.
    """
    if key.tenant == PLATFORM_TENANT:
        return DropReason.NOT_IN_CATALOG, "the platform's keys are for models of the catalog only"
    if key.provider in NAMED_BY_TENANT:
        return None
    if offering.upstream not in key.models:
        detail = f"{describe_key(key)} did not list {offering.upstream} when it was last tested (`keyferry keys test`)"
        return DropReason.NOT_IN_CATALOG, detail
    if tenant.allow_unapproved:
        return None
    detail = (
        f"{describe_key(key)} lists {offering.upstream}, but the tenant uses approved models only"
        f" (`keyferry tenants set {tenant.tenant} --allow-unapproved`)"
    )
    return DropReason.UNAPPROVED, detail
