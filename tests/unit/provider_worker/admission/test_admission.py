"""Which attempts start, wait and are refused, and whose turn is next."""

import pytest

from services.provider_worker.admission.admission import (
    AdmissionRefusal,
    AdmissionRefusalReason,
    AdmissionTicket,
    AttemptAdmission,
)
from services.provider_worker.admission.limits import AdmissionLimits

FAR = 1e9
"""A time by which nothing in these tests has to start."""


class Desk:
    """An admission with a clock, at which attempts of 0.1 s have ended before, so that durations are known."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self.admission = AttemptAdmission(limits)
        self.now = 100.0

    def request(self, tenant: str = "acme", provider: str = "openai") -> AdmissionTicket | AdmissionRefusal:
        return self.admission.request(tenant, provider, FAR, self.now)

    def start(self, tenant: str = "acme", provider: str = "openai") -> AdmissionTicket:
        ticket = self.request(tenant, provider)
        assert isinstance(ticket, AdmissionTicket)
        assert ticket.started_at is not None
        return ticket

    def wait(self, tenant: str = "acme", provider: str = "openai") -> AdmissionTicket:
        ticket = self.request(tenant, provider)
        assert isinstance(ticket, AdmissionTicket)
        assert ticket.waiting
        assert ticket.started_at is None
        return ticket

    def refuse(self, tenant: str = "acme", provider: str = "openai") -> AdmissionRefusal:
        refusal = self.request(tenant, provider)
        assert isinstance(refusal, AdmissionRefusal)
        return refusal

    def leave(self, ticket: AdmissionTicket) -> list[AdmissionTicket]:
        return self.admission.leave(ticket, self.now)

    def run_for(self, seconds: float, tenant: str = "acme", provider: str = "openai") -> None:
        """Run one attempt that takes so long."""
        ticket = self.start(tenant, provider)
        self.now += seconds
        self.leave(ticket)


def counts(desk: Desk) -> tuple[int, int]:
    return desk.admission.running, desk.admission.waiting


def started(desk: Desk, how_many: int, tenant: str = "acme", provider: str = "openai") -> list[AdmissionTicket]:
    return [desk.start(tenant, provider) for _ in range(how_many)]


# --- bounds


def test_a_provider_that_is_alone_leaves_a_fifth_free_for_another() -> None:
    desk = Desk(AdmissionLimits(20, waiting=0, tenant_share_percent=100))
    started(desk, 16)
    assert desk.refuse().reason is AdmissionRefusalReason.PROVIDER
    started(desk, 4, provider="mistral")
    assert counts(desk) == (20, 0)


def test_one_of_several_providers_gets_its_share() -> None:
    desk = Desk(AdmissionLimits(20, waiting=0, tenant_share_percent=100))
    desk.run_for(0.1, provider="mistral")
    started(desk, 8)
    assert desk.refuse().reason is AdmissionRefusalReason.PROVIDER
    started(desk, 8, provider="mistral")
    started(desk, 4, provider="groq")
    assert desk.refuse(provider="groq").reason is AdmissionRefusalReason.WORKER


def test_the_built_in_provider_is_no_other_one() -> None:
    desk = Desk(AdmissionLimits(20, waiting=0, tenant_share_percent=100))
    desk.admission = AttemptAdmission(AdmissionLimits(20, waiting=0, tenant_share_percent=100), "echo")
    desk.run_for(0.1, provider="echo")
    started(desk, 16)
    desk.start(provider="echo")
    desk.start(provider="mistral")
    assert desk.refuse().reason is AdmissionRefusalReason.PROVIDER


def test_a_provider_counts_as_another_for_ten_minutes() -> None:
    desk = Desk(AdmissionLimits(20, waiting=0, tenant_share_percent=100))
    desk.run_for(0.1, provider="mistral")
    desk.now += 700
    started(desk, 16)


def test_one_of_several_tenants_gets_its_share() -> None:
    desk = Desk(AdmissionLimits(20, waiting=0, provider_share_percent=100, tenant_share_percent=50))
    desk.run_for(0.1, "other")
    started(desk, 10)
    assert desk.refuse().reason is AdmissionRefusalReason.TENANT
    started(desk, 10, "other")
    assert desk.refuse("third").reason is AdmissionRefusalReason.WORKER


def test_a_full_worker_refuses_the_tenant_with_more_than_its_fair_share_for_that() -> None:
    desk = Desk(AdmissionLimits(4, waiting=0, provider_share_percent=100, tenant_share_percent=100))
    started(desk, 3, "many")
    desk.start("few")
    assert desk.refuse("many").reason is AdmissionRefusalReason.TENANT
    assert desk.refuse("few").reason is AdmissionRefusalReason.WORKER
    assert desk.admission.refused == {
        AdmissionRefusalReason.TENANT: 1,
        AdmissionRefusalReason.TENANT_AT_PROVIDER: 0,
        AdmissionRefusalReason.PROVIDER: 0,
        AdmissionRefusalReason.WORKER: 1,
    }


@pytest.mark.parametrize("running", [1, 2, 3, 4])
def test_a_small_worker_uses_all_that_it_has(running: int) -> None:
    desk = Desk(AdmissionLimits(running, waiting=0))
    started(desk, running)
    assert desk.refuse().reason is AdmissionRefusalReason.WORKER


def test_one_tenant_fills_at_most_half_of_the_queue() -> None:
    desk = Desk(AdmissionLimits(4, waiting=10, provider_share_percent=100, tenant_share_percent=100))
    started(desk, 4)
    for _ in range(5):
        desk.wait()
    desk.refuse()
    desk.wait("calm", "mistral")
    assert desk.admission.waiting == 6


def test_one_of_several_tenants_of_a_provider_gets_its_share_of_it() -> None:
    desk = Desk(AdmissionLimits(20, waiting=0))
    desk.run_for(0.1, "calm", "mistral")
    started(desk, 8, "flood")
    assert desk.refuse("flood").reason is AdmissionRefusalReason.PROVIDER, "it was alone there"
    assert desk.refuse("calm").reason is AdmissionRefusalReason.PROVIDER

    desk = Desk(AdmissionLimits(20, waiting=0))
    desk.run_for(0.1, "other", "mistral")
    desk.run_for(0.1, "calm")
    started(desk, 6, "flood")
    assert desk.refuse("flood").reason is AdmissionRefusalReason.TENANT_AT_PROVIDER
    started(desk, 2, "calm")
    assert desk.refuse("calm").reason is AdmissionRefusalReason.PROVIDER


def test_what_waits_for_its_tenants_share_of_a_provider_starts_in_its_own_place_only() -> None:
    desk = Desk(AdmissionLimits(20))
    desk.run_for(0.1, "other", "mistral")
    calm = started(desk, 2, "calm")
    flood = started(desk, 6, "flood")
    waiting = desk.wait("flood")
    assert desk.leave(calm[0]) == []
    assert desk.leave(flood[0]) == [waiting]


# --- waiting


def test_what_waits_starts_when_another_ends() -> None:
    desk = Desk(AdmissionLimits(1))
    running, waiting = desk.start(), desk.wait()
    assert desk.leave(running) == [waiting]
    assert waiting.started_at == desk.now
    assert counts(desk) == (1, 0)
    assert desk.leave(waiting) == []
    assert counts(desk) == (0, 0)


def test_what_could_not_start_in_time_is_refused_at_once() -> None:
    desk = Desk(AdmissionLimits(2))
    desk.run_for(0.2)
    started(desk, 2)
    desk.wait()  # 0.1 s
    desk.wait()  # 0.2 s; the next one would wait for 0.3 s, and half of the 0.5 s is what may be expected
    refusal = desk.refuse()
    assert refusal.retry_after_seconds == pytest.approx(0.3)


def test_the_only_attempt_of_its_tenant_waits_if_it_may_just_start_in_time() -> None:
    desk = Desk(AdmissionLimits(1, provider_share_percent=100, tenant_share_percent=100))
    desk.run_for(0.4)
    desk.start()
    desk.refuse()
    desk.wait("calm")


def test_the_estimate_follows_attempts_that_hang() -> None:
    desk = Desk(AdmissionLimits(2))
    desk.run_for(0.1)
    started(desk, 2)
    desk.wait()
    desk.now += 20
    assert desk.refuse().retry_after_seconds >= 10


def test_the_estimate_is_not_misled_by_a_long_attempt_among_short_ones() -> None:
    """By their ages alone, both places would be occupied for half a minute."""
    desk = Desk(AdmissionLimits(2))
    started(desk, 1)
    for _ in range(600):
        desk.run_for(0.1)
    desk.start()
    assert desk.wait().waiting


def test_expired_attempts_are_not_started() -> None:
    desk = Desk(AdmissionLimits(1, wait_seconds=0.5))
    running, expired = desk.start(), desk.wait()
    desk.now += 0.5
    assert desk.leave(running) == []
    assert desk.admission.give_up(expired, desk.now).reason is AdmissionRefusalReason.WORKER
    assert counts(desk) == (0, 0)


def test_an_attempt_does_not_wait_beyond_the_time_it_has_to_start_by() -> None:
    desk = Desk(AdmissionLimits(1, wait_seconds=0.5))
    desk.start()
    ticket = desk.admission.request("acme", "openai", desk.now + 0.2, desk.now)
    assert isinstance(ticket, AdmissionTicket)
    assert ticket.start_before == desk.now + 0.2
    late = desk.admission.request("acme", "openai", desk.now - 0.1, desk.now)
    assert isinstance(late, AdmissionRefusal)


def test_what_waits_for_a_full_provider_holds_up_no_other() -> None:
    desk = Desk(AdmissionLimits(10, tenant_share_percent=100))
    desk.run_for(0.1, provider="mistral")
    started(desk, 4)
    desk.wait()
    desk.start(provider="mistral")


def test_leaving_twice_changes_nothing() -> None:
    desk = Desk(AdmissionLimits(1))
    running, waiting = desk.start(), desk.wait()
    desk.leave(waiting)
    desk.leave(waiting)
    assert counts(desk) == (1, 0)
    desk.leave(running)
    desk.leave(running)
    assert counts(desk) == (0, 0)


# --- turns


def test_the_tenant_with_the_fewest_running_attempts_is_next() -> None:
    desk = Desk(AdmissionLimits(4, provider_share_percent=100, tenant_share_percent=100))
    many = started(desk, 3, "many")
    few = desk.start("few")
    desk.wait("many")
    for_few = desk.wait("few")
    assert desk.leave(many[0]) == [for_few]
    assert few.started_at is not None


def test_tenants_with_as_many_running_attempts_take_turns() -> None:
    desk = Desk(AdmissionLimits(1, provider_share_percent=100, tenant_share_percent=100))
    running = desk.start("a")
    for tenant in "aaabbc":
        desk.wait(tenant)
    turns = []
    while started_now := desk.leave(running):
        (running,) = started_now
        turns.append(running.tenant)
    assert turns == ["b", "c", "a", "b", "a", "a"]
