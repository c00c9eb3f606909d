"""What holds for every order of requests, ends, withdrawals and pauses."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from services.provider_worker.admission.admission import AdmissionTicket, AttemptAdmission
from services.provider_worker.admission.limits import AdmissionLimits

TENANTS, PROVIDERS = "abc", "xy"


@dataclass(frozen=True)
class Step:
    """A request of a tenant for a provider; or, by its number among them, the end of one that runs or the last wait of one."""

    kind: str
    tenant: str = "a"
    provider: str = "x"
    start_within: float = 1.0
    number: int = 0


REQUESTS = st.builds(
    Step, st.just("request"), st.sampled_from(TENANTS), st.sampled_from(PROVIDERS), st.sampled_from([0.01, 0.2, 1.0])
)
OTHERS = st.builds(Step, st.sampled_from(["end", "withdraw", "pause"]), number=st.integers(0, 30))
STEPS = st.lists(st.one_of(REQUESTS, REQUESTS, OTHERS), max_size=120)
LIMITS = st.builds(
    AdmissionLimits,
    running=st.sampled_from([1, 2, 3, 5, 12]),
    waiting=st.integers(0, 12),
    provider_share_percent=st.sampled_from([1, 40, 100]),
    tenant_share_percent=st.sampled_from([1, 50, 100]),
)


@dataclass
class Simulation:
    """An admission and what it should hold by its own answers."""

    limits: AdmissionLimits
    now: float = 1000.0
    running: list[AdmissionTicket] = field(default_factory=list)
    waiting: list[AdmissionTicket] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    """Numbers of the tickets that have started."""

    def __post_init__(self) -> None:
        self.admission = AttemptAdmission(self.limits)
        self.known: tuple[set[str], set[str]] = (set(), set())
        self.known_at: dict[str, set[str]] = {provider: set() for provider in PROVIDERS}

    def play(self, step: Step) -> None:
        if step.kind == "request":
            self._request(step)
        elif step.kind == "pause":
            self.now += step.number / 100
        elif step.kind == "end" and self.running:
            ticket = self.running.pop(step.number % len(self.running))
            self.now += 0.001
            self._check_turns(self.admission.leave(ticket, self.now))
        elif step.kind == "withdraw" and self.waiting:
            ticket = self.waiting.pop(step.number % len(self.waiting))
            self.admission.give_up(ticket, self.now)
        self.check()

    def _request(self, step: Step) -> None:
        for known, name in zip(self.known, (step.tenant, step.provider), strict=True):
            known.add(name)
        self.known_at[step.provider].add(step.tenant)
        ticket = self.admission.request(step.tenant, step.provider, self.now + step.start_within, self.now)
        if not isinstance(ticket, AdmissionTicket):
            return
        assert ticket.start_before > self.now or not ticket.waiting
        if ticket.started_at is None:
            self.waiting.append(ticket)
        else:
            assert not any(
                earlier for earlier in self.waiting if self._same_queue(earlier, ticket) and self.alive(earlier)
            )
            self._started(ticket)

    def _check_turns(self, started: list[AdmissionTicket]) -> None:
        for ticket in started:
            assert self.alive(ticket), "an expired attempt was started"
            older = [
                other for other in self.waiting if self._same_queue(other, ticket) and other.number < ticket.number
            ]
            assert not any(map(self.alive, older)), "an attempt overtook an older one of its tenant and provider"
            counts = self.counts()[0]
            passed = [
                other for other in self.waiting if other is not ticket and self.alive(other) and self.may_start(other)
            ]
            assert all(counts[ticket.tenant] <= counts[other.tenant] for other in passed), "not the fewest running"
            self.waiting.remove(ticket)
            self._started(ticket)

    def _started(self, ticket: AdmissionTicket) -> None:
        assert ticket.number not in self.seen, "an attempt was started twice"
        assert self.may_start(ticket)
        self.seen.add(ticket.number)
        self.running.append(ticket)

    def alive(self, ticket: AdmissionTicket) -> bool:
        return ticket.start_before > self.now

    @staticmethod
    def _same_queue(one: AdmissionTicket, other: AdmissionTicket) -> bool:
        return (one.tenant, one.bulkhead) == (other.tenant, other.bulkhead)

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        return Counter(one.tenant for one in self.running), Counter(one.bulkhead for one in self.running)

    def may_start(self, ticket: AdmissionTicket) -> bool:
        """Return whether one more would be within the limits; one who is alone has a higher limit."""
        by_tenant, by_provider = self.counts()
        shares = (self.limits.running_of_tenant, self.limits.running_of_provider)
        tenant_limit, provider_limit = (
            share if len(known) > 1 else max(share, self.limits.running_alone)
            for known, share in zip(self.known, shares, strict=True)
        )
        at_provider = sum(self._same_queue(one, ticket) for one in self.running)
        shared = len(self.known_at[ticket.bulkhead]) > 1
        pair_limit = self.limits.share_of_tenant(provider_limit) if shared else provider_limit
        return (
            len(self.running) < self.limits.running
            and at_provider < pair_limit
            and by_tenant[ticket.tenant] < tenant_limit
            and by_provider[ticket.bulkhead] < provider_limit
        )

    def check(self) -> None:
        assert (self.admission.running, self.admission.waiting) == (len(self.running), len(self.waiting))
        assert len(self.running) <= self.limits.running
        assert len(self.waiting) <= self.limits.waiting
        idle = [ticket for ticket in self.waiting if self.alive(ticket) and self.may_start(ticket)]
        assert not idle, "an attempt waits though it could run"

    def finish(self) -> None:
        """End everything, after which nothing may be left."""
        while self.running:
            self.play(Step("end"))
        while self.waiting:
            self.play(Step("withdraw"))
        assert self.admission.bulkheads == {}


@given(LIMITS, STEPS)
@settings(max_examples=300)
def test_bounds_turns_and_counts_hold(limits: AdmissionLimits, steps: list[Step]) -> None:
    simulation = Simulation(limits)
    for step in steps:
        simulation.play(step)
    simulation.finish()


@given(
    running=st.integers(4, 12),
    flooding=st.integers(1, 3),
    duration=st.floats(0.005, 0.1),
    calm_rounds=st.sets(st.integers(4, 15), min_size=1),
)
@settings(max_examples=20)
def test_no_tenant_starves_beside_others_that_flood(
    running: int, flooding: int, duration: float, calm_rounds: set[int]
) -> None:
    """A calm tenant's attempt starts at once, or when the next attempt of another ends."""
    simulation = Simulation(AdmissionLimits(running, provider_share_percent=100))
    for current_round in range(16):
        for tenant in "abc"[:flooding]:
            for _ in range(4):
                simulation.play(Step("request", tenant))
        for place in [place for place, ticket in enumerate(simulation.running) if ticket.tenant == "d"]:
            simulation.play(Step("end", number=place))
        if current_round in calm_rounds:
            simulation.play(Step("request", "d"))
        simulation.now += duration / running
        flood = next(place for place, ticket in enumerate(simulation.running) if ticket.tenant != "d")
        simulation.play(Step("end", number=flood))
        calm = [ticket for ticket in simulation.running if ticket.tenant == "d"]
        assert len(calm) == (current_round in calm_rounds)
