"""What planning knows about fallback besides the failed attempts: budgets, limits and chains. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from keyferry.contracts.fallback import MAX_RETRIES
from services.router.fallback.chains import UseCaseChain

DEFAULT_LONGEST_WAIT_MS = 30_000


def _always(tenant: str, server: str) -> bool:
    return True


def _anyone(tenant: str, queue: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class FallbackFacts:
    """What planning knows about fallback. The defaults limit nothing."""

    chains: Mapping[str, UseCaseChain] = field(default_factory=dict)
    max_retries: int = MAX_RETRIES
    longest_wait_ms: int = DEFAULT_LONGEST_WAIT_MS
    within_budget: Callable[[str, str], bool] = _always
    """Returns whether a tenant's request may be tried again at a server."""
    may_wait: Callable[[str, str], bool] = _anyone
    """Returns whether one more request of a tenant may wait, by the name of what it waits for."""
