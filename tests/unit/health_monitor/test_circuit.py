"""When circuits open, for how long, and what closes them."""

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import LONGEST_COOLING, CircuitState, Health
from services.health_monitor.circuit import (
    Circuit,
    CircuitPolicy,
    WindowSummary,
    apply_attempt,
    apply_probe,
    apply_time,
    restore_circuit,
)
from services.health_monitor.evidence import Evidence, ObservedAttempt
from services.health_monitor.window import Tally
from tests.unit.health_monitor.attempts import NOON, OWN, attempt, seconds

POLICY = CircuitPolicy()
CLOSED, OPEN, COOLING = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.COOLING
CALM = WindowSummary(tally=Tally(1, 0), unreachable_in_a_row=0)
TROUBLE = WindowSummary(tally=Tally(24, 14), unreachable_in_a_row=0)
jitters = st.floats(0, 1)


def apply(
    circuit: Circuit, attempt_seen: ObservedAttempt, summary: WindowSummary, now: datetime, jitter: float = 0.0
) -> Circuit:
    return apply_attempt(circuit, attempt_seen, summary, now=now, jitter=jitter, policy=POLICY)


def open_circuit(jitter: float = 0.0) -> Circuit:
    circuit = apply(Circuit(), attempt(Evidence.FAILURE, NOON), TROUBLE, NOON, jitter)
    assert circuit.state is OPEN
    return circuit


def probe(circuit: Circuit, evidence: Evidence, jitter: float = 0.0) -> Circuit:
    """Return the circuit after an attempt that started when it was half-open."""
    ended_at = circuit.until + seconds(0.3)
    return apply(circuit, attempt(evidence, ended_at, lasted=seconds(0.2)), CALM, ended_at, jitter)


@given(st.integers(0, 30), st.integers(0, 30), jitters)
def test_it_opens_exactly_at_the_thresholds_of_attempts_and_failures(
    attempts: int, failures: int, jitter: float
) -> None:
    summary = WindowSummary(tally=Tally(attempts, min(failures, attempts)), unreachable_in_a_row=0)
    circuit = apply(Circuit(), attempt(Evidence.FAILURE, NOON), summary, NOON, jitter)
    share = attempts >= POLICY.min_attempts and 2 * min(failures, attempts) >= attempts
    without_success = failures >= attempts >= POLICY.all_failed_attempts
    assert circuit.state is (OPEN if share or without_success else CLOSED)


def test_the_reason_has_the_figures() -> None:
    reason = open_circuit().reason
    assert "14 of 24 attempts within 10 s failed, the last with server" in reason
    assert "50 % of at least 20" in reason
    assert "stays open for 5 s" in reason


def test_a_target_with_few_requests_opens_when_all_of_them_fail() -> None:
    all_failed = WindowSummary(tally=Tally(5, 5), unreachable_in_a_row=0)
    circuit = apply(Circuit(), attempt(Evidence.FAILURE, NOON), all_failed, NOON)
    assert circuit.state is OPEN
    assert "all 5 attempts within 10 s failed, the last with server; 5 without a success" in circuit.reason
    one_answered = WindowSummary(tally=Tally(19, 18), unreachable_in_a_row=0)
    assert apply(Circuit(), attempt(Evidence.FAILURE, NOON), one_answered, NOON).state is CLOSED


@pytest.mark.parametrize("in_a_row", [1, 2, 3, 4])
def test_several_refused_connections_in_a_row_open_at_once(in_a_row: int) -> None:
    unreachable = attempt(Evidence.FAILURE, NOON, failure_class=FailureClass.UNREACHABLE)
    summary = WindowSummary(tally=Tally(in_a_row, in_a_row), unreachable_in_a_row=in_a_row)
    circuit = apply(Circuit(), unreachable, summary, NOON)
    assert circuit.state is (OPEN if in_a_row >= 3 else CLOSED)
    if in_a_row >= 3:
        assert f"the last {in_a_row} attempts could not connect" in circuit.reason


@pytest.mark.parametrize("evidence", [Evidence.SUCCESS, Evidence.NEUTRAL])
def test_a_success_or_neutral_attempt_opens_nothing(evidence: Evidence) -> None:
    circuit = Circuit()
    assert apply(circuit, attempt(evidence, NOON), TROUBLE, NOON) is circuit


@given(jitters)
def test_a_successful_probe_closes_and_the_next_opening_has_the_shortest_duration(jitter: float) -> None:
    closed = probe(probe(open_circuit(jitter), Evidence.FAILURE, jitter), Evidence.SUCCESS)
    assert (closed.state, closed.openings) == (CLOSED, 0)
    assert "a probe succeeded in 200 ms" in closed.reason
    now = closed.changed_at
    again = apply(closed, attempt(Evidence.FAILURE, now), TROUBLE, now)
    assert again.until - now == POLICY.first_open


@given(st.lists(jitters, min_size=1, max_size=12))
def test_each_failed_probe_doubles_the_duration_up_to_a_minute_and_until_never_goes_back(
    fractions: list[float],
) -> None:
    circuit, open_duration, longest = open_circuit(fractions[0]), seconds(0), seconds(60)
    for jitter in fractions:
        assert circuit.state is OPEN
        before, open_duration = circuit, circuit.until - circuit.changed_at
        assert seconds(4) <= open_duration <= longest
        circuit = probe(before, Evidence.FAILURE, jitter)
        assert circuit.until > before.until
        next_rest = circuit.until - circuit.changed_at
        assert next_rest > open_duration or next_rest >= longest * 0.8
    assert f"opening {len(fractions) + 1} in a row" in circuit.reason


def test_attempts_in_flight_when_it_opened_are_ignored() -> None:
    circuit = open_circuit()
    ended_at = circuit.until + seconds(1)
    for evidence in (Evidence.FAILURE, Evidence.SUCCESS):
        old = attempt(evidence, ended_at, lasted=seconds(30))
        assert apply(circuit, old, TROUBLE, ended_at) is circuit
    assert circuit.counts_from <= circuit.until


@given(st.integers(1, 10**7), st.integers(0, 20))
def test_cooling_lasts_as_long_as_requested_and_never_longer_than_ten_minutes(requested: int, ago: int) -> None:
    now = NOON
    refused = attempt(Evidence.RETRY_LATER, now - seconds(ago), retry_after=seconds(requested))
    circuit = apply(Circuit(), refused, TROUBLE, now)
    if requested <= ago:
        assert circuit.state is CLOSED
        return
    assert circuit.state is COOLING
    assert circuit.until == min(now - seconds(ago) + seconds(requested), now - seconds(ago) + LONGEST_COOLING)
    assert f"asked for a pause of {requested} s" in circuit.reason
    assert ("limited to 600 s" in circuit.reason) == (requested > 600)


def test_no_setting_allows_a_longer_cooling() -> None:
    policy = replace(POLICY, longest_cooling=seconds(86_400))
    refused = attempt(Evidence.RETRY_LATER, NOON, retry_after=seconds(86_400))
    assert apply_attempt(Circuit(), refused, CALM, now=NOON, jitter=0, policy=policy).until == NOON + LONGEST_COOLING


def test_a_burst_of_429s_is_one_change_and_a_longer_pause_extends_it() -> None:
    circuit = apply(Circuit(), attempt(Evidence.RETRY_LATER, NOON, retry_after=seconds(30)), CALM, NOON)
    soon = NOON + seconds(0.5)
    assert apply(circuit, attempt(Evidence.RETRY_LATER, soon, retry_after=seconds(30)), CALM, soon) is circuit
    assert apply(circuit, attempt(Evidence.RETRY_LATER, soon, retry_after=seconds(9)), CALM, soon) is circuit
    longer = apply(circuit, attempt(Evidence.RETRY_LATER, soon, retry_after=seconds(40)), CALM, soon)
    assert (longer.state, longer.until) == (COOLING, soon + seconds(40))


def test_cooling_ends_by_itself_and_not_by_a_success() -> None:
    circuit = apply(Circuit(), attempt(Evidence.RETRY_LATER, NOON, retry_after=seconds(30)), CALM, NOON)
    assert apply(circuit, attempt(Evidence.SUCCESS, NOON), CALM, NOON) is circuit
    assert apply_time(circuit, now=NOON + seconds(29.9), policy=POLICY) is circuit
    assert apply_time(circuit, now=NOON + seconds(30), policy=POLICY).state is CLOSED


def test_failures_while_it_cools_open_it_for_at_least_the_pause() -> None:
    cooling = apply(Circuit(), attempt(Evidence.RETRY_LATER, NOON, retry_after=seconds(30)), CALM, NOON)
    circuit = apply(cooling, attempt(Evidence.FAILURE, NOON), TROUBLE, NOON)
    assert (circuit.state, circuit.until) == (OPEN, cooling.until)


def test_an_open_target_that_requests_a_pause_stays_open_for_that_pause() -> None:
    circuit = open_circuit()
    requested = apply(circuit, attempt(Evidence.RETRY_LATER, NOON, retry_after=seconds(30)), CALM, NOON)
    assert (requested.state, requested.until, requested.openings) == (OPEN, NOON + seconds(30), circuit.openings)


def test_a_probe_that_is_answered_with_a_pause_leads_to_cooling() -> None:
    circuit = open_circuit()
    now = circuit.until + seconds(1)
    requested = apply(circuit, attempt(Evidence.RETRY_LATER, now, retry_after=seconds(30)), CALM, now)
    assert (requested.state, requested.until) == (COOLING, now + seconds(30))


def test_what_opened_it_is_known_until_it_closes() -> None:
    limited = replace(
        attempt(Evidence.RETRY_LATER, NOON, retry_after=seconds(9)), failure_class=FailureClass.RATE_LIMIT
    )
    cooling = apply(Circuit(), limited, CALM, NOON)
    assert cooling.failure_class is FailureClass.RATE_LIMIT
    assert apply_time(cooling, now=cooling.until, policy=POLICY).failure_class is None
    failed = replace(attempt(Evidence.FAILURE, NOON), failure_class=FailureClass.TIMEOUT)
    opened = apply(Circuit(), failed, TROUBLE, NOON)
    assert opened.failure_class is FailureClass.TIMEOUT
    assert probe(opened, Evidence.SUCCESS).failure_class is None


def test_an_open_circuit_waits_for_a_probe_and_expires_long_after() -> None:
    circuit = open_circuit()
    assert apply_time(circuit, now=circuit.until + seconds(599), policy=POLICY) is circuit
    forgotten = apply_time(circuit, now=circuit.until + seconds(600), policy=POLICY)
    assert forgotten.state is CLOSED
    assert "nobody has probed it within 600 s" in forgotten.reason


def entry(circuit: Circuit) -> Health:
    return Health(
        target=OWN,
        state=circuit.state,
        reason=circuit.reason,
        failure_class=circuit.failure_class,
        until=None if circuit.state is CLOSED else circuit.until,
        changed_at=circuit.changed_at,
    )


@given(st.integers(0, 6), jitters)
def test_a_successor_continues_from_the_entry(failed_probes: int, jitter: float) -> None:
    circuit = open_circuit(jitter)
    for _ in range(failed_probes):
        circuit = probe(circuit, Evidence.FAILURE, jitter)
    taken = restore_circuit(entry(circuit), now=circuit.changed_at, policy=POLICY)
    assert replace(taken, openings=circuit.openings) == circuit
    mine, theirs = probe(circuit, Evidence.FAILURE), probe(taken, Evidence.FAILURE)
    assert mine.until == theirs.until
    assert probe(taken, Evidence.SUCCESS).state is CLOSED


def test_a_successor_restores_a_cooling_target() -> None:
    circuit = apply(Circuit(), attempt(Evidence.RETRY_LATER, NOON, retry_after=seconds(30)), CALM, NOON)
    assert restore_circuit(entry(circuit), now=NOON, policy=POLICY) == circuit


def test_an_entry_from_a_wrong_clock_is_limited() -> None:
    far = replace(open_circuit(), until=NOON + seconds(10**8))
    assert restore_circuit(entry(far), now=NOON, policy=POLICY).until == NOON + LONGEST_COOLING


def probed(circuit: Circuit, now: datetime, *, reachable: bool, in_a_row: int = 1) -> Circuit:
    return apply_probe(circuit, reachable=reachable, in_a_row=in_a_row, now=now, jitter=0, policy=POLICY)


@pytest.mark.parametrize("in_a_row", [1, 2, 3, 4])
def test_probes_that_cannot_connect_open_a_circuit_after_several_in_a_row(in_a_row: int) -> None:
    circuit = probed(Circuit(), NOON, reachable=False, in_a_row=in_a_row)
    assert circuit.state is (OPEN if in_a_row >= 3 else CLOSED)
    if in_a_row >= 3:
        assert circuit.failure_class is FailureClass.UNREACHABLE
        assert f"{in_a_row} probes in a row could not connect" in circuit.reason


def test_a_reachable_address_closes_only_what_was_unreachable_and_only_when_it_is_half_open() -> None:
    unreachable = probed(Circuit(), NOON, reachable=False, in_a_row=3)
    assert probed(unreachable, NOON + seconds(1), reachable=True) is unreachable
    closed = probed(unreachable, unreachable.until, reachable=True)
    assert closed.state is CLOSED
    assert "its address answers a probe" in closed.reason
    failing = open_circuit()
    assert probed(failing, failing.until, reachable=True) is failing, "that it answers does not prove that it works"


def test_an_unreachable_address_keeps_a_half_open_circuit_open_for_longer() -> None:
    circuit = open_circuit()
    assert probed(circuit, NOON + seconds(1), reachable=False, in_a_row=9) is circuit
    again = probed(circuit, circuit.until, reachable=False)
    assert (again.state, again.openings) == (OPEN, 2)
    assert again.until - circuit.until == 2 * POLICY.first_open


@given(st.integers(1, 10**7), st.sampled_from([OPEN, COOLING]))
def test_a_clock_that_is_set_back_withholds_nothing_for_longer(jump: int, state: CircuitState) -> None:
    if state is OPEN:
        circuit = open_circuit()
    else:
        refused = attempt(Evidence.RETRY_LATER, NOON, retry_after=seconds(40))
        circuit = apply(Circuit(), refused, CALM, NOON)
    planned, now = circuit.until - circuit.changed_at, NOON - seconds(jump)
    shifted = apply_time(circuit, now=now, policy=POLICY)
    assert shifted.state is state
    assert shifted.until == now + planned
    assert apply_time(shifted, now=now, policy=POLICY) is shifted


def test_a_clock_that_is_set_forward_ends_what_was_withheld() -> None:
    refused = attempt(Evidence.RETRY_LATER, NOON, retry_after=seconds(40))
    cooling = apply(Circuit(), refused, CALM, NOON)
    assert apply_time(cooling, now=NOON + seconds(10**6), policy=POLICY).state is CLOSED
