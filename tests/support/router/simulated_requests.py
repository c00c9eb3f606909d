"""Requests that pass through the router's decisions and the worker's fallback in simulated time, without any process."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from keyferry.contracts.chat import AttemptRun, ChatRequest, Reroute
from keyferry.contracts.failure import Failure
from keyferry.contracts.origin import cached_origin
from services.provider_worker.fallback import reroute
from services.router.decide import FreshIds, decide
from services.router.fallback.memory import FallbackMemory
from services.router.planning.context import Plan, RoutingContext

EPOCH = datetime(2026, 11, 1, tzinfo=UTC)
MAX_DECISIONS = 20
"""More than any request may need."""


@dataclass(frozen=True)
class ProviderResult:
    """How a call ends, and after how long; without a failure it is answered."""

    failure: Failure | None = None
    latency_ms: int = 10
    no_key: bool = False


@dataclass(frozen=True)
class Begun:
    """An attempt whose provider was called."""

    at_ms: int
    run: AttemptRun

    @property
    def server(self) -> str:
        return self.run.endpoint or self.run.provider


@dataclass
class Course:
    """What became of one request."""

    begun: list[Begun] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    refusal: Failure | None = None
    answered: bool = False
    ended_ms: int = 0

    @property
    def servers(self) -> list[str]:
        return [one.server for one in self.begun]

    @property
    def keys(self) -> list[str | None]:
        return [one.run.key_id for one in self.begun]


Behaviour = Callable[[AttemptRun, int], ProviderResult]
"""Returns how a provider ends an attempt that begins at this millisecond."""


class SimulatedRouter:
    """One router with its memory, and workers without limits."""

    def __init__(self, context: RoutingContext, memory: FallbackMemory | None = None) -> None:
        self._context = context
        self.memory = memory or FallbackMemory()

    def send(self, behave: Behaviour, *, at_ms: int = 0, **fields: object) -> Course:
        """Send a request at this millisecond, and follow it to its end."""
        given: dict[str, object] = {"request_id": "req_1", "tenant": "acme", "model": "m", "stream": False}
        request: ChatRequest | Reroute = ChatRequest.model_validate(
            given | {"deadline_ms": 30_000, "start_by_unix_ms": unix_ms(at_ms) + 1000} | fields
        )
        course, now_ms = Course(), at_ms
        for number in range(MAX_DECISIONS):
            if isinstance(request, Reroute):
                self.memory.learn(request.tenant, request.failed_attempts, moment(now_ms))
            decision = decide(
                request, self._context_at(now_ms), FreshIds(f"dec_{number}", f"att_{number}"), traceparent=None
            )
            course.ended_ms = now_ms
            course.plans.append(decision.plan)
            if decision.run is None:
                assert decision.refused is not None
                course.refusal = decision.refused.failure
                return course
            self.memory.count(decision.run, now_ms / 1000)
            begins_ms = now_ms + decision.run.delay_ms
            course.begun.append(Begun(begins_ms, decision.run))
            result = behave(decision.run, begins_ms)
            left_ms = decision.run.deadline_ms - decision.run.delay_ms - result.latency_ms
            now_ms = course.ended_ms = begins_ms + result.latency_ms
            if result.failure is None:
                course.answered = True
                return course
            again = reroute(
                decision.run,
                result.failure,
                left_ms=left_ms,
                now_unix_ms=unix_ms(now_ms),
                no_key=result.no_key,
                origin=cached_origin(decision.run.base_url) if decision.run.base_url else None,
            )
            if again is None:
                course.refusal = result.failure
                return course
            request = again
        raise AssertionError("the request never ended")

    def _context_at(self, now_ms: int) -> RoutingContext:
        now = moment(now_ms)
        published = self._context.health
        return replace(
            self._context,
            now=now,
            health=lambda target: self.memory.health(target, published(target), now),
            fallback=self.memory.facts(now_ms / 1000),
        )


def moment(at_ms: int) -> datetime:
    """Return the time at this millisecond of the simulation."""
    return EPOCH + timedelta(milliseconds=at_ms)


def unix_ms(at_ms: int) -> int:
    """Return the Unix time at this millisecond of the simulation."""
    return int(EPOCH.timestamp() * 1000) + at_ms
