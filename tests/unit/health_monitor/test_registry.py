"""The registry counts each attempt once and only if it is recent, and shows targets only to their owners."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import CircuitState, Health, KeyClass, Override, Target
from services.health_monitor.circuit import CircuitPolicy
from services.health_monitor.evidence import Evidence, ObservedAttempt
from services.health_monitor.registry import TargetHealthRegistry
from services.health_monitor.tracked_targets import RegistryLimits
from tests.unit.health_monitor.attempts import NOON, ORIGIN, OWN, attempt, seconds

SHARED = Target(provider="openai", model="gpt", origin=ORIGIN)
PLATFORM = SHARED.model_copy(update={"key_class": KeyClass.PLATFORM})
OTHERS = Target(provider="custom", model="llama", tenant="globex", endpoint="ollama")
CLOSED, OPEN, COOLING = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.COOLING


def fresh() -> TargetHealthRegistry:
    return TargetHealthRegistry(CircuitPolicy())


def record_all(registry: TargetHealthRegistry, *attempts: ObservedAttempt, now: datetime | None = None) -> list[Health]:
    """Record attempts, by default each when it ends; return the changes."""
    return [change for each in attempts for change in registry.record(each, now=now or each.ended_at, jitter=0)]


def failures(count: int, at: datetime = NOON, target: Target = OWN) -> list[ObservedAttempt]:
    return [attempt(Evidence.FAILURE, at, target=target) for _ in range(count)]


def open_registry(target: Target = OWN) -> TargetHealthRegistry:
    registry = fresh()
    [change] = record_all(registry, *failures(5, target=target))
    assert change.state is OPEN
    return registry


def test_enough_failures_open_the_circuit_and_create_an_entry() -> None:
    registry = fresh()
    assert record_all(registry, *failures(4)) == []
    [change] = record_all(registry, *failures(1))
    assert (change.state, change.samples, change.failures) == (OPEN, 5, 5)
    assert change.until == NOON + seconds(5)
    assert registry.entries() == {OWN.key: change}
    assert registry.entry(OWN) == change


@given(st.lists(st.sampled_from([Evidence.SUCCESS, Evidence.FAILURE, Evidence.NEUTRAL]), max_size=60))
def test_it_never_opens_below_the_minimum_number_of_attempts(evidence: list[Evidence]) -> None:
    registry = fresh()
    counted = 0
    for item in evidence:
        counted += item is not Evidence.NEUTRAL
        for change in record_all(registry, attempt(item, NOON)):
            assert change.state is OPEN
            policy = CircuitPolicy()
            assert counted >= policy.all_failed_attempts
            if change.failures < change.samples:
                assert 2 * change.failures >= change.samples >= policy.min_attempts
            return


def test_a_repeated_attempt_counts_once() -> None:
    registry = fresh()
    one = attempt(Evidence.FAILURE, NOON)
    assert record_all(registry, *[one] * 10) == []
    assert registry.counters.repeated == 9
    assert registry.entries() == {}


def test_other_targets_are_not_touched() -> None:
    registry = open_registry()
    assert record_all(registry, *failures(4, target=OTHERS), *failures(4, target=SHARED)) == []


def test_a_replay_of_old_attempts_opens_nothing_and_still_counts_latencies() -> None:
    registry = fresh()
    old = [*failures(50), *(attempt(Evidence.SUCCESS, NOON, lasted=seconds(0.3)) for _ in range(3))]
    assert record_all(registry, *old, now=NOON + seconds(10)) == []
    assert registry.entries() == {}
    [listed] = registry.visible_to("acme", NOON + seconds(10))
    assert (listed.state, listed.samples, listed.failures) == (CLOSED, 53, 50)
    assert abs((listed.p50_ms or 0) - 300) <= 3


def test_attempts_older_than_every_window_leave_no_trace() -> None:
    registry = fresh()
    assert record_all(registry, *failures(50), now=NOON + seconds(300)) == []
    assert registry.visible_to("acme", NOON + seconds(300)) == []
    assert registry.counters.stale == 50


def test_three_refused_connections_in_a_row_open_at_once_and_an_answer_in_between_does_not() -> None:
    def refused() -> ObservedAttempt:
        return attempt(Evidence.FAILURE, NOON, failure_class=FailureClass.UNREACHABLE)

    registry = fresh()
    assert record_all(registry, refused(), refused(), attempt(Evidence.SUCCESS, NOON), refused(), target_left()) == []
    [change] = record_all(registry, refused(), refused())
    assert change.state is OPEN


def target_left() -> ObservedAttempt:
    """Return an attempt whose caller disconnected: no proof that the target was reached."""
    return attempt(Evidence.NEUTRAL, NOON, failure_class=FailureClass.CANCELLED)


def test_after_a_successful_probe_old_failures_do_not_count() -> None:
    registry = open_registry()
    back = NOON + seconds(5.1)
    [closed] = record_all(registry, attempt(Evidence.SUCCESS, back))
    assert closed.state is CLOSED
    assert closed.until is None
    assert registry.entries() == {}
    late = [attempt(Evidence.FAILURE, back, lasted=seconds(30)) for _ in range(20)]
    assert record_all(registry, *late) == []
    assert record_all(registry, *failures(4, at=back)) == []


def test_a_failed_probe_opens_for_longer() -> None:
    registry = open_registry()
    [again] = record_all(registry, *failures(1, at=NOON + seconds(5.5)))
    assert (again.state, again.until) == (OPEN, NOON + seconds(15.5))
    assert record_all(registry, *failures(9, at=NOON + seconds(6))) == []


def test_cooling_ends_on_time() -> None:
    registry = fresh()
    [cooling] = record_all(registry, attempt(Evidence.RETRY_LATER, NOON, retry_after=seconds(20)))
    assert cooling.state is COOLING
    assert registry.tick(NOON + seconds(19)) == []
    [closed] = registry.tick(NOON + seconds(20))
    assert closed.state is CLOSED
    assert registry.entries() == {}


def test_unused_targets_are_evicted_unless_open() -> None:
    registry = open_registry()
    record_all(registry, *failures(1, target=OTHERS))
    day = timedelta(hours=24)
    registry.tick(NOON + seconds(300))
    assert len(registry) == 2, "its address is probed for a day"
    assert registry.entries().keys() == {OWN.key}
    [closed] = registry.tick(NOON + seconds(5 + 600))
    assert closed.state is CLOSED
    assert len(registry) == 2
    registry.tick(NOON + day)
    assert len(registry) == 0


def test_another_tenants_endpoint_is_not_visible() -> None:
    registry = open_registry()
    record_all(registry, *failures(5, target=OTHERS), *failures(1, target=PLATFORM))
    assert [health.target for health in registry.visible_to("acme", NOON)] == [OWN, PLATFORM]
    assert [health.target for health in registry.visible_to("globex", NOON)] == [OTHERS, PLATFORM]
    assert [health.target for health in registry.visible_to("nobody", NOON)] == [PLATFORM]


def test_listed_figures_span_minutes() -> None:
    registry = fresh()
    for minute in range(4):
        at = NOON + timedelta(minutes=minute)
        record_all(registry, attempt(Evidence.SUCCESS, at, lasted=timedelta(milliseconds=100 * (minute + 1))))
    [listed] = registry.visible_to("acme", NOON + timedelta(minutes=3))
    assert (listed.samples, listed.failures) == (4, 0)
    assert abs((listed.p50_ms or 0) - 200) <= 2
    assert abs((listed.p95_ms or 0) - 400) <= 4
    assert abs((listed.p99_ms or 0) - 400) <= 4
    assert listed.first_token_p50_ms is None
    assert listed.changed_at == NOON


def test_a_tenant_with_invented_models_evicts_only_its_own_targets() -> None:
    registry = TargetHealthRegistry(CircuitPolicy(), RegistryLimits(targets_per_owner=3))
    record_all(registry, *failures(1, target=OTHERS), *failures(5))
    for number in range(50):
        record_all(registry, *failures(1, target=OWN.model_copy(update={"model": f"m{number}"})))
    assert len(registry) == 4
    assert registry.visible_to("globex", NOON)
    assert registry.entries().keys() == {OWN.key}, "an open target is not evicted for a closed one"


def test_what_all_tenants_add_takes_no_place_of_what_they_share_and_evicts_what_was_unused_for_longest() -> None:
    registry = TargetHealthRegistry(CircuitPolicy(), RegistryLimits(targets=40, targets_per_owner=10))
    record_all(registry, *failures(5, target=OWN.model_copy(update={"tenant": "withheld"})))
    for number in range(100):
        target = OWN.model_copy(update={"tenant": f"t{number % 20}", "model": f"m{number}"})
        record_all(registry, attempt(Evidence.SUCCESS, NOON + seconds(number / 10), target=target))
    record_all(registry, *failures(5, NOON + seconds(10), target=PLATFORM))
    assert {entry.target.tenant for entry in registry.entries().values()} == {"withheld", None}
    assert registry.counters.untracked == 0
    assert 39 <= len(registry) <= 41
    kept = {target.model for target, _ in registry.targets() if target.tenant not in ("withheld", None)}
    assert kept == {f"m{number}" for number in range(100 - len(kept), 100)}


def test_an_attempt_that_a_clock_set_back_puts_into_the_future_hides_no_dead_address() -> None:
    registry = fresh()
    record_all(registry, attempt(Evidence.SUCCESS, NOON))
    day_before = NOON - timedelta(days=1)
    for number in range(3):
        changes = registry.record_probe([OWN], False, now=day_before + seconds(number), jitter=0)
    assert [change.state for change in changes] == [OPEN]


def test_without_an_evictable_target_new_ones_are_counted_as_untracked() -> None:
    registry = TargetHealthRegistry(CircuitPolicy(), RegistryLimits(targets_per_owner=1))
    record_all(registry, *failures(5))
    assert record_all(registry, *failures(9, target=OWN.model_copy(update={"model": "other"}))) == []
    assert (len(registry), registry.counters.untracked) == (1, 9)


def test_the_number_of_attempt_ids_is_bounded() -> None:
    registry = fresh()
    first = attempt(Evidence.SUCCESS, NOON)
    record_all(registry, first)
    for _ in range(50_000):
        registry.record(attempt(Evidence.NEUTRAL, NOON), now=NOON, jitter=0)
    record_all(registry, first)
    assert registry.counters.repeated == 0


def test_a_successor_restores_entries_unchanged() -> None:
    old, new = open_registry(), fresh()
    new.restore(old.entries(), now=NOON)
    assert new.entries() == old.entries()
    [closed] = record_all(new, attempt(Evidence.SUCCESS, NOON + seconds(6)))
    assert closed.state is CLOSED


def test_a_successor_closes_expired_entries() -> None:
    old, new = open_registry(), fresh()
    now = NOON + seconds(5 + 600)
    new.restore(old.entries(), now=now)
    assert [health.state for health in new.tick(now)] == [CLOSED]
    assert new.entries() == {}


def test_a_target_closed_by_another_process_is_closed() -> None:
    registry = open_registry()
    registry.restore({}, now=NOON + seconds(1))
    assert registry.entries(), "the bucket may be read from before our write"
    registry.restore({}, now=NOON + seconds(5))
    assert registry.entries() == {}


def test_unwritten_changes_are_not_overridden_by_the_bucket() -> None:
    registry = open_registry()
    registry.restore({}, now=NOON + seconds(60), ours={OWN.key})
    assert registry.entries().keys() == {OWN.key}


def test_an_older_entry_changes_nothing_and_a_newer_one_does() -> None:
    registry = open_registry()
    entry = registry.entries()[OWN.key]
    older = entry.model_copy(update={"changed_at": NOON - seconds(1), "until": NOON + seconds(99)})
    newer = entry.model_copy(update={"changed_at": NOON + seconds(1), "until": NOON + seconds(99)})
    registry.restore({OWN.key: older}, now=NOON)
    assert registry.entries() == {OWN.key: entry}
    registry.restore({OWN.key: newer}, now=NOON)
    assert registry.entries() == {OWN.key: newer}


def test_an_entry_under_a_wrong_key_is_ignored() -> None:
    registry = fresh()
    registry.restore({OTHERS.key: open_registry().entries()[OWN.key]}, now=NOON)
    assert registry.entries() == {}


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([Evidence.SUCCESS, Evidence.FAILURE])), max_size=60))
def test_key_classes_have_circuits_of_their_own(attempts: list[tuple[bool, Evidence]]) -> None:
    """What happens with one class of keys is the same whether or not the other class is used in between."""
    both, alone = fresh(), fresh()
    for of_platform, evidence in attempts:
        record_all(both, attempt(evidence, NOON, target=PLATFORM if of_platform else SHARED))
        if of_platform:
            record_all(alone, attempt(evidence, NOON, target=PLATFORM))
    assert both.entries().get(PLATFORM.key) == alone.entries().get(PLATFORM.key)


@given(st.lists(st.sampled_from([FailureClass.AUTH, FailureClass.QUOTA, FailureClass.NOT_FOUND]), max_size=80))
def test_a_refused_key_never_opens_a_circuit(classes: list[FailureClass]) -> None:
    registry = fresh()
    for failure_class in classes:
        assert record_all(registry, attempt(Evidence.NEUTRAL, NOON, failure_class=failure_class, target=SHARED)) == []


def limited(key_id: str, pause: float, target: Target = SHARED, tenant: str = "acme") -> ObservedAttempt:
    """Return a 429 with a delay that one key got."""
    found = attempt(Evidence.NEUTRAL, NOON, target=target, failure_class=FailureClass.RATE_LIMIT)
    return replace(found, cooling_key=target.of_key(key_id, tenant), key_pause=seconds(pause))


def test_a_429_cools_one_key_and_leaves_the_model_to_all_others() -> None:
    registry = fresh()
    both = [replace(attempt(Evidence.SUCCESS, NOON, target=SHARED), tenant=tenant) for tenant in ("acme", "globex")]
    [change] = record_all(registry, *both, limited("key_acme", 20))
    assert (change.state, change.target.key_id, change.target.tenant) == (COOLING, "key_acme", "acme")
    assert change.until == NOON + seconds(20)
    assert registry.entry(SHARED) is None
    assert [health.target.key_id for health in registry.visible_to("acme", NOON)] == [None, "key_acme"]
    assert [health.target.key_id for health in registry.visible_to("globex", NOON)] == [None]
    [closed] = registry.tick(NOON + seconds(20))
    assert closed.state is CLOSED
    assert registry.entries() == {}
    assert len(registry) == 1, "nothing is kept of a key after its pause"


def test_which_key_of_the_platform_cools_is_for_the_operator_only() -> None:
    registry = fresh()
    record_all(registry, limited("key_plat", 20, PLATFORM))
    assert [health.target.key_id for health in registry.visible_to("acme", NOON)] == [None]
    assert {health.target.key_id for health in registry.visible_to(None, NOON)} == {None, "key_plat"}


def forced(state: CircuitState, *, seconds_left: float = 60, **selector: str) -> Override:
    values = {"provider": OWN.provider} | selector
    return Override.model_validate(
        values
        | {
            "state": state,
            "reason": "maintenance",
            "actor": "operator",
            "since": NOON,
            "until": NOON + seconds(seconds_left),
        }
    )


def test_a_circuit_that_is_forced_closed_ignores_failures_until_it_expires() -> None:
    registry = open_registry()
    [change] = registry.obey([forced(CLOSED)], NOON)
    assert (change.state, change.forced is not None) == (CLOSED, True)
    assert registry.entries() == {}
    assert record_all(registry, *failures(50, at=NOON + seconds(30))) == []
    [listed] = registry.visible_to("acme", NOON + seconds(30))
    assert (listed.state, listed.failures) == (CLOSED, 55)
    assert "forced its circuit closed: maintenance" in listed.reason
    [ended] = registry.tick(NOON + seconds(60))
    assert ended.forced is None
    [change] = record_all(registry, *failures(5, at=NOON + seconds(61)))
    assert change.state is OPEN


def test_a_circuit_that_is_forced_open_is_shown_as_such_and_closed_at_its_end() -> None:
    registry = fresh()
    record_all(registry, attempt(Evidence.SUCCESS, NOON))
    [change] = registry.obey([forced(OPEN)], NOON)
    assert (change.state, change.until, change.changed_at) == (OPEN, NOON + seconds(60), NOON)
    assert record_all(registry, attempt(Evidence.SUCCESS, NOON + seconds(1))) == []
    [listed] = registry.visible_to("acme", NOON + seconds(1))
    assert listed.state is OPEN
    [closed] = registry.tick(NOON + seconds(90))
    assert (closed.state, closed.changed_at) == (CLOSED, NOON + seconds(60))


def test_the_most_specific_override_holds_and_a_key_is_never_forced() -> None:
    registry = fresh()
    record_all(registry, attempt(Evidence.SUCCESS, NOON), attempt(Evidence.SUCCESS, NOON, target=SHARED))
    record_all(registry, limited("key_acme", 20))
    wide, narrow = forced(OPEN, provider="openai"), forced(CLOSED, provider="openai", model="gpt")
    other = forced(OPEN, tenant="acme", endpoint="another")
    registry.obey([wide, narrow, other], NOON)
    by_target = {health.target: health for health in registry.visible_to(None, NOON)}
    assert by_target[SHARED].forced == narrow
    assert by_target[OWN].forced is None
    assert by_target[SHARED.of_key("key_acme", "acme")].state is COOLING


def test_a_restart_repeats_the_change_of_an_override_with_the_same_id() -> None:
    first, second = fresh(), fresh()
    for registry in (first, second):
        record_all(registry, attempt(Evidence.SUCCESS, NOON))
    [before] = first.obey([forced(OPEN)], NOON)
    [after] = second.obey([forced(OPEN)], NOON + seconds(30))
    assert before.change_id == after.change_id


def test_probes_open_what_nobody_uses_and_an_attempt_proves_more() -> None:
    registry = fresh()
    for number in range(2):
        assert registry.record_probe([OWN], False, now=NOON + seconds(number), jitter=0) == []
    [change] = registry.record_probe([OWN], False, now=NOON + seconds(2), jitter=0)
    assert change.state is OPEN
    [closed] = registry.record_probe([OWN], True, now=NOON + seconds(60), jitter=0)
    assert (closed.state, closed.probed_at, closed.reachable) == (CLOSED, NOON + seconds(60), True)
    record_all(registry, attempt(Evidence.SUCCESS, NOON + seconds(100)))
    for _ in range(5):
        assert registry.record_probe([OWN], False, now=NOON + seconds(101), jitter=0) == []


def test_a_probe_that_proves_nothing_changes_nothing() -> None:
    registry = fresh()
    record_all(registry, attempt(Evidence.SUCCESS, NOON - seconds(400)), now=NOON - seconds(400))
    for _ in range(5):
        assert registry.record_probe([OWN, SHARED], None, now=NOON, jitter=0) == []
    [listed] = registry.visible_to("acme", NOON)
    assert (listed.target, listed.reachable, listed.probed_at) == (OWN, None, NOON)


def test_latency_is_published_at_most_every_ten_seconds_and_only_if_it_changed_noticeably() -> None:
    registry = fresh()

    def answered(at: datetime, latency_ms: int) -> ObservedAttempt:
        return attempt(Evidence.SUCCESS, at, lasted=timedelta(milliseconds=latency_ms))

    record_all(registry, replace(answered(NOON, 200), first_token_ms=50))
    [first] = registry.latency_changes(NOON)
    assert (first.target, first.samples) == (OWN, 1)
    assert abs(first.p50_ms - 200) <= 2
    assert abs((first.first_token_p50_ms or 0) - 50) <= 1
    record_all(registry, *(answered(NOON + seconds(5), 4000) for _ in range(9)))
    assert registry.latency_changes(NOON + seconds(9)) == []
    [second] = registry.latency_changes(NOON + seconds(10))
    assert (second.samples, second.p95_ms > 3900) == (10, True)
    record_all(registry, answered(NOON + seconds(15), 4000))
    assert registry.latency_changes(NOON + seconds(30)) == [], "a tenth more of the same is no news"
    assert registry.summaries() == {OWN.key: second}
    later = NOON + timedelta(hours=2)
    record_all(registry, *(answered(later, 4000) for _ in range(10)))
    [refreshed] = registry.latency_changes(later)
    assert refreshed.measured_at == later


def test_a_successor_knows_from_published_latency_which_targets_are_in_use() -> None:
    old, new = fresh(), fresh()
    record_all(old, attempt(Evidence.SUCCESS, NOON, lasted=seconds(0.2)))
    summaries = old.latency_changes(NOON)
    new.restore_latency(summaries, now=NOON + seconds(60))
    assert new.targets() == [(OWN, NOON)]
    assert new.summaries() == old.summaries()
    late = fresh()
    late.restore_latency(summaries, now=NOON + timedelta(hours=24))
    assert late.targets() == []


def test_attempts_count_also_after_a_clock_was_set_back() -> None:
    """A circuit that had closed by the old clock must open again by the new one."""
    registry = open_registry()
    record_all(registry, attempt(Evidence.SUCCESS, NOON + seconds(6)))
    earlier = NOON - timedelta(hours=1)
    assert registry.tick(earlier) == [], "that a clock was set is no news about a target"
    [change] = record_all(registry, *failures(5, at=earlier))
    assert change.state is OPEN


def test_the_addresses_of_the_platforms_own_servers_are_not_shown_to_tenants() -> None:
    registry = fresh()
    own_server = PLATFORM.model_copy(update={"origin": "http://10.0.0.5:8000"})
    second = PLATFORM.model_copy(update={"origin": "http://10.0.0.6:8000"})
    record_all(registry, attempt(Evidence.SUCCESS, NOON, target=PLATFORM))
    record_all(registry, attempt(Evidence.SUCCESS, NOON, target=own_server), *failures(5, target=second))
    shown = registry.visible_to("acme", NOON)
    assert {(health.target.origin, health.state) for health in shown} == {(ORIGIN, CLOSED), (None, OPEN)}
    assert {health.target for health in registry.visible_to(None, NOON)} == {PLATFORM, own_server, second}


def test_a_list_that_is_too_long_has_what_is_withheld_and_what_was_used_last() -> None:
    registry = TargetHealthRegistry(CircuitPolicy(), RegistryLimits(listed=2))
    record_all(registry, *failures(5))
    for number in range(5):
        target = PLATFORM.model_copy(update={"model": f"m{number}"})
        record_all(registry, attempt(Evidence.SUCCESS, NOON + seconds(number + 1), target=target))
    shown = registry.visible_to("acme", NOON + seconds(9))
    assert {health.target.model for health in shown} == {OWN.model, "m4"}
    assert (registry.left_out("acme"), registry.left_out("globex")) == (4, 3)


def test_operators_are_alerted_to_shared_targets_that_fail_and_that_nobody_has_forced() -> None:
    registry = open_registry()
    assert registry.alerts() == [], "a tenant's own server is the tenant's matter"
    record_all(registry, *failures(5, target=SHARED), *failures(5, target=PLATFORM))
    own, platform = registry.alerts()
    assert own.startswith("openai gets no requests for gpt with tenants' own keys: all 5 attempts")
    assert "with the platform's keys" in platform
    registry.obey([forced(OPEN, provider="openai")], NOON)
    assert registry.alerts() == []
