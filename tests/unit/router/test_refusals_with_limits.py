"""A refusal over candidates that recover names the time at which the caller's own limits allow a request as well."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyferry.contracts import frames
from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import CircuitState, Health, Target
from keyferry.contracts.limits import Limits
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.process.telemetry import Telemetry
from services.router.fallback.memory import FallbackMemory
from services.router.handlers import RequestHandlers
from services.router.planning.context import RoutingContext
from services.router.planning.half_open import HalfOpenLimiter
from services.router.planning.provider_keys import KeyIndex
from tests.support.router.keys_and_prices import catalog, key_facts, list_price
from tests.support.router.limits import MemoryCounters, SetClock, limiter, run_beside
from tests.support.waiting import eventually

NOW = datetime(2026, 11, 1, tzinfo=UTC)
WINDOW_LEFT_MS = 23_500
UNLIMITED = Limits(rpm="unlimited", tpm="unlimited", concurrency="unlimited")


class Gateway:
    """The handlers of a router whose tenant has one key, which cools when the test says so."""

    def __init__(self, **limits: int) -> None:
        self.sent: list[bytes] = []
        self.cools_seconds = {"key": 0.0, "target": 0.0}
        self._tenant = Tenant(
            tenant="acme", name="Acme", tier=Tier.ENTERPRISE, limits=UNLIMITED.model_copy(update=limits)
        )
        self._keys = KeyIndex()
        self._keys.replace("acme", [key_facts("openai")])
        self.half_open = False
        self.targets: set[Target] = set()
        self._probes = HalfOpenLimiter()
        self.counters, self.clock = MemoryCounters(), SetClock(1_800_000_060_000 - WINDOW_LEFT_MS)
        self._handlers = RequestHandlers(
            fallback=FallbackMemory(),
            router="router",
            context_of=lambda _: self._context(),
            limiter=limiter(self.counters.add, self.clock),
            cancel_probe=lambda target: self._probes.cancel(target.key),
            publish=self._publish,
            spawn=run_beside,
            decisions=BatchPublisher(lambda: pytest.fail("nothing is published"), "decisions", producer="router"),
            telemetry=Telemetry("router"),
        )

    async def ask(self) -> frames.RequestRefused | None:
        """Send a request; return its refusal, or None if an attempt is made."""
        head = ChatRequest(
            request_id="req_1",
            tenant="acme",
            model="gpt-4o",
            stream=False,
            deadline_ms=0 if any(self.cools_seconds.values()) else 60_000,
            start_by_unix_ms=time.time_ns() // 1_000_000 + 60_000,
        )
        before = len(self.sent)
        await self._handlers.on_request(ReceivedMessage(head, b"{}", "subject", "inbox", time.perf_counter_ns()))
        await eventually("it is decided", lambda: len(self.sent) > before)
        if b'"attempt_id"' in self.sent[-1]:
            return None
        refused = frames.decode(self.sent[-1])
        assert isinstance(refused, frames.RequestRefused)
        return refused

    def _context(self) -> RoutingContext:
        own: Any = self._keys.of("acme")
        return RoutingContext(
            self._tenant,
            (),
            NOW,
            health=self._health,
            may_probe=self.may_probe,
            catalog=catalog(),
            own_keys=own,
            prices=list_price,
        )

    def may_probe(self, target: Target) -> bool:
        """Return whether the next request for the target would be its probe."""
        return self._probes.try_acquire(target.key, NOW)

    def _health(self, target: Target) -> Health | None:
        if self.half_open and target.key_id is None:
            self.targets.add(target)
            past = NOW - timedelta(seconds=1)
            return Health(target=target, state=CircuitState.OPEN, reason="it failed", until=past, changed_at=past)
        seconds = self.cools_seconds["key" if target.key_id else "target"]
        if not seconds:
            return None
        return Health(
            target=target,
            state=CircuitState.COOLING,
            failure_class=FailureClass.RATE_LIMIT,
            reason="it asked for a pause",
            until=NOW + timedelta(seconds=seconds),
            changed_at=NOW,
        )

    async def _publish(self, subject: str, data: bytes, reply: str) -> None:
        self.sent.append(data)


@pytest.mark.parametrize(
    ("key_seconds", "target_seconds", "used", "wait_ms"),
    [(5, 0, 0, 5000), (5, 0, 2, WINDOW_LEFT_MS), (90, 0, 2, 90_000), (30, 2, 0, 30_000), (2, 30, 0, 30_000)],
    ids=["candidate", "own limit is later", "candidate is later", "its key is later", "its target is later"],
)
async def test_retry_after_is_when_a_candidate_and_the_callers_limits_allow_it(
    key_seconds: float, target_seconds: float, used: int, wait_ms: int
) -> None:
    gateway = Gateway(rpm=2)
    for _ in range(used):
        assert await gateway.ask() is None
    gateway.cools_seconds = {"key": key_seconds, "target": target_seconds}
    refused = await gateway.ask()
    assert refused is not None
    assert (refused.failure.failure_class, refused.failure.retry_after_ms) == (FailureClass.RATE_LIMIT, wait_ms)
    assert ("besides, acme's limit of 2 requests per minute is reached" in refused.failure.message) == (used == 2)
    assert refused.rate_limits is not None
    assert refused.rate_limits.requests is not None
    assert refused.rate_limits.requests.remaining == 2 - used
    assert sum(gateway.counters.values.values()) == used, "a refused request takes nothing"


async def test_a_tenant_without_limits_is_refused_without_a_look_at_any() -> None:
    gateway = Gateway()
    gateway.cools_seconds = {"key": 5, "target": 0}
    refused = await gateway.ask()
    assert refused is not None
    assert (refused.failure.retry_after_ms, refused.rate_limits) == (5000, None)
    assert gateway.counters.calls == 0


async def test_a_request_beyond_its_limits_uses_up_no_probe_of_a_half_open_target() -> None:
    gateway = Gateway(rpm=1)
    assert await gateway.ask() is None
    gateway.half_open = True
    refused = await gateway.ask()
    assert refused is not None
    assert refused.failure.failure_class is FailureClass.LIMIT
    [target] = gateway.targets
    assert gateway.may_probe(target), "the next request of another tenant is the probe"
    assert not gateway.may_probe(target)
