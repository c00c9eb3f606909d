"""Requests are admitted within all limits that apply to them, or take nothing of any."""

import asyncio
from typing import Any

import pytest

from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.features import RequestFeatures
from keyferry.contracts.limit_counters import settle
from keyferry.contracts.limits import Limits
from keyferry.contracts.tenancy import Tenant, Tier
from services.router.limits import counter
from services.router.limits import limiter as limiter_module
from services.router.limits.admitted import Admitted
from services.router.limits.limiter import RequestLimiter
from tests.support.router.limits import MemoryCounters, SetClock, limiter
from tests.support.waiting import eventually

ACME = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER)


def acme(**limits: Any) -> Tenant:
    return ACME.model_copy(
        update={"limits": Limits(**{"rpm": "unlimited", "tpm": "unlimited", "concurrency": "unlimited"} | limits)}
    )


def request(**changes: Any) -> ChatRequest:
    values = {"request_id": "req_1", "tenant": "acme", "model": "echo", "stream": False, "deadline_ms": 1000}
    return ChatRequest.model_validate(values | {"start_by_unix_ms": 0, "features": {"input_tokens": 1}} | changes)


async def admit(limits: RequestLimiter, tenant: Tenant, **changes: Any) -> Admitted:
    asked = request(**changes)
    known = limits.try_admit(asked, 0, tenant)
    return await limits.admit(asked, 0, tenant) if known is None else known


def remaining(admitted: Admitted) -> tuple[int | None, int | None]:
    """Return what is reported as left of the requests and the tokens; None where nothing is."""
    assert admitted.rate_limits is not None
    requests, tokens = admitted.rate_limits.requests, admitted.rate_limits.tokens
    return (requests.remaining if requests else None, tokens.remaining if tokens else None)


async def until_idle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_two_routers_admit_exactly_the_limit_of_500_requests_in_one_window() -> None:
    counters, clock = MemoryCounters(), SetClock()
    routers = [limiter(counters.add, clock) for _ in range(2)]
    answers = await asyncio.gather(*(admit(routers[number % 2], acme(rpm=100)) for number in range(500)))
    passed = [answer for answer in answers if answer.failure is None]
    assert len(passed) == 100
    assert counters.calls < 30, "requests that wait share their messages"
    clock.now_ms += 60_000
    assert (await admit(routers[0], acme(rpm=100))).failure is None


async def test_most_requests_need_no_message_and_unlimited_ones_none() -> None:
    counters = MemoryCounters()
    limits = limiter(counters.add)
    for _ in range(100):
        assert (await admit(limits, acme(rpm=2000))).failure is None
    assert counters.calls <= 3
    before = counters.calls
    assert await admit(limits, acme()) == Admitted()
    assert counters.calls == before


async def test_a_refusal_says_which_limit_of_whom_and_when_the_window_ends() -> None:
    clock = SetClock(1_800_000_000_000 - 1_800_000_000_000 % 60_000 + 36_500)
    limits = limiter(MemoryCounters().add, clock)
    tenant = ACME.model_copy(update={"tier": Tier.FREE, "limits": Limits(concurrency="unlimited")})
    for left in reversed(range(10)):
        admitted = await admit(limits, tenant)
        assert admitted.rate_limits is not None
        assert admitted.rate_limits.requests is not None
        assert (admitted.rate_limits.requests.limit, admitted.rate_limits.requests.remaining) == (10, left)
        assert admitted.rate_limits.requests.reset_ms == 23_500
        assert admitted.admission is not None
    refused = await admit(limits, tenant)
    assert refused.failure is not None
    assert refused.failure.failure_class is FailureClass.LIMIT
    assert refused.failure.message == (
        "acme's limit of 10 requests per minute is reached: the next minute begins in 23.5 s; for more, upgrade to starter"
        " (`keyferry tenants update acme --tier starter`)"
    )
    assert refused.failure.retry_after_ms == 23_500
    assert refused.rate_limits is not None
    assert refused.rate_limits.requests is not None
    assert refused.rate_limits.requests.remaining == 0


async def test_a_tokens_limit_applies_besides_the_tenants_and_a_refusal_takes_nothing() -> None:
    counters = MemoryCounters()
    limits = limiter(counters.add)
    own: dict[str, Any] = {"client_token_id": "tok_1", "token_limits": Limits(rpm=2)}
    for _ in range(2):
        assert (await admit(limits, acme(rpm=3), **own)).failure is None
    refused = await admit(limits, acme(rpm=3), **own)
    assert refused.failure is not None
    assert refused.failure.message.startswith("the client token's own limit of 2 requests per minute is reached")
    assert (await admit(limits, acme(rpm=3))).failure is None, "the refused request has taken nothing of the tenant's"
    refused = await admit(limits, acme(rpm=3), client_token_id="tok_2", token_limits=Limits(rpm=100))
    assert refused.failure is not None, "a token's higher limit does not widen the tenant's"
    assert refused.failure.message.startswith("acme's limit of 3 requests per minute is reached")


async def test_tokens_are_estimated_and_settled_by_real_usage() -> None:
    counters, clock = MemoryCounters(), SetClock()
    limits = limiter(counters.add, clock)
    large = RequestFeatures(input_tokens=100, max_output_tokens=800)
    admitted = await admit(limits, acme(tpm=1000), features=large)
    assert admitted.admission is not None
    refused = await admit(limits, acme(tpm=1000), features=large)
    assert refused.failure is not None
    assert "1000 tokens per minute is reached" in refused.failure.message
    for subject, amount in settle(admitted.admission, "acme", 50, clock.now_ms):
        await counters.add(subject, amount)
    assert (await admit(limiter(counters.add, clock), acme(tpm=1000), features=large)).failure is None
    assert list(counters.values.values()) == [50 + 900]


async def test_a_request_that_no_window_can_hold_is_a_bad_request_with_the_way_out() -> None:
    limits = limiter(MemoryCounters().add)
    too_large = RequestFeatures(input_tokens=10, max_output_tokens=32_000)
    tenant = ACME.model_copy(update={"tier": Tier.FREE})
    refused = await admit(limits, tenant, features=too_large)
    assert refused.failure is not None
    assert (refused.failure.failure_class, refused.failure.param) == (FailureClass.BAD_REQUEST, "max_tokens")
    assert "lower max_tokens" in refused.failure.message
    assert "upgrade to starter" in refused.failure.message
    assert remaining(refused) == (10, 10_000)
    several = RequestFeatures(input_tokens=10, max_output_tokens=2000, choices=6)
    refused = await admit(limits, tenant, features=several)
    assert refused.failure is not None
    assert refused.failure.message.startswith("this request may use 12010 tokens")


async def test_a_refusal_reports_the_tightest_limit_whichever_of_them_refuses() -> None:
    limits = limiter(MemoryCounters().add)
    own: dict[str, Any] = {"client_token_id": "tok_1", "token_limits": Limits(rpm=5)}
    tenant = acme(rpm=100, concurrency=1)
    assert (await admit(limits, tenant, **own)).failure is None
    refused = await admit(limits, tenant, **own)
    assert refused.failure is not None
    assert "acme's limit of 1 requests at the same time" in refused.failure.message
    assert remaining(refused) == (4, None)


async def test_what_is_left_is_read_without_taking_any_of_it() -> None:
    counters, clock = MemoryCounters(), SetClock()
    first, second = limiter(counters.add, clock), limiter(counters.add, clock)
    tenant = acme(rpm=2, tpm=10_000, concurrency=5)
    assert remaining(await second.look(request(), 0, tenant)) == (2, 10_000)
    admitted = await admit(first, tenant)
    later = limiter(counters.add, clock)
    seen = await later.look(request(), 0, tenant)
    assert (seen.failure, remaining(seen)) == (None, (1, 10_000 - 625)), "the first router's block is taken"
    assert admitted.failure is None
    assert (await admit(first, tenant)).failure is None
    seen = await limiter(counters.add, clock).look(request(), 0, tenant)
    assert seen.failure is not None
    assert "2 requests per minute is reached" in seen.failure.message
    assert seen.failure.retry_after_ms == 60_000 - clock.now_ms % 60_000


async def test_a_refusal_without_a_message_takes_nothing_either() -> None:
    counters = MemoryCounters()
    limits, tenant = limiter(counters.add), acme(rpm=1000, tpm=700)
    assert (await admit(limits, tenant)).failure is None
    first = await admit(limits, tenant)
    calls = counters.calls
    for _ in range(5):
        refused = limits.try_admit(request(), 0, tenant)
        assert refused is not None
        assert refused.failure is not None
        assert remaining(refused) == remaining(first) == (999, 199)
    assert counters.calls == calls


async def test_a_block_that_nobody_uses_is_there_for_the_other_routers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter, "_IDLE_SECONDS", 0)
    monkeypatch.setattr(limiter_module, "_TICK_SECONDS", 0.001)
    counters, clock = MemoryCounters(), SetClock()
    first, second = limiter(counters.add, clock), limiter(counters.add, clock)
    assert (await admit(first, acme(rpm=160))).failure is None
    assert list(counters.values.values()) == [10]
    await first.start()
    try:
        await eventually("the block is back", lambda: list(counters.values.values()) == [1])
    finally:
        await first.stop()
    answers = [await admit(second, acme(rpm=160)) for _ in range(160)]
    assert sum(answer.failure is None for answer in answers) == 159


async def test_what_a_request_took_that_was_never_sent_is_put_back() -> None:
    counters = MemoryCounters()
    limits = limiter(counters.add)
    admitted = await admit(limits, acme(tpm=1000, concurrency=3))
    assert admitted.admission is not None
    limits.put_back("acme", admitted.admission)
    await limits.stop()
    await until_idle()
    assert set(counters.values.values()) == {0}


async def test_a_counter_below_zero_is_taken_for_zero() -> None:
    counters, clock = MemoryCounters(), SetClock()
    await admit(limiter(counters.add, clock), acme(rpm=2))
    [subject] = counters.values
    counters.values[subject] = -5
    limits = limiter(counters.add, clock)
    answers = [await admit(limits, acme(rpm=2)) for _ in range(2)]
    assert [remaining(answer) for answer in answers] == [(1, None), (1, None)]


async def test_counters_that_are_away_are_not_asked_for_every_request() -> None:
    counters = MemoryCounters()
    counters.available = False
    limits = limiter(counters.add)
    assert await admit(limits, acme(rpm=1)) == Admitted()
    calls = counters.calls
    assert limits.try_admit(request(), 0, acme(rpm=1)) == Admitted()
    assert counters.calls == calls


async def test_the_epoch_before_counts_for_as_long_as_something_runs_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter, "_SETTLED_SECONDS", -1)
    counters, clock = MemoryCounters(), SetClock()
    limits = limiter(counters.add, clock)
    assert (await admit(limits, acme(concurrency=1))).failure is None
    clock.now_ms += 30_000
    for _ in range(3):
        assert (await admit(limits, acme(concurrency=1))).failure is not None


async def test_what_is_given_back_is_seen_at_the_next_look() -> None:
    limits, large = limiter(MemoryCounters().add), RequestFeatures(input_tokens=1, max_output_tokens=599)
    asked = request(features=large)
    admitted = await admit(limits, acme(tpm=1000), features=large)
    assert admitted.admission is not None
    assert (await limits.look(asked, 0, acme(tpm=1000))).failure is not None
    limits.release("acme", admitted.admission)
    await until_idle()
    assert (await limits.look(asked, 0, acme(tpm=1000))).failure is None


async def test_a_request_that_waits_into_the_next_epoch_sees_what_runs_there() -> None:
    clock = SetClock(1_800_000_030_000)
    limits = limiter(MemoryCounters().add, clock)
    assert (await admit(limits, acme(concurrency=1))).failure is None
    clock.now_ms -= 1  # when the other request came in
    assert (await limits.admit(request(), 0, acme(concurrency=1))).failure is not None


async def test_counters_that_are_away_are_not_awaited_to_refuse_a_request() -> None:
    counters = MemoryCounters()
    counters.available = False
    limits = limiter(counters.add)
    assert (await limits.look(request(), 0, acme(rpm=1))).failure is None
    calls = counters.calls
    assert (await limits.look(request(), 0, acme(rpm=1))).failure is None
    assert counters.calls == calls


async def test_a_block_that_arrives_after_its_counter_was_replaced_goes_back() -> None:
    counters, clock = MemoryCounters(), SetClock()
    limits = limiter(counters.add, clock)
    waiting = asyncio.create_task(admit(limits, acme(rpm=1000)))
    await asyncio.sleep(0)
    assert (await admit(limits, acme(rpm=999))).failure is None
    assert (await waiting).failure is None
    await until_idle()
    await limits.stop()
    await until_idle()
    assert list(counters.values.values()) == [2]


async def test_a_sequential_caller_with_one_request_at_a_time_is_never_refused() -> None:
    counters, clock = MemoryCounters(), SetClock()
    routers = [limiter(counters.add, clock) for _ in range(2)]
    for number in range(20):
        admitted = await admit(routers[number % 2], acme(concurrency=1))
        assert admitted.failure is None
        assert admitted.admission is not None
        second = await admit(routers[(number + 1) % 2], acme(concurrency=1))
        assert second.failure is not None
        assert second.failure.retry_after_ms == 1000
        for subject, amount in settle(admitted.admission, "acme", 0, clock.now_ms):
            await counters.add(subject, amount)


async def test_what_a_dead_process_held_is_free_after_two_epochs() -> None:
    counters, clock = MemoryCounters(), SetClock()
    limits = limiter(counters.add, clock)
    assert (await admit(limits, acme(concurrency=1))).failure is None
    clock.now_ms += 30_000
    assert (await admit(limits, acme(concurrency=1))).failure is not None, "the epoch before counts as well"
    clock.now_ms += 30_000
    assert (await admit(limits, acme(concurrency=1))).failure is None


async def test_a_change_of_the_limit_acts_on_the_next_request() -> None:
    counters = MemoryCounters()
    limits = limiter(counters.add)
    for _ in range(10):
        assert (await admit(limits, acme(rpm=1000))).failure is None
    refused = await admit(limits, acme(rpm=5))
    assert refused.failure is not None
    await until_idle()
    assert (await admit(limits, acme(rpm=1000))).failure is None


async def test_counters_that_are_away_let_requests_pass_or_refuse_them_as_the_operator_chose() -> None:
    counters = MemoryCounters()
    counters.available = False
    assert await admit(limiter(counters.add), acme(rpm=1)) == Admitted()
    refused = await admit(limiter(counters.add, fail_closed=True), acme(rpm=1))
    assert refused.failure is not None
    assert refused.failure.failure_class is FailureClass.UNAVAILABLE
    assert refused.failure.retry_after_ms == 1000


@pytest.mark.parametrize("token", ["a.b", "*", ">", "x" * 200])
async def test_a_token_id_from_the_bus_cannot_leave_its_place_in_the_subject(token: str) -> None:
    counters = MemoryCounters()
    limits = limiter(counters.add)
    await admit(limits, acme(), client_token_id=token, token_limits=Limits(rpm=5))
    [subject] = counters.values
    assert len(subject.split(".")) == 8
    assert not set("*>") & set(subject)
