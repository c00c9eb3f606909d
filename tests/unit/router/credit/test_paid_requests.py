"""A request on the platform's keys is sent with a reservation, or not at all."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from nats.errors import ConnectionClosedError

from keyferry.budgets.matching import model_names
from keyferry.contracts import frames
from keyferry.contracts.chat import AttemptRun, ChatRequest, FailedAttempt, Reroute
from keyferry.contracts.credit import CreditLease, LeaseCredit, LeaseResult, Reservation
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.features import RequestFeatures
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.limits import Limits
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from keyferry.contracts.usage import KeySource
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.tracing.telemetry import Telemetry
from services.router.credit.affordable import AttemptNeeds
from services.router.credit.shortage import Shortage
from services.router.fallback.memory import FallbackMemory
from services.router.handlers import RequestHandlers
from services.router.planning.context import RoutingContext
from services.router.planning.provider_keys import KeyIndex
from tests.support.router.credit import MemoryAccounts, request_credit
from tests.support.router.keys_and_prices import catalog, key_facts, list_price, platform_key
from tests.support.router.limits import MemoryCounters, SetClock, limiter, run_beside
from tests.support.waiting import eventually
from tests.unit.router.test_plan import NOW

PLATFORM = (platform_key("openai"),)
NO_PLACE = Failure(failure_class=FailureClass.OVERLOADED, message="no place")
UNLIMITED = Limits(rpm="unlimited", tpm="unlimited", concurrency="unlimited")


class Gateway:
    """The handlers of a router, and the accounts that it leases from."""

    def __init__(
        self,
        accounts: MemoryAccounts,
        keys: Sequence[KeyFacts] = PLATFORM,
        *,
        limits: Limits = UNLIMITED,
        **tenant: Any,
    ) -> None:
        self.sent: list[bytes] = []
        self.connected = True
        self.lost = 0
        self.counters = MemoryCounters()
        self._tenant = Tenant(tenant="acme", name="Acme", limits=limits, **({"tier": Tier.ENTERPRISE} | tenant))
        self._keys = KeyIndex()
        self._keys.rebuild(keys)
        self.credit = request_credit(accounts, SetClock(time.time_ns() // 1_000_000))
        self.handlers = RequestHandlers(
            fallback=FallbackMemory(),
            router="router",
            context_of=lambda _: self._context(),
            limiter=limiter(self.counters.add),
            credit=self.credit,
            cancel_probe=lambda _: None,
            publish=self._publish,
            spawn=run_beside,
            decisions=BatchPublisher(lambda: pytest.fail("nothing is published"), "decisions", producer="router"),
            telemetry=Telemetry("router"),
        )

    def use_keys(self, *keys: KeyFacts) -> None:
        """Replace the keys that the router knows."""
        self._keys.rebuild(keys)

    async def ask(self, *, start_within_ms: int = 1000, **features: Any) -> AttemptRun | frames.RequestRefused:
        """Send a request; return the attempt that is made of it, or its refusal."""
        count = len(self.sent)
        await self.send(start_within_ms=start_within_ms, **features)
        await eventually("an answer", lambda: len(self.sent) > count)
        data = self.sent[-1]
        if b'"attempt_number"' in data.partition(b"\n")[0]:
            return AttemptRun.split(data)[0]
        refused = frames.decode(data)
        assert isinstance(refused, frames.RequestRefused)
        return refused

    async def send(self, *, start_within_ms: int = 1000, **features: Any) -> None:
        head = ChatRequest(
            request_id="req_1",
            tenant="acme",
            model="gpt-4o",
            stream=False,
            deadline_ms=9000,
            start_by_unix_ms=time.time_ns() // 1_000_000 + start_within_ms,
            features=RequestFeatures(**({"input_tokens": 100} | features)),
        )
        await self.handlers.on_request(ReceivedMessage(head, b"{}", "subject", "inbox", time.perf_counter_ns()))

    def _context(self) -> RoutingContext:
        return RoutingContext(
            self._tenant,
            (),
            NOW,
            catalog=catalog(),
            own_keys=self._keys.of("acme"),
            platform_keys=self._keys.of("platform"),
            prices=list_price,
        )

    async def _publish(self, subject: str, data: bytes, reply: str) -> None:
        if not self.connected:
            self.lost += 1
            raise ConnectionClosedError
        self.sent.append(data)


async def test_an_attempt_carries_its_reservation_and_by_what_it_is_charged() -> None:
    accounts = MemoryAccounts(credits__acme=10_000_000)
    run = await Gateway(accounts).ask(max_output_tokens=1000)
    assert isinstance(run, AttemptRun)
    assert run.reservation is not None
    (hold,) = run.reservation.holds
    assert (hold.account, hold.amount) == ("credits/acme", 4797)
    assert (run.tier, run.charged_level) == (Tier.ENTERPRISE, "balanced")
    names = model_names(run.provider, run.model, run.catalog_id)
    assert catalog().id_of(run.provider, run.model) in names, (
        "the ledger counts in the budgets that the router looks at"
    )


async def test_many_attempts_share_a_lease() -> None:
    accounts = MemoryAccounts(credits__acme=10_000_000)
    gateway = Gateway(accounts)
    for _ in range(8):
        assert isinstance(await gateway.ask(max_output_tokens=1000), AttemptRun)
    assert len(accounts.asked) == 1


async def test_without_credits_a_request_is_refused_with_what_to_do() -> None:
    refused = await Gateway(MemoryAccounts(credits__acme=1000)).ask(max_output_tokens=1000)
    assert isinstance(refused, frames.RequestRefused)
    assert refused.failure.failure_class is FailureClass.CREDIT
    assert "keyferry credits grant acme" in refused.failure.message


async def test_a_tenant_without_an_account_has_no_credits() -> None:
    refused = await Gateway(MemoryAccounts()).ask(max_output_tokens=1000)
    assert isinstance(refused, frames.RequestRefused)
    assert refused.failure.failure_class is FailureClass.CREDIT


async def test_an_answer_without_a_limit_is_cut_to_the_last_credits() -> None:
    run = await Gateway(MemoryAccounts(credits__acme=10_000)).ask()
    assert isinstance(run, AttemptRun)
    assert run.body_defaults is not None
    assert run.body_defaults.max_tokens == 2156


async def test_an_own_key_answers_when_the_credits_are_spent() -> None:
    keys = (*PLATFORM, key_facts("openai", "key_own"))
    gateway = Gateway(MemoryAccounts(), keys, key_policy=KeyPolicy.OWN_THEN_PLATFORM)
    run = await gateway.ask(max_output_tokens=1000)
    assert isinstance(run, AttemptRun)
    assert (run.key_source, run.reservation) == (KeySource.BYOK, None)


async def test_without_the_ledger_nothing_is_sent_for_free() -> None:
    accounts = MemoryAccounts(credits__acme=10_000_000)
    accounts.reachable = False
    refused = await Gateway(accounts).ask(max_output_tokens=1000)
    assert isinstance(refused, frames.RequestRefused)
    assert refused.failure.failure_class is FailureClass.UNAVAILABLE
    assert refused.failure.retry_after_ms


class FormerLedger(MemoryAccounts):
    """A ledger of a former build, which leases to the newest router alone, until it is `replaced`."""

    replaced = False

    async def lease(self, question: LeaseCredit) -> CreditLease:
        if self.replaced:
            return await super().lease(question)
        return CreditLease(result=LeaseResult.SUPERSEDED, account=question.account)


async def test_a_router_that_a_former_ledger_refuses_is_served_by_the_next_ledger_at_once() -> None:
    accounts = FormerLedger(credits__acme=10_000_000)
    gateway = Gateway(accounts)
    refused = await gateway.ask(max_output_tokens=1000)
    assert isinstance(refused, frames.RequestRefused)
    assert refused.failure.failure_class is FailureClass.UNAVAILABLE
    accounts.replaced = True
    assert isinstance(await gateway.ask(max_output_tokens=1000), AttemptRun)


async def test_requests_go_on_without_the_ledger_while_leases_last() -> None:
    accounts = MemoryAccounts(credits__acme=10_000_000)
    gateway = Gateway(accounts)
    assert isinstance(await gateway.ask(max_output_tokens=1000), AttemptRun)
    accounts.reachable = False
    answers = [await gateway.ask(max_output_tokens=1000) for _ in range(12)]
    assert [isinstance(answer, AttemptRun) for answer in answers] == [True] * 7 + [False] * 5


async def test_what_a_refused_request_held_of_the_limits_is_free_again() -> None:
    gateway = Gateway(MemoryAccounts(), limits=UNLIMITED.model_copy(update={"concurrency": 1}))
    for _ in range(3):
        refused = await gateway.ask(max_output_tokens=1000)
        assert isinstance(refused, frames.RequestRefused)
        assert refused.failure.failure_class is FailureClass.CREDIT


async def test_the_last_credit_is_spent_once() -> None:
    accounts = MemoryAccounts(credits__acme=4797 * 5)
    gateway = Gateway(accounts)
    for _ in range(20):
        await gateway.send(max_output_tokens=1000)
    await eventually("all answers", lambda: len(gateway.sent) == 20)
    assert sum(b'"attempt_number"' in data for data in gateway.sent) == 5
    assert accounts.balances["credits/acme"] == 0


async def test_what_an_attempt_that_could_not_be_published_held_is_free_again() -> None:
    gateway = Gateway(MemoryAccounts(credits__acme=5000))
    gateway.connected = False
    await gateway.send(max_output_tokens=1000)
    await eventually("a failure to publish", lambda: gateway.lost == 1)
    gateway.connected = True
    assert isinstance(await gateway.ask(max_output_tokens=1000), AttemptRun)


async def test_a_router_whose_clock_is_ahead_does_not_lease_in_vain() -> None:
    accounts = MemoryAccounts(credits__acme=10_000_000)
    gateway = Gateway(accounts)
    accounts.now_ms = SetClock(time.time_ns() // 1_000_000 - 40_000)
    refused = await gateway.ask(max_output_tokens=1000)
    assert isinstance(refused, frames.RequestRefused)
    assert refused.failure.failure_class is FailureClass.UNAVAILABLE
    assert len(accounts.asked) == 1


def handed_back(run: AttemptRun, **changes: Any) -> Reroute:
    """Return what a worker sends back that had no place for an attempt."""
    failed = FailedAttempt(
        attempt_id=run.attempt_id, provider=run.provider, model=run.model, failure=NO_PLACE, refused=True
    )
    values: dict[str, Any] = {
        "model": run.model_asked,
        "start_by_unix_ms": time.time_ns() // 1_000_000 + 1000,
        "decision_id": run.decision_id,
        "failed_attempts": [failed],
        "reservation": run.reservation,
    }
    return run.derive(Reroute, **values | changes)


@pytest.mark.parametrize("late", [False, True], ids=["no other candidate", "too late"])
async def test_what_a_worker_handed_back_is_free_again_when_the_request_ends(late: bool) -> None:
    accounts = MemoryAccounts(credits__acme=5000)
    gateway = Gateway(accounts)
    run = await gateway.ask(max_output_tokens=1000)
    assert isinstance(run, AttemptRun)
    again = handed_back(run, **{"start_by_unix_ms": 1} if late else {})
    await gateway.handlers.on_request(ReceivedMessage(again, b"{}", "subject", "inbox", time.perf_counter_ns()))
    assert isinstance(await gateway.ask(max_output_tokens=1000), AttemptRun)
    assert len(accounts.asked) == 1, "from the same lease"


async def test_what_a_worker_handed_back_is_free_again_if_it_is_too_little_for_the_next_attempt() -> None:
    accounts = MemoryAccounts(credits__acme=5000)
    gateway = Gateway(accounts)
    run = await gateway.ask(max_output_tokens=1000)
    assert isinstance(run, AttemptRun)
    credit = gateway.credit
    assert run.reservation is not None
    (hold,) = run.reservation.holds
    assert credit.try_reserve(run, AttemptNeeds({hold.account: hold.amount + 1}), run.reservation) is None
    assert credit.try_reserve(run, AttemptNeeds({hold.account: hold.amount})) == run.reservation


async def test_what_a_worker_handed_back_is_free_again_when_another_key_answers() -> None:
    gateway = Gateway(MemoryAccounts(credits__acme=5000), key_policy=KeyPolicy.OWN_THEN_PLATFORM)
    run = await gateway.ask(max_output_tokens=1000)
    assert isinstance(run, AttemptRun)
    gateway.use_keys(*PLATFORM, key_facts("openai", "key_own"))
    elsewhere = FailedAttempt(attempt_id="att_0", provider="groq", model="llama", failure=NO_PLACE, refused=True)
    again = handed_back(run, failed_attempts=[elsewhere])
    await gateway.handlers.on_request(ReceivedMessage(again, b"{}", "subject", "inbox", time.perf_counter_ns()))
    assert AttemptRun.split(gateway.sent[-1])[0].key_source is KeySource.BYOK
    gateway.use_keys(*PLATFORM)
    assert isinstance(await gateway.ask(max_output_tokens=1000), AttemptRun)


async def test_no_free_request_is_leased_in_advance() -> None:
    account = "allowance/acme/2026-11"
    accounts = MemoryAccounts(credits__acme=10_000_000, **{account: 50})
    gateway = Gateway(accounts)
    run = await gateway.ask(max_output_tokens=1000)
    assert isinstance(run, AttemptRun)
    free = AttemptNeeds({account: 1})
    reserved: list[Reservation | Shortage] = []
    for _ in range(12):
        assert gateway.credit.try_reserve(run, free) is None
        reserved.append(await gateway.credit.reserve(run, free))
    reservation = reserved[-1]
    assert isinstance(reservation, Reservation)
    gateway.credit.put_back(reservation)
    assert gateway.credit.try_reserve(run, free) == reservation
    await asyncio.sleep(0)
    assert len([one for one in accounts.asked if one.account == account]) == 12
