"""What one router remembers of earlier requests for the fallback of later ones; all of it lasts for seconds. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from keyferry.contracts.chat import AttemptRun, FailedAttempt
from keyferry.contracts.fallback import MAX_RETRIES
from keyferry.contracts.health import Health, Target
from keyferry.contracts.origin import cached_origin
from services.router.fallback.chains import UseCaseChain
from services.router.fallback.cooldowns import Cooldowns
from services.router.fallback.facts import DEFAULT_LONGEST_WAIT_MS, FallbackFacts
from services.router.fallback.retry_budget import RetryBudget, is_repeated
from services.router.fallback.servers import queue_of, server_of
from services.router.fallback.waiting import WaitingRequests

_NO_CHAINS: Mapping[str, UseCaseChain] = {}


class FallbackMemory:
    """Retry budgets, pauses and waiting requests of one router. `clock` times are monotonic seconds."""

    def __init__(
        self,
        chains: Mapping[str, UseCaseChain] = _NO_CHAINS,
        *,
        max_retries: int = MAX_RETRIES,
        longest_wait_ms: int = DEFAULT_LONGEST_WAIT_MS,
    ) -> None:
        self._chains = chains
        self._max_retries = max_retries
        self._longest_wait_ms = longest_wait_ms
        self._budget = RetryBudget()
        self._cooldowns = Cooldowns()
        self._waiting = WaitingRequests()

    def facts(self, clock: float) -> FallbackFacts:
        """Return what planning has to know now."""
        return FallbackFacts(
            self._chains,
            self._max_retries,
            self._longest_wait_ms,
            within_budget=lambda tenant, server: self._budget.allows(tenant, server, clock),
            may_wait=lambda tenant, queue: self._waiting.may_wait(tenant, queue, clock),
        )

    def health(self, target: Target, published: Health | None, now: datetime) -> Health | None:
        """Return the health of a target: as published, or the pause that this router already knows of."""
        return self._cooldowns.later(target, published, now)

    def may_pause(self, key_id: str) -> bool:
        """Return whether this router may know of a pause of a key."""
        return key_id in self._cooldowns.keys

    def learn(self, tenant: str, failed_attempts: Sequence[FailedAttempt], now: datetime) -> None:
        """Remember what the provider of the last failed attempt asked for."""
        self._cooldowns.learn(tenant, failed_attempts, now)

    def count(self, run: AttemptRun, clock: float) -> None:
        """Count an attempt that was decided: against the retry budget of its server, and as waiting while it does."""
        origin = None if run.base_url is None else cached_origin(run.base_url)
        server = server_of(run, run.tenant, origin)
        before = [failed for failed in run.failed_attempts if server_of(failed, run.tenant, failed.origin) == server]
        if not before:
            self._budget.count(run.tenant, server, clock, retry=False)
        elif is_repeated(before):
            self._budget.count(run.tenant, server, clock, retry=True)
        if run.delay_ms and not before:
            self._waiting.add(run.tenant, queue_of(run, run.tenant, origin), run.delay_ms, clock)
