"""Provider keys out of the view, and what a key is good for: a closed list of reasons why it may not pay. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from keyferry.contracts.catalog import Capability, CatalogModel, Offering
from keyferry.contracts.key import USABLE, KeyFacts, KeyStatus
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.route import DropReason
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant, Tier
from services.router.catalog.lookup import NAMED_BY_TENANT, Asked
from services.router.facts import Facts, Keys
from services.router.list_prices import covers

KeyTestResult = tuple[DropReason, str] | None
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


def title_of(provider: str) -> str:
    """A provider's name for people."""
    facts = PROVIDERS.get(provider)
    return facts.title if facts else provider


def called(key: KeyFacts) -> str:
    """A key in words. What the platform calls its own keys is nobody else's business."""
    if key.tenant == PLATFORM_TENANT:
        return f"the platform's key for {title_of(key.provider)}"
    return f"the own key {key.label!r} for {title_of(key.provider)}"


def fitting(offerings: Sequence[Offering], key: KeyFacts) -> Offering | None:
    """The first offering of the key's provider that the key's region has; None where there is none."""
    region = next((key.fields[name] for name in _REGION_FIELDS if name in key.fields), "")
    for offering in offerings:
        if offering.provider == key.provider and (offering.region is None or region.startswith(offering.region)):
            return offering
    return None


def state_of(key: KeyFacts, now: datetime) -> KeyTestResult:
    """What is wrong with a key, whatever it is to be used for."""
    if key.status not in USABLE:
        detail = f"{called(key)} is {key.status}: {_REMEDIES[key.status]}"
        return DropReason.KEY_UNUSABLE, detail
    if key.expires_at is not None and key.expires_at <= now:
        return DropReason.KEY_UNUSABLE, f"{called(key)} is expired: {_REMEDIES[KeyStatus.EXPIRED]}"
    if key.over_limit:
        return DropReason.KEY_LIMIT_SPENT, f"the monthly limit of {called(key)} is spent"
    return None


def scope_of(key: KeyFacts, asked: Asked, offering: Offering, facts: Facts) -> KeyTestResult:
    """Why this key may not be used for this model."""
    assert facts.tenant is not None
    names = (asked.name, offering.upstream, asked.model.id if asked.model else asked.name)
    if asked.model is None:
        verdict = _unlisted(key, offering, facts.tenant)
    elif key.tenant == PLATFORM_TENANT:
        verdict = _on_the_platform(asked.model, offering, facts.tenant.tier, facts)
    else:
        verdict = None
    if verdict is None and key.allowed_models is not None and not any(name in key.allowed_models for name in names):
        return DropReason.KEY_NOT_FOR_MODEL, f"{called(key)} is not allowed for {asked.name}"
    return verdict


def _on_the_platform(model: CatalogModel, offering: Offering, tier: Tier, facts: Facts) -> KeyTestResult:
    """What the platform pays for is in the tenant's tier, and its cost is known beforehand."""
    if _TIERS[tier] < _TIERS[model.tier]:
        detail = f"{model.id} on the platform's keys needs the tier {model.tier}; this tenant's is {tier}"
        return DropReason.TIER_TOO_LOW, detail
    prices = facts.prices(offering.provider, offering.upstream)
    if covers(prices, embeds=Capability.EMBEDDINGS in model.capabilities):
        return None
    detail = (
        f"{offering.upstream} of {title_of(offering.provider)} has no list price, and the platform's keys pay only for what"
        " has one: use an own key, or have the operator add its price (KEYFERRY_PRICE_FILE)"
    )
    return DropReason.UNPRICED, detail


def _unlisted(key: KeyFacts, offering: Offering, tenant: Tenant) -> KeyTestResult:
    """A model outside the catalog goes with the tenant's own keys alone, where one lists it and the tenant allows it.

    On servers of its own, Azure's deployments included, a tenant has chosen the models itself: nobody approves them.
    """
    if key.tenant == PLATFORM_TENANT:
        return DropReason.NOT_IN_CATALOG, "the platform's keys are for models of the catalog only"
    if key.provider in NAMED_BY_TENANT:
        return None
    if offering.upstream not in key.models:
        detail = f"{called(key)} did not list {offering.upstream} when it was last tested (`keyferry keys test`)"
        return DropReason.NOT_IN_CATALOG, detail
    if tenant.allow_unapproved:
        return None
    detail = (
        f"{called(key)} lists {offering.upstream}, but the tenant uses approved models only"
        f" (`keyferry tenants set {tenant.tenant} --allow-unapproved`)"
    )
    return DropReason.UNAPPROVED, detail
