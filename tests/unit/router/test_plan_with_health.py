"""Failing targets are skipped, return after a half-open probe, and are not tried twice for one request."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.health import CircuitState, Health, Target
from keyferry.contracts.route import DropReason, Endpoint
from keyferry.contracts.tenancy import Tenant, Tier
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.half_open import PROBE_INTERVAL, HalfOpenLimiter
from services.router.planning.plan import plan

NOW = datetime(2026, 11, 1, tzinfo=UTC)
FAILED = Failure(failure_class=FailureClass.OVERLOADED, message="busy", where=Where.HTTP_STATUS, status=503)


def endpoint(name: str) -> Endpoint:
    return Endpoint(tenant="acme", name=name, base_url="https://x.example/v1", models=["m"])


def unhealthy(
    name: str,
    *,
    seconds: float,
    state: CircuitState = CircuitState.OPEN,
    failure_class: FailureClass | None = FailureClass.SERVER,
) -> tuple[str, Health]:
    target = Target(provider="custom", model="m", tenant="acme", endpoint=name, origin="https://x.example")
    until = NOW + timedelta(seconds=seconds)
    health = Health(
        target=target,
        state=state,
        reason="5 of 5 failed",
        failure_class=failure_class,
        until=until,
        changed_at=NOW,
    )
    return target.key, health


def planned(
    *health: tuple[str, Health],
    probe_due: bool = False,
    failed_attempts: tuple[FailedAttempt, ...] = (),
    may_probe: Callable[[Target], bool] | None = None,
) -> Plan:
    data = dict(health)
    context = RoutingContext(
        Tenant(tenant="acme", name="Acme", tier=Tier.STARTER),
        [endpoint("a"), endpoint("b")],
        NOW,
        health=lambda target: data.get(target.key),
        may_probe=may_probe or (lambda _: probe_due),
    )
    return plan(RouteRequest("acme", "m", failed_attempts=failed_attempts), context)


def names(made: Plan) -> list[str | None]:
    return [made.candidates[index].endpoint for index in made.order]


def failed_attempts(name: str) -> FailedAttempt:
    return FailedAttempt(attempt_id="att_1", provider="custom", endpoint=name, model="m", failure=FAILED)


def test_an_open_circuit_is_skipped_with_its_reason_and_for_how_long() -> None:
    made = planned(unhealthy("a", seconds=4))
    assert names(made) == ["b"]
    drop = next(candidate for candidate in made.candidates if candidate.endpoint == "a")
    assert drop.reason is DropReason.UNHEALTHY
    assert "a gets no requests for another 4.0 s" in drop.detail
    assert " is open" not in drop.detail, "which reads like `is up`"
    assert "5 of 5 failed" in drop.detail


def test_a_half_open_target_comes_first_if_a_probe_is_due_and_last_otherwise() -> None:
    assert names(planned(unhealthy("a", seconds=-1), probe_due=True)) == ["a", "b"]
    assert names(planned(unhealthy("a", seconds=-1), probe_due=False)) == ["b", "a"]


def test_of_two_half_open_targets_only_the_one_that_leads_is_probed() -> None:
    asked: list[str | None] = []

    def may_probe(target: Target) -> bool:
        asked.append(target.endpoint)
        return True

    made = planned(unhealthy("a", seconds=-1), unhealthy("b", seconds=-1), may_probe=may_probe)
    assert (names(made), asked) == (["a", "b"], ["a"])
    details = [candidate.detail for candidate in made.candidates if candidate.endpoint]
    assert "this request is the half-open probe" in details[0]
    assert "others come first until a probe has succeeded" in details[1]


def test_a_half_open_target_behind_a_probed_one_may_be_probed_by_the_next_request() -> None:
    made = planned(
        unhealthy("a", seconds=-1), unhealthy("b", seconds=-1), may_probe=lambda target: target.endpoint == "b"
    )
    assert names(made) == ["b", "a"]


def test_a_pause_is_over_at_its_end() -> None:
    """A caller who waits for as long as a refusal says is not refused again."""
    made = planned(unhealthy("a", seconds=3), unhealthy("b", seconds=3))
    assert made.refusal is not None
    assert made.refusal.retry_after_ms == 3000
    assert names(planned(unhealthy("a", seconds=0), unhealthy("b", seconds=0))) == ["a", "b"]


def test_a_closed_entry_counts_as_healthy() -> None:
    assert names(planned(unhealthy("a", seconds=9, state=CircuitState.CLOSED))) == ["a", "b"]


def test_the_refusal_with_all_circuits_open_says_when_to_retry() -> None:
    made = planned(unhealthy("a", seconds=9), unhealthy("b", seconds=3, state=CircuitState.COOLING))
    assert made.refusal is not None
    assert made.refusal.failure_class is FailureClass.UNAVAILABLE
    assert made.refusal.retry_after_ms == 3000


@pytest.mark.parametrize("state", [CircuitState.COOLING, CircuitState.OPEN])
@pytest.mark.parametrize(
    ("classes", "refused_with"),
    [
        ((FailureClass.RATE_LIMIT, FailureClass.RATE_LIMIT), FailureClass.RATE_LIMIT),
        ((FailureClass.OVERLOADED, FailureClass.OVERLOADED), FailureClass.OVERLOADED),
        ((FailureClass.RATE_LIMIT, FailureClass.SERVER), FailureClass.UNAVAILABLE),
        ((FailureClass.RATE_LIMIT, FailureClass.OVERLOADED), FailureClass.UNAVAILABLE),
        ((FailureClass.TIMEOUT, FailureClass.TIMEOUT), FailureClass.UNAVAILABLE),
        ((None, None), FailureClass.UNAVAILABLE),
    ],
)
def test_the_failure_class_stays_that_of_the_pause_while_it_lasts(
    classes: tuple[FailureClass | None, FailureClass | None], refused_with: FailureClass, state: CircuitState
) -> None:
    """The third request must not fail otherwise than the two that were answered with 429."""
    made = planned(
        *(unhealthy(name, seconds=9, state=state, failure_class=c) for name, c in zip("ab", classes, strict=True))
    )
    assert made.refusal is not None
    assert made.refusal.failure_class is refused_with
    assert made.refusal.retry_after_ms == 9000
    assert "another 9.0 s" in made.refusal.message


def test_a_failed_target_is_not_tried_again() -> None:
    made = planned(failed_attempts=(failed_attempts("a"),))
    assert names(made) == ["b"]
    assert {candidate.reason for candidate in made.candidates if candidate.endpoint == "a"} == {
        DropReason.ALREADY_TRIED
    }


def test_after_all_candidates_failed_the_last_failure_is_returned() -> None:
    made = planned(failed_attempts=(failed_attempts("b"), failed_attempts("a")))
    assert made.refusal == FAILED


def test_another_tenants_health_does_not_count() -> None:
    key, health = unhealthy("a", seconds=9)
    foreign = health.model_copy(update={"target": health.target.model_copy(update={"tenant": "other"})})
    assert foreign.target.key != key
    assert names(planned((foreign.target.key, foreign))) == ["a", "b"]


def test_target_keys_hold_any_model_name_and_are_distinct() -> None:
    keys = {Target(provider="p", model=model).key for model in ("a:b/c", "a.b.c", "A", "a", "a*>b")}
    assert len(keys) == 5
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-") for key in keys)


def test_a_half_open_limiter_allows_one_probe_at_a_time() -> None:
    gate = HalfOpenLimiter()
    _, health_of_k = unhealthy("k", seconds=1)
    assert gate.try_acquire("k", NOW)
    assert not gate.try_acquire("k", NOW)
    assert gate.try_acquire("other", NOW)
    assert gate.try_acquire("k", NOW + PROBE_INTERVAL)
    gate.replace("k", health_of_k)
    assert not gate.try_acquire("k", NOW + PROBE_INTERVAL)
    gate.replace("k", None)
    assert gate.try_acquire("k", NOW + PROBE_INTERVAL)
