"""Provider keys out of the view, and what a key is good for: a closed list of reasons why it may not pay. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from keyferry.contracts.catalog import Offering
from keyferry.contracts.key import USABLE, KeyFacts, KeyStatus
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.route import DropReason
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tier
from services.router.catalog.lookup import NAMED_BY_TENANT, Asked
from services.router.facts import Keys

Verdict = tuple[DropReason, str] | None
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


def state_of(key: KeyFacts, now: datetime) -> Verdict:
    """What is wrong with a key, whatever it is to be used for."""
    if key.status not in USABLE:
        words = f"{called(key)} is {key.status}: {_REMEDIES[key.status]}"
        return DropReason.KEY_UNUSABLE, words
    if key.expires_at is not None and key.expires_at <= now:
        return DropReason.KEY_UNUSABLE, f"{called(key)} is expired: {_REMEDIES[KeyStatus.EXPIRED]}"
    if key.over_limit:
        return DropReason.KEY_LIMIT_SPENT, f"the monthly limit of {called(key)} is spent"
    return None


def scope_of(key: KeyFacts, asked: Asked, offering: Offering, tier: Tier) -> Verdict:
    """Why this key may not be used for this model."""
    names = (asked.name, offering.upstream, asked.model.id if asked.model else asked.name)
    if asked.model is None:
        verdict = _unlisted(key, offering)
    elif key.tenant == PLATFORM_TENANT and _TIERS[tier] < _TIERS[asked.model.tier]:
        words = f"{asked.model.id} on the platform's keys needs the tier {asked.model.tier}; this tenant's is {tier}"
        verdict = DropReason.TIER_TOO_LOW, words
    else:
        verdict = None
    if verdict is None and key.allowed_models is not None and not any(name in key.allowed_models for name in names):
        return DropReason.KEY_NOT_FOR_MODEL, f"{called(key)} is not allowed for {asked.name}"
    return verdict


def _unlisted(key: KeyFacts, offering: Offering) -> Verdict:
    """A model outside the catalog goes with the tenant's own keys alone, where somebody has said that it exists."""
    if key.tenant == PLATFORM_TENANT:
        return DropReason.NOT_IN_CATALOG, "the platform's keys are for models of the catalog only"
    if key.provider in NAMED_BY_TENANT or offering.upstream in key.models:
        return None
    return (
        DropReason.NOT_IN_CATALOG,
        f"{called(key)} did not list {offering.upstream} when it was last tested (`keyferry keys test`)",
    )
