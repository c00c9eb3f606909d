"""What a request wants, what the router knows, and what comes of it: the arguments and the result of planning."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from keyferry.contracts.chat import FailedAttempt, OwnKeys
from keyferry.contracts.failure import Failure
from keyferry.contracts.health import Health, Target
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import Candidate, Endpoint, ModelPrices
from keyferry.contracts.tenancy import Tenant
from keyferry.contracts.usage import RequestKind
from services.router.catalog.lookup import Catalog

Keys = Mapping[str, Sequence[KeyFacts]]
"""One owner's provider keys by provider, the lower priority number first."""


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What a request asks for."""

    tenant: str
    model: str
    allowed_models: Sequence[str] | None = None
    """What the client token may use; None is everything."""
    failed_attempts: Sequence[FailedAttempt] = ()
    """Attempts of this request that have failed."""
    kind: RequestKind = RequestKind.CHAT
    prefer_own_keys: OwnKeys | None = None
    request_id: str = ""
    """Keys of equal standing are drawn by it, so that one request is always planned alike."""


def _healthy(target: Target) -> Health | None:
    return None


def _no_probe(target: Target) -> bool:
    return False


def _no_price(provider: str, model: str) -> ModelPrices | None:
    return None


@dataclass(frozen=True, slots=True)
class RoutingContext:
    """What the router knows of the tenant at this moment."""

    tenant: Tenant | None
    endpoints: Sequence[Endpoint]
    now: datetime
    health: Callable[[Target], Health | None] = _healthy
    """What the health monitor says of a target; None is nothing bad."""
    may_probe: Callable[[Target], bool] = _no_probe
    """Whether a trial of a target whose time to rest is over may be made now."""
    catalog: Catalog = field(default_factory=lambda: Catalog(()))
    own_keys: Keys = field(default_factory=dict)
    platform_keys: Keys = field(default_factory=dict)
    prices: Callable[[str, str], ModelPrices | None] = _no_price
    """The list prices of a provider's model now, by the provider's name for it; None where none are known."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Candidates and the order to try them in; or why there is none."""

    candidates: list[Candidate]
    order: list[int]
    refusal: Failure | None
    endpoints: dict[int, Endpoint]
    """The endpoint behind a candidate's index, where it has one."""
    keys: dict[int, KeyFacts]
    """The provider key behind a candidate's index, where it has one."""
