"""The preferences in force for a request: the saved ones of its scopes, resolved field by field, each with its origin. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from keyferry.contracts.chat import BodyDefaults
from keyferry.contracts.fallback import UseCase
from keyferry.contracts.features import DEFAULT_POWER_LEVEL, PowerLevel
from keyferry.contracts.preferences import (
    EffectivePreference,
    PreferenceOrigin,
    Preferences,
    PreferenceScope,
    PreferenceValue,
    RoutingMode,
    SavedPreferences,
)

_MAPS = ("mode_by_operation", "model_by_operation")
_FIELDS = tuple(Preferences.model_fields)


class Source(NamedTuple):
    """Where a value is saved."""

    origin: PreferenceOrigin
    id: str | None = None


FROM_DEFAULT = Source(PreferenceOrigin.DEFAULT)


@dataclass(frozen=True, slots=True)
class EffectivePreferences:
    """The preferences in force, by the names that they are saved under. Everything is computed once, and read per request."""

    mode: RoutingMode | None = None
    mode_by_operation: Mapping[str, RoutingMode] = field(default_factory=dict)
    default_model: str | None = None
    model_by_operation: Mapping[str, str] = field(default_factory=dict)
    preferred_models: Sequence[str] = ()
    fallback_models: Sequence[str] = ()
    default_provider: str | None = None
    fallback_provider: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    max_tokens_per_request: int | None = None
    eu_only: bool = False
    allowed_regions: Sequence[Sequence[str]] = ()
    """The lists of all scopes; a region must be in each of them."""
    power_level: PowerLevel | None = None
    """None where none is saved."""
    learned_quality: bool = False
    cost_optimization: bool = False
    auto_provider_switch: bool = True
    fallback_on_content_filter: bool = False
    fallback_after_possible_charge: bool = True
    fallback_chain: UseCase | None = None
    openrouter_site_url: str | None = None
    openrouter_site_name: str | None = None
    origins: Mapping[str, Source] = field(default_factory=dict)
    """By the name of the preference, and of a map's entry as `name.key`; what is missing is the default."""
    region_sources: Sequence[Source] = ()
    """The origins of the lists in `allowed_regions`, in that order."""
    limits_place: bool = field(init=False)
    """Whether anything limits where requests are processed."""
    ranks_providers: bool = field(init=False)
    """Whether anything orders the providers of a model."""
    body_defaults: BodyDefaults | None = field(init=False)
    """What the worker applies to the body of a chat; None for nothing."""

    def __post_init__(self) -> None:
        """Derive what planning reads."""
        object.__setattr__(self, "limits_place", self.eu_only or bool(self.allowed_regions))
        named = self.default_provider is not None or self.fallback_provider is not None
        object.__setattr__(self, "ranks_providers", named or self.cost_optimization)
        object.__setattr__(self, "body_defaults", self._derive_body_defaults())

    def mode_of(self, operation: str | None) -> RoutingMode | None:
        """Return the routing mode of an operation; None where the key policy alone decides."""
        if operation is not None and (mode := self.mode_by_operation.get(operation)) is not None:
            return mode
        return self.mode

    def source_of_mode(self, operation: str | None) -> Source:
        """Return where the routing mode of an operation is saved."""
        return self.source(f"mode_by_operation.{operation}" if operation in self.mode_by_operation else "mode")

    def source(self, name: str) -> Source:
        """Return where a preference is saved."""
        return self.origins.get(name, FROM_DEFAULT)

    def _derive_body_defaults(self) -> BodyDefaults | None:
        most, limit = self.max_tokens_per_request, self.max_tokens
        if most is not None:
            limit = most if limit is None else min(limit, most)
        if limit is None and self.temperature is None:
            return None
        return BodyDefaults(temperature=self.temperature, max_tokens=limit, most_tokens=most)


NO_PREFERENCES = EffectivePreferences()


def resolve(layers: Sequence[SavedPreferences]) -> EffectivePreferences:
    """Return the preferences in force where these layers apply, the broadest first: a later one overrides field by field.

    Limits on where requests are processed are only ever narrowed: residency in the European Union stays required once a layer
    requires it, and a region must be in the list of every layer that has one.
    """
    values: dict[str, Any] = {}
    origins: dict[str, Source] = {}
    regions: list[tuple[Sequence[str], Source]] = []
    for saved in layers:
        source = source_of(saved)
        for name in _FIELDS:
            value = getattr(saved.preferences, name)
            if value is None or (name == "eu_only" and values.get(name)):
                continue
            if name in _MAPS:
                values[name] = {**values.get(name, {}), **value}
                origins |= {f"{name}.{key}": source for key in value}
                continue
            origins[name] = source
            if name == "allowed_regions":
                regions.append((tuple(value), source))
            else:
                values[name] = tuple(value) if isinstance(value, list) else value
    if not values and not regions:
        return NO_PREFERENCES
    return EffectivePreferences(
        **values,
        origins=origins,
        allowed_regions=tuple(names for names, _ in regions),
        region_sources=tuple(source for _, source in regions),
    )


def source_of(saved: SavedPreferences) -> Source:
    """Return the origin of the values of one scope."""
    origin = PreferenceOrigin(saved.scope.value)
    return Source(origin, None if saved.scope is PreferenceScope.PLATFORM else saved.scope_id)


def describe(preferences: EffectivePreferences) -> Iterator[EffectivePreference]:
    """Yield every value in force with its origin, in the order in which the contract lists the preferences."""
    for name in _FIELDS:
        value = getattr(preferences, name)
        if name in _MAPS:
            for key in sorted(value):
                yield _described(f"{name}.{key}", value[key], preferences.source(f"{name}.{key}"))
        elif name == "allowed_regions" and value:
            for regions, source in zip(value, preferences.region_sources, strict=True):
                yield _described(name, list(regions), source)
        elif name == "power_level" and value is None:
            yield _described(name, DEFAULT_POWER_LEVEL.value, FROM_DEFAULT)
        else:
            shown = (list(value) or None) if isinstance(value, tuple) else value
            yield _described(name, shown, preferences.source(name))


def _described(name: str, value: PreferenceValue, source: Source) -> EffectivePreference:
    return EffectivePreference(name=name, value=value, origin=source.origin, origin_id=source.id)
