"""What a tenant can call now, under every name it can use, with what the catalog knows of it. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from keyferry.contracts.catalog import Capability, CatalogModel, ModelSort, Offering
from keyferry.contracts.route import Candidate, DropReason, ListModels, Model
from keyferry.contracts.usage import KeySource, RequestKind
from services.router.catalog.lookup import NAMED_BY_TENANT, Asked
from services.router.facts import Facts, Wanted
from services.router.key_candidates import KeyCandidate, key_candidates, payers, source_of
from services.router.provider_keys import state_of

ANY_OPERATION = "any"
_KNOWN_OF_A_MODEL = (
    "maker", "title", "description", "best_for", "model_class", "capabilities", "context_tokens", "max_output_tokens",
    "dimensions", "tier", "recommended", "default",
)  # fmt: skip


def offered(facts: Facts, query: ListModels) -> list[Model]:
    """The models that `query` asks for, in its order. Health is left out: what rests for a minute is still offered."""
    found = callable_models(
        facts,
        query.allowed_models,
        unavailable=query.unavailable is True,
        unapproved=query.unapproved is True,
    )
    chosen = [model for model in found if _fits(model, query)]
    if query.sort is ModelSort.NAME:
        chosen.sort(key=lambda model: model.id)
    elif query.sort is ModelSort.CONTEXT:
        chosen.sort(key=lambda model: -(model.context_tokens or 0))
    elif query.sort is ModelSort.COST:
        chosen.sort(key=_cost)
    return chosen


def callable_models(
    facts: Facts, allowed_models: Sequence[str] | None, *, unavailable: bool = False, unapproved: bool = False
) -> list[Model]:
    """The echo, the tenant's own endpoints and servers, then the catalog; each name once.

    `unavailable` adds approved models that nobody's key can pay for, `unapproved` what own keys list beyond the catalog.
    """
    if facts.tenant is None or facts.tenant.suspended:
        return []
    echo = Model(id="echo", provider="echo", key_source=KeySource.NONE, prices=facts.prices("echo", "echo"))
    found = [echo, *_of_endpoints(facts)]
    found += (model for model in _of_own_keys(facts) if model.approved or unapproved)
    found += (model for asked in _named(facts, allowed_models) if (model := _of_catalog(facts, asked, unavailable)))
    first: dict[str, Model] = {}
    for model in found:
        first.setdefault(model.id, model)
    return [model for model in first.values() if allowed_models is None or model.id in allowed_models]


def _of_endpoints(facts: Facts) -> Iterator[Model]:
    for endpoint in sorted(facts.endpoints, key=lambda e: (e.priority, e.name)):
        if endpoint.enabled:
            yield from (
                Model(
                    id=name,
                    provider="custom",
                    endpoint=endpoint.name,
                    key_source=KeySource.CUSTOM,
                    providers=["custom"],
                    key_sources=[KeySource.CUSTOM],
                    prices=facts.prices("custom", model),
                )
                for model in endpoint.models
                for name in (model, f"{endpoint.name}/{model}")
            )


def _of_own_keys(facts: Facts) -> Iterator[Model]:
    """What the tenant's keys were seen to list and the catalog does not have; of its own servers nobody else approves.

    What only the tenant's leave is missing for is shown as not available.
    """
    for provider, keys in facts.own_keys.items():
        for key in keys:
            for name in key.models:
                asked = facts.catalog.resolve(f"{provider}/{name}")
                if asked.model is not None or state_of(key, facts.now) is not None:
                    continue
                found = [each.candidate for each in _ways_and_dead_ends(facts, asked)]
                available = any(candidate.kept for candidate in found)
                if available or any(candidate.reason is DropReason.UNAPPROVED for candidate in found):
                    source = source_of(key)
                    yield Model(
                        id=asked.name,
                        provider=provider,
                        key_source=source,
                        providers=[provider],
                        key_sources=[source],
                        available=available,
                        approved=provider in NAMED_BY_TENANT,
                        prices=facts.prices(provider, name),
                    )


def _named(facts: Facts, allowed_models: Sequence[str] | None) -> Iterator[Asked]:
    """Names to list: the catalog's own, or those that a client token is limited to."""
    if allowed_models is None:
        yield from (facts.catalog.resolve(model.id) for model in facts.catalog)
    else:
        yield from (asked for name in allowed_models if (asked := facts.catalog.resolve(name)).model is not None)


def _of_catalog(facts: Facts, asked: Asked, unavailable: bool) -> Model | None:
    assert asked.model is not None
    ways = _ways(facts, asked)
    if ways:
        first = ways[0]
        return _described(
            asked.model,
            Model(
                id=asked.name,
                provider=first.provider,
                key_source=first.key_source,
                providers=list(dict.fromkeys(way.provider for way in ways)),
                key_sources=list(dict.fromkeys(way.key_source for way in ways)),
                eu=any(_is_eu(asked.offerings, way) for way in ways),
                prices=facts.prices(first.provider, first.model),
            ),
        )
    if not unavailable:
        return None
    eu = any(offering.eu for offering in asked.offerings)
    first_offering = asked.offerings[0]
    return _described(
        asked.model,
        Model(
            id=asked.name,
            provider=first_offering.provider,
            key_source=KeySource.NONE,
            available=False,
            eu=eu,
            prices=facts.prices(first_offering.provider, first_offering.upstream),
        ),
    )


def _ways(facts: Facts, asked: Asked) -> list[Candidate]:
    """The candidates that a request for it would have, best first, health and draws aside."""
    kept = [found for found in _ways_and_dead_ends(facts, asked) if found.candidate.kept]
    return [found.candidate for found in sorted(kept, key=_standing)]


def _ways_and_dead_ends(facts: Facts, asked: Asked) -> list[KeyCandidate]:
    """Every way there would be with a key, those that may not be used included."""
    assert facts.tenant is not None
    embeds = asked.model is not None and Capability.EMBEDDINGS in asked.model.capabilities
    kind = RequestKind.EMBEDDING if embeds else RequestKind.CHAT
    wanted = Wanted(facts.tenant.tenant, asked.name, kind=kind)
    paying = payers(wanted, facts, asked, has_own_way=False)
    return list(key_candidates(wanted, facts, asked, None, paying))


def _cost(model: Model) -> tuple[bool, Decimal]:
    """By a million tokens in and a million out; what has no price comes last."""
    prices = model.prices
    return prices is None, Decimal(0) if prices is None else prices.input_usd + (prices.output_usd or 0)


def _standing(found: KeyCandidate) -> tuple[int, bool, int, int]:
    degraded, priority, place, _ = found.rank("")
    return found.payer, degraded, priority, place


def _is_eu(offerings: Iterable[Offering], way: Candidate) -> bool:
    place = (way.provider, way.model, way.region)
    return any(
        offering.eu for offering in offerings if (offering.provider, offering.upstream, offering.region) == place
    )


def _described(model: CatalogModel, listed: Model) -> Model:
    return listed.model_copy(update={name: getattr(model, name) for name in _KNOWN_OF_A_MODEL})


def _fits(model: Model, query: ListModels) -> bool:
    recommended = model.recommended and (query.recommended == ANY_OPERATION or query.recommended in model.recommended)
    from_provider = query.provider in (model.provider, model.endpoint, *model.providers)
    return (
        (not query.eu or model.eu)
        and (query.recommended is None or bool(recommended))
        and (query.provider is None or from_provider)
        and (query.tier is None or model.tier is query.tier)
        and (query.model_class is None or model.model_class is query.model_class)
        and (query.capability is None or query.capability in model.capabilities)
    )
