"""A refusal over candidates that recover names the time at which the caller's own limits allow a request as well."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nats.errors import ConnectionClosedError

from keyferry.contracts import frames
from keyferry.contracts.chat import AttemptRun, ChatRequest, FailedAttempt, Reroute
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.health import CircuitState, Health, Target
from keyferry.contracts.limits import Admission, Limits
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.tracing.telemetry import Telemetry
from services.router.fallback.memory import FallbackMemory
from services.router.handlers import RequestHandlers
from services.router.planning.context import RoutingContext
from services.router.planning.half_open import HalfOpenLimiter
from services.router.planning.provider_keys import KeyIndex
from tests.support.router.credit import request_credit
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
        self.half_open = self.bus_is_away = False
        self.targets: set[Target] = set()
        self._probes = HalfOpenLimiter()
        self.counters, self.clock = MemoryCounters(), SetClock(1_800_000_060_000 - WINDOW_LEFT_MS)
        self.limits = limiter(self.counters.add, self.clock)
        self._handlers = RequestHandlers(
            fallback=FallbackMemory(),
            router="router",
            context_of=lambda _: self._context(),
            limiter=self.limits,
            credit=request_credit(),
            cancel_probe=lambda target: self._probes.cancel(target.key),
            publish=self._publish,
            spawn=run_beside,
            decisions=BatchPublisher(lambda: pytest.fail("nothing is published"), "decisions", producer="router"),
            telemetry=Telemetry("router"),
        )

    async def ask(self) -> frames.RequestRefused | None:
        """Send a request; return its refusal, or None if an attempt is made."""
        return await self._decide(ChatRequest(**self._head()))

    async def ask_again(self, admission: Admission, start_within_ms: int = 60_000) -> frames.RequestRefused | None:
        """Hand back a request whose attempt at another provider has failed; return as `ask` does."""
        failure = Failure(failure_class=FailureClass.SERVER, message="no", where=Where.HTTP_STATUS)
        failed = FailedAttempt(attempt_id="att_1", provider="groq", model="m", failure=failure)
        head = self._head(start_within_ms)
        return await self._decide(Reroute(**head, decision_id="dec_1", failed_attempts=[failed], admission=admission))

    @property
    def admission(self) -> Admission | None:
        """What the attempt that was sent last holds."""
        return AttemptRun.split(self.sent[-1])[0].admission

    def _head(self, start_within_ms: int = 60_000) -> dict[str, Any]:
        return {
            "request_id": "req_1",
            "tenant": "acme",
            "model": "gpt-4o",
            "stream": False,
            "deadline_ms": 0 if any(self.cools_seconds.values()) else 60_000,
            "start_by_unix_ms": time.time_ns() // 1_000_000 + start_within_ms,
        }

    async def _decide(self, head: ChatRequest | Reroute) -> frames.RequestRefused | None:
        before = len(self.sent)
        await self._handlers.on_request(ReceivedMessage(head, b"{}", "subject", "inbox", time.perf_counter_ns()))
        if head.start_by_unix_ms < time.time_ns() // 1_000_000:
            return None
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
        if self.bus_is_away:
            raise ConnectionClosedError


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


async def admitted(gateway: Gateway) -> Admission:
    """Have a request admitted; return what its attempt holds."""
    assert await gateway.ask() is None
    assert gateway.admission is not None
    return gateway.admission


async def counted(gateway: Gateway) -> list[int]:
    """Return what the counters hold, without zeros, once nothing is on its way to them and no router holds a block."""
    await gateway.limits.stop()
    for _ in range(20):
        await asyncio.sleep(0)
    return sorted(value for value in gateway.counters.values.values() if value)


async def test_another_attempt_of_a_request_takes_nothing_more() -> None:
    gateway = Gateway(tpm=10_000, concurrency=1)
    admission = await admitted(gateway)
    assert await gateway.ask_again(admission) is None
    assert gateway.admission == admission
    assert await counted(gateway) == [1, sum(held.amount for held in admission.held) - 1]


@pytest.mark.parametrize("start_within_ms", [60_000, -1], ids=["refused", "too late"])
async def test_a_request_that_ends_after_a_failed_attempt_gives_everything_back(start_within_ms: int) -> None:
    gateway = Gateway(tpm=10_000, concurrency=1)
    admission = await admitted(gateway)
    gateway.cools_seconds = {"key": 5, "target": 0}
    assert (await gateway.ask_again(admission, start_within_ms) is None) == (start_within_ms < 0)
    assert await counted(gateway) == []


async def test_an_attempt_that_cannot_be_sent_takes_nothing() -> None:
    gateway = Gateway(tpm=10_000, concurrency=1)
    gateway.bus_is_away = True
    await admitted(gateway)
    assert await counted(gateway) == []
