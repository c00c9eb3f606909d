"""What only one tenant's requests prove moves no circuit of the others, and is no secret that they learn."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import CircuitState, Health, KeyClass, Override, Target
from services.health_monitor.circuit import CircuitPolicy
from services.health_monitor.evidence import Evidence, ObservedAttempt
from services.health_monitor.registry import TargetHealthRegistry
from services.health_monitor.tenant_counts import MAX_TENANTS, TenantCounts
from tests.unit.health_monitor.attempts import NOON, ORIGIN, attempt, seconds

OPEN, CLOSED, COOLING = CircuitState.OPEN, CircuitState.CLOSED, CircuitState.COOLING
OWN_KEYS = Target(provider="openai", model="gpt", origin=ORIGIN)
PLATFORM = Target(provider="openai", model="gpt", origin=ORIGIN, key_class=KeyClass.PLATFORM)
SHARED = [OWN_KEYS, PLATFORM]
FAILURE, SUCCESS, RETRY_LATER = Evidence.FAILURE, Evidence.SUCCESS, Evidence.RETRY_LATER


class Monitor:
    """A registry, and every change that it has reported."""

    def __init__(self) -> None:
        self.registry = TargetHealthRegistry(CircuitPolicy())
        self.changes: list[Health] = []

    def see(
        self, tenant: str, evidence: Evidence, count: int = 1, *, target: Target, at: float = 0, **more: object
    ) -> None:
        for _ in range(count):
            seen: ObservedAttempt = attempt(evidence, NOON + seconds(at), target=target, tenant=tenant, **more)  # type: ignore[arg-type]
            self.changes += self.registry.record(seen, now=NOON + seconds(at), jitter=0)

    def states(self) -> dict[str | None, CircuitState]:
        """Return the entries by tenant."""
        return {health.target.tenant: health.state for health in self.registry.entries().values()}


@pytest.fixture
def monitor() -> Monitor:
    return Monitor()


@pytest.mark.parametrize("target", SHARED)
def test_the_failures_of_one_tenant_open_the_circuit_of_its_requests_only(monitor: Monitor, target: Target) -> None:
    monitor.see("mallory", FAILURE, 100, target=target)
    assert monitor.states() == {"mallory": OPEN}
    [opened] = monitor.changes
    assert opened.target == target.of_tenant("mallory")
    assert (opened.samples, opened.failures) == (5, 5)
    assert "only one tenant's requests fail: all 5 attempts" in opened.reason


@pytest.mark.parametrize("target", SHARED)
def test_a_single_failure_of_another_tenant_may_be_chance(monitor: Monitor, target: Target) -> None:
    monitor.see("acme", FAILURE, target=target)
    monitor.see("mallory", FAILURE, 100, target=target)
    assert monitor.states() == {"mallory": OPEN}


@pytest.mark.parametrize("target", SHARED)
def test_what_several_tenants_see_fail_gets_no_requests_of_anybody(monitor: Monitor, target: Target) -> None:
    for tenant in ("acme", "globex", "initech"):
        monitor.see(tenant, FAILURE, 2, target=target)
    assert monitor.states() == {None: OPEN}
    assert monitor.changes[0].target == target


def test_a_tenant_whose_account_is_broken_does_not_use_up_the_others_success(monitor: Monitor) -> None:
    monitor.see("acme", SUCCESS, 30, target=OWN_KEYS)
    monitor.see("globex", SUCCESS, 30, target=OWN_KEYS)
    monitor.see("mallory", FAILURE, 200, target=OWN_KEYS)
    assert monitor.states() == {"mallory": OPEN}


def test_a_few_failures_among_many_successes_of_a_tenant_open_nothing(monitor: Monitor) -> None:
    monitor.see("acme", SUCCESS, 20, target=OWN_KEYS)
    monitor.see("acme", FAILURE, 6, target=OWN_KEYS)
    assert monitor.changes == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Evidence.SUCCESS, Evidence.FAILURE, Evidence.RETRY_LATER, Evidence.NEUTRAL]),
            st.floats(0, 20),
            st.integers(0, 700),
        ),
        max_size=60,
    )
)
def test_whatever_one_tenants_own_keys_get_as_answers_no_other_tenant_is_withheld_from(
    answers: list[tuple[Evidence, float, int]],
) -> None:
    monitor, at = Monitor(), 0.0
    for evidence, later, pause in answers:
        at += later
        retry_after = seconds(pause if evidence is RETRY_LATER else 0)
        monitor.see("mallory", evidence, target=OWN_KEYS, at=at, retry_after=retry_after)
        monitor.changes += monitor.registry.tick(NOON + seconds(at))
    assert {change.target.tenant for change in monitor.changes} <= {"mallory"}


def test_that_nothing_can_connect_has_nothing_to_do_with_a_tenant(monitor: Monitor) -> None:
    monitor.see("acme", FAILURE, 3, target=OWN_KEYS, failure_class=FailureClass.UNREACHABLE)
    assert monitor.states() == {None: OPEN}


def test_the_pause_of_an_own_key_is_not_the_others_and_that_of_the_platforms_is(monitor: Monitor) -> None:
    monitor.see("mallory", RETRY_LATER, target=OWN_KEYS, retry_after=seconds(600))
    assert monitor.states() == {"mallory": COOLING}
    monitor.see("mallory", RETRY_LATER, target=PLATFORM, retry_after=seconds(600))
    assert monitor.states() == {"mallory": COOLING, None: COOLING}


def test_one_tenant_does_not_make_an_outage_of_all_longer(monitor: Monitor) -> None:
    monitor.see("acme", FAILURE, 3, target=OWN_KEYS)
    monitor.see("globex", FAILURE, 3, target=OWN_KEYS)
    until = monitor.changes[-1].until
    monitor.see(
        "mallory", RETRY_LATER, target=OWN_KEYS, failure_class=FailureClass.OVERLOADED, retry_after=seconds(600)
    )
    entry = monitor.registry.entry(OWN_KEYS)
    assert entry is not None
    assert entry.until == until


def test_a_probe_of_that_tenant_closes_its_circuit_or_keeps_it_open_for_longer(monitor: Monitor) -> None:
    monitor.see("mallory", FAILURE, 5, target=OWN_KEYS)
    monitor.see("mallory", FAILURE, target=OWN_KEYS, at=6)
    assert [change.until - change.changed_at for change in monitor.changes if change.until] == [seconds(5), seconds(10)]
    monitor.see("mallory", SUCCESS, target=OWN_KEYS, at=20)
    assert monitor.states() == {}
    monitor.see("mallory", FAILURE, 4, target=OWN_KEYS, at=21)
    assert monitor.states() == {}, "what opened it before does not count again"


def test_a_circuit_of_one_tenant_is_restored_and_forgotten_after_its_use(monitor: Monitor) -> None:
    monitor.see("mallory", FAILURE, 5, target=OWN_KEYS)
    successor = TargetHealthRegistry(CircuitPolicy())
    successor.restore(monitor.registry.entries(), now=NOON)
    assert successor.entries().keys() == monitor.registry.entries().keys()
    successor.tick(NOON + seconds(5 + 600))
    successor.tick(NOON + seconds(5 + 600 + 301))
    assert len(successor) == 0


def test_an_override_of_the_provider_says_all_that_routers_obey(monitor: Monitor) -> None:
    monitor.see("mallory", FAILURE, 5, target=OWN_KEYS)
    override = Override(
        provider="openai", state=OPEN, reason="r", actor="operator", since=NOON, until=NOON + seconds(60)
    )
    forced = monitor.registry.obey([override], NOON)
    assert [health.target for health in forced] == [OWN_KEYS]


def test_operators_are_alerted_to_it_since_there_may_be_no_other_tenant(monitor: Monitor) -> None:
    monitor.see("acme", FAILURE, 5, target=OWN_KEYS)
    [alert] = monitor.registry.alerts()
    assert alert.startswith("openai gets no requests for gpt with tenants' own keys: only one tenant's requests fail")


def shown(registry: TargetHealthRegistry, tenant: str, now: datetime = NOON) -> list[tuple[str, str | None]]:
    return [(health.target.model, health.target.tenant) for health in registry.visible_to(tenant, now)]


def test_nobody_learns_of_a_model_that_only_another_tenants_keys_call(monitor: Monitor) -> None:
    """The name of a fine-tuned model shows whose it is, and what for."""
    tuned = OWN_KEYS.model_copy(update={"model": "ft:gpt:acme:payroll:1"})
    monitor.see("acme", SUCCESS, target=tuned)
    monitor.see("globex", Evidence.NEUTRAL, target=tuned, failure_class=FailureClass.NOT_FOUND)
    assert shown(monitor.registry, "acme") == [(tuned.model, None)]
    assert shown(monitor.registry, "globex") == []
    monitor.see("acme", FAILURE, 20, target=tuned)
    assert shown(monitor.registry, "acme") == [(tuned.model, None), (tuned.model, "acme")]
    assert shown(monitor.registry, "globex") == []


def test_what_several_tenants_call_and_what_the_platform_pays_for_is_shown_to_all(monitor: Monitor) -> None:
    monitor.see("acme", SUCCESS, target=OWN_KEYS)
    monitor.see("globex", SUCCESS, target=OWN_KEYS)
    monitor.see("acme", SUCCESS, target=PLATFORM)
    assert len(shown(monitor.registry, "initech")) == 2


def test_the_counts_by_tenant_are_limited_and_forgotten() -> None:
    counts = TenantCounts(seconds(10))
    for number in range(MAX_TENANTS + 50):
        counts.add(f"t{number}", NOON, NOON, failed=True)
    assert len(counts) == MAX_TENANTS
    counts.sweep(NOON + seconds(30))
    assert len(counts) == 0
