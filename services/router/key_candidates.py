"""Candidates that a provider key would pay for: each offering of the model with each key for it, kept or dropped. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import log

from keyferry.contracts.catalog import Capability, Offering
from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.route import Candidate, DropReason
from keyferry.contracts.tenancy import PLATFORM_TENANT, KeyPolicy, Tenant
from keyferry.contracts.usage import KeySource, RequestKind
from services.router.catalog.lookup import SELF_HOSTED, Asked
from services.router.facts import Facts, Keys, Wanted
from services.router.provider_keys import KeyTestResult, called, fitting, scope_of, state_of, title_of

_DRAW_BYTES = 8


@dataclass(frozen=True, slots=True)
class Payer:
    """An owner of keys, as far as this request may use them."""

    owner: str
    keys: Keys
    forbidden: KeyTestResult = None
    """Why none of its keys may pay."""


@dataclass(frozen=True, slots=True)
class KeyCandidate:
    """A candidate with what orders it."""

    candidate: Candidate
    key: KeyFacts | None = None
    payer: int = 0
    """Place of the key's owner: the lower pays first."""
    place: int = 0
    """Place of the offering in the catalog."""

    def rank(self, request_id: str) -> tuple[bool, int, int, float]:
        """Order among candidates of one owner and standing: valid keys, priority, the catalog's order, and a draw."""
        assert self.key is not None
        return self.key.status is KeyStatus.DEGRADED, self.key.priority, self.place, draw(request_id, self.key)


def payers(wanted: Wanted, facts: Facts, asked: Asked, *, has_own_way: bool) -> tuple[Payer, ...]:
    """Whose keys pay, in order, and whose may not and why.

    `has_own_way`: whether an endpoint of the tenant's own offers the model. A tenant that has not said whether the
    platform may pay is taken to want its own alone as soon as it has something of its own for the model.
    """
    tenant = facts.tenant
    assert tenant is not None
    if tenant.tenant == PLATFORM_TENANT:
        return (Payer(PLATFORM_TENANT, facts.platform_keys),)
    has_own = has_own_way or any(facts.own_keys.get(offering.provider) for offering in asked.offerings)
    own = Payer(tenant.tenant, facts.own_keys, _own_forbidden(tenant))
    platform = Payer(PLATFORM_TENANT, facts.platform_keys, _platform_forbidden(wanted, tenant, has_own=has_own))
    return (platform, own) if wanted.prefer_own_keys == "last" else (own, platform)


def _own_forbidden(tenant: Tenant) -> KeyTestResult:
    if tenant.key_policy is KeyPolicy.PLATFORM:
        return DropReason.KEY_POLICY, "the tenant's policy is that only the platform's keys pay"
    return None


def _platform_forbidden(wanted: Wanted, tenant: Tenant, *, has_own: bool) -> KeyTestResult:
    if tenant.key_policy is KeyPolicy.OWN:
        return DropReason.KEY_POLICY, "the tenant's policy is that only its own keys pay"
    if wanted.prefer_own_keys == "only":
        return DropReason.KEY_POLICY, "the request wants the tenant's own keys only (X-Prefer-BYOK: only)"
    if tenant.key_policy is None and has_own:
        detail = (
            "the tenant has its own way to this model and has not allowed the platform's keys beside it"
            f" (`keyferry tenants set {tenant.tenant} --keys own-then-platform`)"
        )
        return DropReason.KEY_POLICY, detail
    return None


def key_candidates(
    wanted: Wanted, facts: Facts, asked: Asked, ban: KeyTestResult, paying: Sequence[Payer]
) -> Iterator[KeyCandidate]:
    """Every offering with every key for it; where a provider has no key that could pay, one candidate that says so."""
    assert facts.tenant is not None
    providers = list(dict.fromkeys(offering.provider for offering in asked.offerings))
    ban = ban or _wrong_kind(wanted, asked)
    for place, provider in enumerate(providers):
        reachable = False
        for rank, payer in enumerate(paying):
            for key in payer.keys.get(provider, ()):
                if key.tenant != payer.owner:
                    continue  # a view that is not what it should be must not make anybody pay for another
                reachable = reachable or payer.forbidden is None
                verdict = ban or payer.forbidden or state_of(key, facts.now)
                offering = fitting(asked.offerings, key)
                yield KeyCandidate(_candidate(asked, key, offering, verdict, facts), key, rank, place)
        if not reachable:
            yield KeyCandidate(_without_key(asked, provider, ban, paying))


def _wrong_kind(wanted: Wanted, asked: Asked) -> KeyTestResult:
    if asked.model is None:
        return None
    embeds = Capability.EMBEDDINGS in asked.model.capabilities
    if embeds and wanted.kind is RequestKind.CHAT:
        detail = (
            f"{asked.model.id} makes embeddings and does not chat: send this to /v1/embeddings, or name a chat model"
        )
        return DropReason.WRONG_KIND, detail
    if not embeds and wanted.kind is RequestKind.EMBEDDING:
        detail = (
            f"{asked.model.id} chats and makes no embeddings: name an embedding model"
            " (`keyferry models --capability embeddings`)"
        )
        return DropReason.WRONG_KIND, detail
    return None


def _candidate(
    asked: Asked, key: KeyFacts, offering: Offering | None, verdict: KeyTestResult, facts: Facts
) -> Candidate:
    if offering is None:
        named = next(known for known in asked.offerings if known.provider == key.provider)
        place = key.fields.get("region") or key.fields.get("location") or "no region that is known"
        detail = f"{called(key)} is for {place}, where {title_of(key.provider)} does not have {asked.name}"
        return _made(named, key, verdict or (DropReason.KEY_ELSEWHERE, detail))
    return _made(offering, key, verdict or scope_of(key, asked, offering, facts))


def _made(offering: Offering, key: KeyFacts, verdict: KeyTestResult) -> Candidate:
    reason, detail = verdict or (None, f"{called(key)} (priority {key.priority}{_shades(key, offering)})")
    return Candidate(
        provider=offering.provider,
        model=offering.upstream,
        key_source=source_of(key),
        key_id=key.key_id,
        region=offering.region,
        kept=reason is None,
        reason=reason,
        detail=detail,
    )


def _shades(key: KeyFacts, offering: Offering) -> str:
    status = f", {key.status}" if key.status is not KeyStatus.VALID else ""
    return status + (f", region {offering.region}" if offering.region else "")


def source_of(key: KeyFacts) -> KeySource:
    """Whose key it is, as the ledger names it; the key of a tenant's own server counts as that server."""
    if key.tenant == PLATFORM_TENANT:
        return KeySource.PLATFORM
    return KeySource.CUSTOM if key.provider in SELF_HOSTED else KeySource.BYOK


def _without_key(asked: Asked, provider: str, ban: KeyTestResult, paying: Sequence[Payer]) -> Candidate:
    offering = next(known for known in asked.offerings if known.provider == provider)
    reason, detail = ban or (DropReason.NO_KEY, _no_key_words(provider, paying))
    own = any(payer.owner != PLATFORM_TENANT and payer.forbidden is None for payer in paying)
    source = KeySource.BYOK if own else KeySource.PLATFORM
    return Candidate(
        provider=provider, model=offering.upstream, key_source=source, kept=False, reason=reason, detail=detail
    )


def _no_key_words(provider: str, paying: Sequence[Payer]) -> str:
    title = title_of(provider)
    if all(payer.owner == PLATFORM_TENANT or payer.forbidden for payer in paying):
        return f"the platform has no key for {title}"
    return f"there is no key for {title}: add one with `keyferry keys add --provider {provider}`"


def draw(request_id: str, key: KeyFacts) -> float:
    """A number that puts keys in a random order in which each comes first as often as its weight says; the lower first.

    Exponential variates with the weights as rates: Efraimidis and Spirakis, "Weighted random sampling with a reservoir"
    (2006). A hash stands in for chance, so that the same request draws the same.
    """
    digest = blake2b(f"{request_id} {key.key_id}".encode(), digest_size=_DRAW_BYTES).digest()
    uniform = (int.from_bytes(digest, "big") + 1) / (256**_DRAW_BYTES + 1)
    return -log(uniform) / key.weight
