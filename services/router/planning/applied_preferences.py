"""The preferences that mattered for one plan, with their origins, for its decision record. Pure."""

from collections.abc import Iterator, Sequence

from keyferry.contracts.features import DEFAULT_MODEL, LEVEL_MODELS
from keyferry.contracts.route import AppliedPreference
from keyferry.contracts.usage import RequestKind
from services.router.planning.context import RouteRequest
from services.router.preferences.effective import NO_PREFERENCES, EffectivePreferences, Source

_BY_LEVEL = ("preferred_models", "learned_quality")
_ALWAYS = ("default_provider", "fallback_provider", "eu_only", "cost_optimization", "auto_provider_switch")
_OF_CHATS = (
    "power_level", "temperature", "max_tokens", "max_tokens_per_request",
    "fallback_models", "fallback_chain", "fallback_on_content_filter", "fallback_after_possible_charge",
)  # fmt: skip


def applied_preferences(request: RouteRequest, preferences: EffectivePreferences) -> Sequence[AppliedPreference]:
    """Return the saved preferences that a plan depended on; those that are not set decide nothing."""
    return () if preferences is NO_PREFERENCES else tuple(_applied(request, preferences))


def _applied(request: RouteRequest, preferences: EffectivePreferences) -> Iterator[AppliedPreference]:
    operation = request.operation
    if (mode := preferences.mode_of(operation)) is not None:
        yield _describe("mode", mode.value, preferences.source_of_mode(operation))
    yield from _choosing_models(request, preferences)
    for names, source in zip(preferences.allowed_regions, preferences.region_sources, strict=True):
        yield _describe("allowed_regions", names, source)
    for name in (*_ALWAYS, *(_OF_CHATS if request.kind is RequestKind.CHAT else ())):
        if name in preferences.origins:
            yield _describe(name, getattr(preferences, name), preferences.source(name))


def _choosing_models(request: RouteRequest, preferences: EffectivePreferences) -> Iterator[AppliedPreference]:
    """Yield the preferences by which the models of a virtual model were chosen."""
    operation = request.operation
    if request.model == DEFAULT_MODEL:
        if operation is not None and operation in preferences.model_by_operation:
            name = f"model_by_operation.{operation}"
            yield _describe(name, preferences.model_by_operation[operation], preferences.source(name))
        elif preferences.default_model is not None:
            yield _describe("default_model", preferences.default_model, preferences.source("default_model"))
        elif preferences.preferred_models:
            yield _describe("preferred_models", preferences.preferred_models, preferences.source("preferred_models"))
    elif request.model in LEVEL_MODELS:
        for name in _BY_LEVEL:
            if name in preferences.origins:
                yield _describe(name, getattr(preferences, name), preferences.source(name))


def _describe(name: str, value: object, source: Source) -> AppliedPreference:
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    shown = text.lower() if isinstance(value, bool) else text
    return AppliedPreference(name=name, value=shown, origin=source.origin.value, origin_id=source.id)
