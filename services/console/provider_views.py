"""Response bodies about the providers that keys can be stored for, and how they answer now. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from keyferry.contracts.health import CircuitState, Health
from keyferry.contracts.providers import PROVIDERS, ProviderFacts
from services.console.views import View

_WITHHELD = frozenset({CircuitState.OPEN, CircuitState.COOLING})


class ProviderField(View):
    """A value other than the key itself that calls to a provider need."""

    name: str
    description: str
    example: str
    pattern: str
    """A regular expression that the whole value matches."""
    required: bool


class ProviderAvailability(StrEnum):
    """Whether a provider gets requests."""

    AVAILABLE = "available"
    DEGRADED = "degraded"
    """Some of its targets get no requests now."""
    UNAVAILABLE = "unavailable"
    """None of its targets gets requests now."""


class ProviderHealth(View):
    """How a provider has answered what was sent to it; `GET /health/providers` shows each target, with the reason."""

    state: ProviderAvailability
    targets: int
    """Its models, at each address and with each class of keys, that were called or probed within the last day."""
    withheld: int
    """How many of them get no requests now."""
    success_percent: float | None
    """Share of the attempts within the last five minutes that succeeded; null if there were none."""


class ProviderDescription(View):
    """A provider whose keys can be stored."""

    name: str
    title: str
    base_url: str | None
    """The address of its API. A name in braces is one of `fields`; null if it must be given with each key."""
    places: dict[str, str]
    """Addresses in place of `base_url`, by the field `location`."""
    key_url: str | None
    """Where to get a key."""
    docs_url: str | None
    key_prefixes: list[str]
    """What its keys start with; empty if no format is reliable."""
    key_description: str
    key_optional: bool
    """Whether calls work without a key."""
    fields: list[ProviderField]
    test_model: str | None
    """The model that the last step of a key test calls."""
    health: ProviderHealth | None
    """Null if nothing of it was called within the last day, or while the health monitor is away."""


class ProviderPage(View):
    """Providers, in display order. `next` is null on the last page."""

    data: list[ProviderDescription]
    next: str | None


def list_providers(targets: Iterable[Health], now: datetime) -> list[ProviderDescription]:
    """Return every provider whose keys can be stored, with the health of its targets."""
    by_provider: dict[str, list[Health]] = {}
    for health in targets:
        if health.target.key_id is None:
            by_provider.setdefault(health.target.provider, []).append(health)
    return [
        _describe(facts, _summarize(by_provider.get(facts.name, ()), now))
        for facts in PROVIDERS.values()
        if PROVIDERS.retirement(facts.name) is None
    ]


def _describe(facts: ProviderFacts, health: ProviderHealth | None) -> ProviderDescription:
    fields = [
        ProviderField(
            name=field.name,
            description=field.detail,
            example=field.example,
            pattern=field.pattern,
            required=field.required,
        )
        for field in facts.fields
    ]
    return ProviderDescription(
        name=facts.name,
        title=facts.title,
        base_url=facts.base_url,
        places=dict(facts.places),
        key_url=facts.key_url or None,
        docs_url=facts.docs_url or None,
        key_prefixes=list(facts.prefixes),
        key_description=facts.key_description,
        key_optional=facts.key_optional,
        fields=fields,
        test_model=facts.test_model,
        health=health,
    )


def _summarize(targets: Sequence[Health], now: datetime) -> ProviderHealth | None:
    if not targets:
        return None
    withheld = sum(_is_withheld(health, now) for health in targets)
    samples, failures = (sum(getattr(health, name) for health in targets) for name in ("samples", "failures"))
    state = ProviderAvailability.AVAILABLE
    if withheld:
        state = ProviderAvailability.UNAVAILABLE if withheld == len(targets) else ProviderAvailability.DEGRADED
    return ProviderHealth(
        state=state,
        targets=len(targets),
        withheld=withheld,
        success_percent=round(100 * (1 - failures / samples), 2) if samples else None,
    )


def _is_withheld(health: Health, now: datetime) -> bool:
    """Return whether a target gets no requests now; once its time is over, it gets them as a probe."""
    return health.state in _WITHHELD and (health.until is None or health.until > now)
