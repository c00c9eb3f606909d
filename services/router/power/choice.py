"""Chooses models by power level: which fit a request, which meet the level's bounds, and in which order.

`eco` takes the cheapest, `balanced` the best quality for the cost, `precision` the best quality. Whatever is passed over has a
reason; the same request and facts give the same choice. Pure.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from keyferry.contracts.catalog import Capability
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.features import AUTO_MODEL, DEFAULT_POWER_LEVEL, PowerLevel, RequestFeatures
from keyferry.contracts.health import Target
from keyferry.contracts.route import ConsideredModel
from keyferry.contracts.usage import RequestKind
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.power.levels import (
    BOUNDS,
    LEAST_SAMPLES,
    Bounds,
    choose_auto_level,
    expected_output_tokens,
    format_count,
    kind_of,
)
from services.router.power.table import CallableModel, PowerTable

MAX_PLANNED = 4
"""Models of one choice that are planned: the best, and those that stand in for it."""
MAX_LISTED = 16
"""Models passed over that are listed one by one, so that a decision record stays small."""
_PICO = 10**12
_NEEDS = (
    ("tools", Capability.TOOLS, "tools"),
    ("json_schema", Capability.JSON_SCHEMA, "answers by a JSON Schema"),
    ("images", Capability.VISION, "images"),
    ("audio", Capability.AUDIO_INPUT, "audio"),
)
_MAX_REASONS = 6
UNPREFERRED = 1000
"""The place of a model that the tenant does not prefer."""
_NOT_ALLOWED = "the client token may not use it"
_Reason = tuple[str, str]
"""The id of a model, and why it is passed over."""


@dataclass(frozen=True, slots=True)
class LevelChoice:
    """The models that a level chooses, best first, each with its reason; or why there is none."""

    level: PowerLevel
    models: Sequence[tuple[str, str]] = ()
    """Ids of the catalog, and why each is chosen."""
    passed_over: Sequence[ConsideredModel] = ()
    refusal: Failure | None = None


@dataclass(slots=True)
class _Fit:
    """A model that fits the request, with what it is ranked by."""

    model: CallableModel
    quality: int
    cost: int | None
    """In 10^-12 dollars."""
    latency_ms: int | None
    """The slowest 5 of 100 recent answers; None if unknown."""
    preferred: int
    """Its place among the tenant's preferred models, or UNPREFERRED."""

    def describe(self, bounds: Bounds) -> str:
        """Return its quality, cost and speed in words."""
        cost = "no list price" if self.cost is None else f"about ${self.cost / _PICO:.6f}"
        slow = self.is_slow(bounds)
        speed = f", slow: 95 % of its answers within {(self.latency_ms or 0) / 1000:.1f} s" if slow else ""
        return f"quality {self.quality}, {cost}{speed}"

    def is_slow(self, bounds: Bounds) -> bool:
        """Return whether it is known to be slower than the level allows."""
        return self.latency_ms is not None and self.latency_ms > bounds.latency_ms


def effective_level(request: RouteRequest, context: RoutingContext) -> PowerLevel | None:
    """Return the level of a request that names a model: its own, or the saved one; None where nobody set any."""
    return request.power_level or context.preferences(request).power_level


def usable_levels(request: RouteRequest, context: RoutingContext) -> list[PowerLevel]:
    """Return the levels that find a model for an ordinary request."""
    plain = replace(request, power_level=None, features=RequestFeatures())
    return [level for level in PowerLevel if choose_by_level(level, plain, context).refusal is None]


def choose_by_level(name: str, request: RouteRequest, context: RoutingContext) -> LevelChoice:
    """Return the choice for a virtual model's name: `eco`, `balanced`, `precision` or `auto`."""
    level, how, refusal = _find_level(name, request)
    if refusal is None and request.kind is not RequestKind.CHAT:
        refusal = _refuse(
            FailureClass.BAD_REQUEST,
            f"{name} chooses among chat models: name an embedding model"
            f" (`keyferry models --capability embeddings --tenant {request.tenant}`)",
        )
    if refusal is None and (context.tenant is None or context.tenant.suspended):
        refusal = _refuse(FailureClass.POLICY, f"the tenant {request.tenant} is suspended or unknown")
    if refusal is not None:
        return LevelChoice(level, refusal=refusal)
    return _choose(level, how, request, context, context.power_table(request, context))


def _find_level(name: str, request: RouteRequest) -> tuple[PowerLevel, str, Failure | None]:
    """Return the level, how it was found, and a refusal if name and header contradict each other."""
    asked = request.power_level
    if name == AUTO_MODEL:
        if asked is not None:
            return asked, f"the request asks for {asked}", None
        auto = choose_auto_level(request.features)
        return auto.level, auto.detail, None
    level = PowerLevel(name)
    if asked is not None and asked is not level:
        detail = f"the model name asks for {level} and X-Power-Level for {asked}: send one of the two"
        return level, "", _refuse(FailureClass.BAD_REQUEST, detail)
    return level, f"the request asks for {level}", None


def _choose(
    level: PowerLevel, how: str, request: RouteRequest, context: RoutingContext, table: PowerTable
) -> LevelChoice:
    misfits: list[_Reason] = []
    rejected: list[tuple[int, _Reason]] = []
    bounds = BOUNDS[level]
    fits = list(_find_fits(level, request, context, table, misfits, rejected))
    too_low = [reason for _, reason in sorted(rejected, key=lambda item: (-item[0], item[1]))]
    others = (*too_low, *misfits, *table.reasons_for(request.tenant))
    if not fits:
        return LevelChoice(level, (), _list(others), _nothing_fits(level, request, table, misfits, too_low))
    ranked = sorted(fits, key=lambda fit: _rank(level, bounds, fit))
    planned = _plan_models(ranked)
    chosen = {fit.model.id for fit in planned}
    models = []
    lower = []
    for place, fit in enumerate(ranked[: MAX_PLANNED + MAX_LISTED], 1):
        if fit.model.id not in chosen:
            lower.append((fit.model.id, f"number {place} of {len(ranked)} that fit ({fit.describe(bounds)})"))
    for fit in planned:
        place = ranked.index(fit) + 1
        order = "first" if place == 1 else f"number {place}"
        preferred = ", preferred" if fit.preferred < UNPREFERRED else ""
        other = ", and the best at another provider" if place > MAX_PLANNED else ""
        models.append(
            (fit.model.id, f"{how}: {order} of {len(ranked)} that fit ({fit.describe(bounds)}{preferred}){other}")
        )
    unlisted = max(0, len(ranked) - len(models) - len(lower))
    return LevelChoice(level, models, _list((*lower, *others), unlisted))


def _plan_models(ranked: Sequence[_Fit]) -> Sequence[_Fit]:
    """Return the models to plan: the best, and if all of these are at one provider only, the last one at another provider.

    Otherwise an outage of that provider would refuse requests that other models can answer.
    """
    best = ranked[:MAX_PLANNED]
    providers = frozenset[str]().union(*(fit.model.providers for fit in best))
    if len(providers) > 1:
        return best
    other = next((fit for fit in ranked[MAX_PLANNED:] if not fit.model.providers <= providers), None)
    return best if other is None else [*best[:-1], other]


def _find_fits(
    level: PowerLevel,
    request: RouteRequest,
    context: RoutingContext,
    table: PowerTable,
    misfits: list[_Reason],
    rejected: list[tuple[int, _Reason]],
) -> Iterable[_Fit]:
    """Yield the models that fit and are good enough; add the others to `misfits`, and with their quality to `rejected`."""
    features, kind = request.features, kind_of(request.features)
    output_tokens = expected_output_tokens(features)
    needs = [(capability, text) for name, capability, text in _NEEDS if getattr(features, name)]
    preferences = context.preferences(request)
    preferred = _places(preferences.preferred_models, context)
    allowed = None if request.allowed_models is None else frozenset(request.allowed_models)
    learns = preferences.learned_quality
    for model in table.models:
        if allowed is not None and model.id not in allowed:
            misfits.append((model.id, _NOT_ALLOWED))
            continue
        if (misfit := _find_misfit(model, features, needs, output_tokens)) is not None:
            misfits.append((model.id, misfit))
            continue
        quality = model.quality.of(kind)
        if learns:
            quality = table.learned.blend(quality, model.id, request.operation)
        least = BOUNDS[level].quality
        if quality is None or quality < least:
            known = (
                f"its quality is {quality}"
                if quality is not None
                else f"its quality is unknown: {model.quality.unknown}"
            )
            rejected.append((-1 if quality is None else quality, (model.id, f"{known}; {level} needs {least}")))
            continue
        prices, target = (
            (model.cheapest, model.cheapest_target) if level is PowerLevel.ECO else (model.prices, model.target)
        )
        cost = None if prices is None else prices.cost(features.input_tokens, output_tokens)
        yield _Fit(model, quality, cost, _latency(target, context), preferred.get(model.id, UNPREFERRED))


def _places(names: Sequence[str], context: RoutingContext) -> dict[str, int]:
    """Return the place of each preferred model by its id; names of providers' offerings stand for the model."""
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        model = context.catalog.resolve(name).model
        if model is not None:
            places.setdefault(model.id, place)
    return places


def _find_misfit(
    model: CallableModel,
    features: RequestFeatures,
    needs: Sequence[tuple[Capability, str]],
    output_tokens: int,
) -> str | None:
    """Return what a model lacks for the request; None if it fits."""
    for capability, text in needs:
        if capability not in model.capabilities:
            return f"it does not support {text}"
    limit = features.max_output_tokens
    if limit is not None and model.max_output_tokens is not None and limit > model.max_output_tokens:
        return f"it answers with at most {format_count(model.max_output_tokens)} tokens; the request allows {format_count(limit)}"
    needed = features.input_tokens + (output_tokens if limit is None else limit)
    if needed > model.context_tokens:
        return f"its context has {format_count(model.context_tokens)} tokens; the request needs {format_count(needed)}"
    return None


def _latency(target: Target, context: RoutingContext) -> int | None:
    """Return within which time 95 of 100 recent answers of a target were complete; None if that is unknown."""
    summary = context.latency(target)
    return None if summary is None or summary.samples < LEAST_SAMPLES else summary.p95_ms


def _rank(level: PowerLevel, bounds: Bounds, fit: _Fit) -> tuple[object, ...]:
    """Return the sort key of a model that fits; the lowest comes first.

    One that is known to be slow comes after all others, since a slow answer is better than none. Then come the tenant's
    preferred models. One without a price comes last where costs count.
    """
    slow = fit.is_slow(bounds)
    cost = fit.cost if fit.cost is not None else 0
    unpriced = fit.cost is None
    lead = (slow, fit.latency_ms or 0) if slow else (slow, 0)
    if level is PowerLevel.ECO:
        return *lead, fit.preferred, unpriced, cost, -fit.quality, fit.model.id
    if level is PowerLevel.PRECISION:
        return *lead, fit.preferred, -fit.quality, unpriced, cost, fit.model.id
    return *lead, fit.preferred, unpriced, -value_for_cost(fit.quality, cost), -fit.quality, fit.model.id


def value_for_cost(quality: int, cost: int) -> float:
    """Return what `balanced` ranks by: the cube of the points above the level's least quality, per cost.

    A model that costs eight times as much must have twice as many points above the least quality.
    """
    points = quality - BOUNDS[PowerLevel.BALANCED].quality + 1
    return float(points**3) / max(cost, 1)


def _list(reasons: Sequence[_Reason], unlisted: int = 0) -> tuple[ConsideredModel, ...]:
    """Return the models passed over; all beyond MAX_LISTED, and those not even given, are one entry.

    The entries are not checked, since all of their texts come from the catalog and from here, and a check of each takes long.
    """
    listed = [
        ConsideredModel.model_construct(model=model, planned=False, detail=detail)
        for model, detail in reasons[:MAX_LISTED]
    ]
    rest = unlisted + len(reasons) - len(listed)
    if rest > 0:
        detail = f"{rest} more models of the catalog are worse, do not fit or cannot be called"
        listed.append(ConsideredModel(model="others", planned=False, detail=detail))
    return tuple(listed)


def _nothing_fits(
    level: PowerLevel,
    request: RouteRequest,
    table: PowerTable,
    misfits: Sequence[_Reason],
    too_low: Sequence[_Reason],
) -> Failure:
    """Return the refusal: which bound excluded how many models, and what to do."""
    if not table.models:
        reasons = _summarize(table.reasons_for(request.tenant))
        return _refuse(
            FailureClass.POLICY, f"{level} finds no chat model of the catalog that this tenant can call: {reasons}"
        )
    if too_low:
        lower = "eco" if level is DEFAULT_POWER_LEVEL else "a lower level"
        detail = (
            f"{level} needs a quality of {BOUNDS[level].quality}, and of the models that fit the request and that this tenant can"
            f" call none has it: {_best(too_low)}. Name a model, or use {lower}"
        )
        return _refuse(FailureClass.POLICY, detail)
    if all(detail == _NOT_ALLOWED for _, detail in misfits):
        return _refuse(FailureClass.POLICY, f"{level} finds no model that the client token may use")
    return _refuse(
        FailureClass.BAD_REQUEST, f"no model that this tenant can call fits the request: {_summarize(misfits)}"
    )


def _best(models: Sequence[_Reason]) -> str:
    """Return the first few models that are not good enough, each with its reason."""
    named = "; ".join(f"{model}: {detail}" for model, detail in models[:_MAX_REASONS])
    more = len(models) - _MAX_REASONS
    return f"{named}; and {more} more" if more > 0 else named


def _summarize(models: Iterable[_Reason]) -> str:
    """Return the most frequent reasons with their models' number, or with the name of a single one."""
    names: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for model, detail in models:
        names.setdefault(detail, model)
        counts[detail] += 1
    texts = [
        f"{names[detail]}: {detail}" if count == 1 else f"{count} models: {detail}"
        for detail, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    more = f"; and {len(texts) - _MAX_REASONS} other reasons" if len(texts) > _MAX_REASONS else ""
    return "; ".join(texts[:_MAX_REASONS]) + more


def _refuse(failure_class: FailureClass, message: str) -> Failure:
    return Failure(failure_class=failure_class, message=message, param="model")
