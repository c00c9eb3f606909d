"""Candidates paid by a provider key: each offering of the model with each key for it, kept or dropped. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import log

from keyferry.contracts.catalog import Capability, Offering
from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.providers import SELF_HOSTED
from keyferry.contracts.route import Candidate, DropReason
from keyferry.contracts.tenancy import PLATFORM_TENANT, KeyPolicy, Tenant
from keyferry.contracts.usage import KeySource, RequestKind
from services.router.catalog.lookup import ResolvedModel
from services.router.planning.context import Keys, RouteRequest, RoutingContext
from services.router.planning.provider_keys import (
    Ineligibility,
    breadth,
    check_caller,
    check_key,
    check_scope,
    check_server,
    describe_key,
    find_offering,
    provider_title,
)
from services.router.planning.routing_mode import NO_MODE, ActiveMode, mode_of

_DRAW_BYTES = 8
_CACHED_CANDIDATES = 16_384


@dataclass(frozen=True, slots=True)
class Payer:
    """An owner of keys, and whether its keys may pay for this request."""

    owner: str
    keys: Keys
    ineligibility: Ineligibility = None
    """Why none of its keys may pay."""
    mode: ActiveMode = NO_MODE
    """The routing mode, which may exclude some of its keys."""


@dataclass(frozen=True, slots=True)
class KeyCandidate:
    """A candidate with its sort criteria."""

    candidate: Candidate
    key: KeyFacts | None = None
    payer: int = 0
    """Rank of the key's owner: the lowest pays first."""
    place: int = 0
    """Position of the provider in the catalog's offerings."""
    offering: Offering | None = None
    """What the key would call; None where there is no such offering."""

    def rank(self, request_id: str) -> tuple[int, bool, int, int, float]:
        """Return the sort key among candidates of one owner and health rank.

        It is the narrowest scope, then valid keys, priority, catalog order, random.
        """
        key = self.key
        assert key is not None
        return breadth(key), key.status is KeyStatus.DEGRADED, key.priority, self.place, draw(request_id, key)


def payers(
    request: RouteRequest, context: RoutingContext, resolved: ResolvedModel, *, has_own_endpoint: bool
) -> tuple[Payer, ...]:
    """Return whose keys may pay, in order, with the reason if an owner's may not.

    `has_own_endpoint`: whether an endpoint of the tenant offers the model. Without a policy, the platform does not pay as soon
    as the tenant has an endpoint or a key of its own for the model.
    """
    tenant = context.tenant
    assert tenant is not None
    if tenant.tenant == PLATFORM_TENANT:
        return (Payer(PLATFORM_TENANT, context.platform_keys),)
    has_own = has_own_endpoint or any(
        check_caller(key, request) is None
        for offering in resolved.offerings
        for key in context.own_keys.get(offering.provider, ())
    )
    mode = mode_of(request, context)
    own = Payer(tenant.tenant, context.own_keys, _own_keys_ineligibility(tenant) or mode.check_own_keys(), mode)
    ineligibility = mode.check_platform_keys(tenant) or _platform_ineligibility(
        request, tenant, has_own=has_own and not mode.consents_to_platform_keys
    )
    platform = Payer(PLATFORM_TENANT, context.platform_keys, ineligibility)
    return (platform, own) if request.prefer_own_keys == "last" else (own, platform)


def _own_keys_ineligibility(tenant: Tenant) -> Ineligibility:
    if tenant.key_policy is KeyPolicy.PLATFORM:
        return DropReason.KEY_POLICY, "the tenant's policy is that only the platform's keys pay"
    return None


def _platform_ineligibility(request: RouteRequest, tenant: Tenant, *, has_own: bool) -> Ineligibility:
    if tenant.key_policy is KeyPolicy.OWN:
        return DropReason.KEY_POLICY, "the tenant's policy is that only its own keys pay"
    if request.prefer_own_keys == "only":
        return DropReason.KEY_POLICY, "the request wants the tenant's own keys only (X-Prefer-BYOK: only)"
    if tenant.key_policy is None and has_own:
        detail = (
            "the tenant has its own endpoint or key for this model and has not allowed the platform's keys in addition"
            f" (`keyferry tenants set {tenant.tenant} --keys own-then-platform`)"
        )
        return DropReason.KEY_POLICY, detail
    return None


def key_candidates(
    request: RouteRequest, context: RoutingContext, resolved: ResolvedModel, ban: Ineligibility, paying: Sequence[Payer]
) -> Iterator[KeyCandidate]:
    """Yield every offering with every key for it; one dropped candidate for a provider without a key that could pay."""
    assert context.tenant is not None
    providers = list(dict.fromkeys(offering.provider for offering in resolved.offerings))
    ban = ban or _check_withheld(resolved, context) or _check_kind(request, resolved)
    for place, provider in enumerate(providers):
        if (retired := context.catalog.retired_providers.get(provider)) is not None and ban is None:
            yield KeyCandidate(_without_key(resolved, provider, (DropReason.PROVIDER_RETIRED, retired), paying))
            continue
        reachable = False
        for rank, payer in enumerate(paying):
            for key in _keys_for(resolved, provider, payer):
                reachable = reachable or payer.ineligibility is None
                ineligibility = (
                    ban
                    or payer.ineligibility
                    or payer.mode.check_key(key)
                    or check_caller(key, request)
                    or check_key(key, context)
                )
                offering = find_offering(resolved.offerings, key)
                candidate = _candidate(resolved, key, offering, ineligibility, context)
                yield KeyCandidate(candidate, key, rank, place, offering)
        if not reachable:
            yield KeyCandidate(_without_key(resolved, provider, ban, paying))


def payable_places(
    request: RouteRequest, context: RoutingContext, resolved: ResolvedModel, paying: Sequence[Payer]
) -> Iterator[tuple[Offering, KeyFacts]]:
    """Yield the offerings that a key may pay for, each with the key: what `key_candidates` keeps, of any kind of model."""
    if resolved.model is not None and resolved.model.id in context.catalog.withheld:
        return
    for provider in dict.fromkeys(offering.provider for offering in resolved.offerings):
        if provider in context.catalog.retired_providers:
            continue
        for payer in paying:
            for key in _keys_for(resolved, provider, payer) if payer.ineligibility is None else ():
                offering = find_offering(resolved.offerings, key)
                if (
                    offering is None
                    or payer.mode.check_key(key)
                    or check_caller(key, request)
                    or check_key(key, context)
                ):
                    continue
                if check_server(key, resolved, offering) or check_scope(key, resolved, offering, context):
                    continue
                yield offering, key


def _keys_for(resolved: ResolvedModel, provider: str, payer: Payer) -> Iterator[KeyFacts]:
    """Yield the payer's keys for a provider; where the name requires a server, those for that server."""
    for key in payer.keys.get(provider, ()):
        if key.tenant != payer.owner:
            continue  # a corrupt view must never charge an owner for another
        if resolved.server is None or key.name == resolved.server:
            yield key


def _check_withheld(resolved: ResolvedModel, context: RoutingContext) -> Ineligibility:
    if resolved.model is None or resolved.model.id not in context.catalog.withheld:
        return None
    detail = (
        f"the gateway cannot read what the operator has changed about {resolved.model.id}, and does not call it until then: use"
        " another model; the operator sees with `keyferry status` what to do"
    )
    return DropReason.UNREADABLE, detail


def _check_kind(request: RouteRequest, resolved: ResolvedModel) -> Ineligibility:
    if resolved.model is None:
        return None
    embeds = Capability.EMBEDDINGS in resolved.model.capabilities
    if embeds and request.kind is RequestKind.CHAT:
        detail = (
            f"{resolved.model.id} makes embeddings and does not chat: send this to /v1/embeddings, or name a chat model"
        )
        return DropReason.WRONG_KIND, detail
    if not embeds and request.kind is RequestKind.EMBEDDING:
        detail = (
            f"{resolved.model.id} chats and makes no embeddings: name an embedding model"
            f" (`keyferry models --capability embeddings --tenant {request.tenant}`)"
        )
        return DropReason.WRONG_KIND, detail
    return None


def _candidate(
    resolved: ResolvedModel,
    key: KeyFacts,
    offering: Offering | None,
    ineligibility: Ineligibility,
    context: RoutingContext,
) -> Candidate:
    if offering is None:
        named = next(known for known in resolved.offerings if known.provider == key.provider)
        place = key.fields.get("region") or key.fields.get("location") or "no region that is known"
        detail = (
            f"{describe_key(key)} is for {place}, where {provider_title(key.provider)} does not have {resolved.name}"
        )
        return _new_candidate(named, key, ineligibility or (DropReason.KEY_ELSEWHERE, detail))
    ineligibility = (
        ineligibility or check_server(key, resolved, offering) or check_scope(key, resolved, offering, context)
    )
    return _note_replacement(_new_candidate(offering, key, ineligibility), resolved)


def _note_replacement(candidate: Candidate, resolved: ResolvedModel) -> Candidate:
    """Say it where a replacement stands in for a retired model: that is never silent."""
    if resolved.retired is None or resolved.model is None:
        return candidate
    detail = f"{candidate.detail}; {resolved.model.id} stands in for {resolved.retired.id}, which is retired"
    return candidate.model_copy(update={"replaces": resolved.retired.id, "detail": detail})


def _new_candidate(offering: Offering, key: KeyFacts, ineligibility: Ineligibility) -> Candidate:
    reason, detail = ineligibility or (
        None,
        f"{describe_key(key)} (priority {key.priority}{_key_attributes(key, offering)})",
    )
    return _candidate_with(
        offering.provider,
        # The names of the platform's servers are not shown.
        None if key.tenant == PLATFORM_TENANT else key.name,
        offering.upstream,
        source_of(key),
        key.key_id,
        offering.region,
        reason,
        detail,
    )


@lru_cache(maxsize=_CACHED_CANDIDATES)
def _candidate_with(
    provider: str,
    endpoint: str | None,
    model: str,
    key_source: KeySource,
    key_id: str,
    region: str | None,
    reason: DropReason | None,
    detail: str,
) -> Candidate:
    """Return the candidate with these values; cached, since the same ones are planned again and again."""
    return Candidate(
        provider=provider,
        endpoint=endpoint,
        model=model,
        key_source=key_source,
        key_id=key_id,
        region=region,
        kept=reason is None,
        reason=reason,
        detail=detail,
    )


def _key_attributes(key: KeyFacts, offering: Offering) -> str:
    status = f", {key.status}" if key.status is not KeyStatus.VALID else ""
    return status + (f", region {offering.region}" if offering.region else "")


def source_of(key: KeyFacts) -> KeySource:
    """Return the key source as the ledger records it; a key of a tenant's own server counts as `custom`."""
    if key.tenant == PLATFORM_TENANT:
        return KeySource.PLATFORM
    return KeySource.CUSTOM if key.provider in SELF_HOSTED else KeySource.BYOK


def _without_key(resolved: ResolvedModel, provider: str, ban: Ineligibility, paying: Sequence[Payer]) -> Candidate:
    offering = next(known for known in resolved.offerings if known.provider == provider)
    reason, detail = ban or (DropReason.NO_KEY, _no_key_detail(provider, paying))
    own = any(payer.owner != PLATFORM_TENANT and payer.ineligibility is None for payer in paying)
    source = KeySource.BYOK if own else KeySource.PLATFORM
    return Candidate(
        provider=provider, model=offering.upstream, key_source=source, kept=False, reason=reason, detail=detail
    )


def _no_key_detail(provider: str, paying: Sequence[Payer]) -> str:
    title = provider_title(provider)
    if all(payer.owner == PLATFORM_TENANT or payer.ineligibility for payer in paying):
        return f"the platform has no key for {title}"
    owner = next(payer.owner for payer in paying if payer.owner != PLATFORM_TENANT and payer.ineligibility is None)
    return f"there is no key for {title}: add one with `keyferry keys add --provider {provider} --tenant {owner}`"


def draw(request_id: str, key: KeyFacts) -> float:
    """Return a random sort key with which each key comes first as often as its weight says; the lowest comes first.

    Exponential variates with the weights as rates: Efraimidis and Spirakis, "Weighted random sampling with a reservoir"
    (2006). A hash replaces the random number, so that the same request gets the same order.
    """
    digest = blake2b(f"{request_id} {key.key_id}".encode(), digest_size=_DRAW_BYTES).digest()
    uniform = (int.from_bytes(digest, "big") + 1) / (256**_DRAW_BYTES + 1)
    return -log(uniform) / key.weight
