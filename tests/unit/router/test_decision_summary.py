"""What a caller is shown of a decision: everything that was considered, and no id of a key."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from keyferry.contracts.chat import ChatRequest, FailedAttempt, Reroute
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.health import CircuitState, Health, Target
from keyferry.contracts.key import KeyStatus
from keyferry.contracts.route import DropReason
from keyferry.contracts.rules import AppliedRule
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from keyferry.contracts.usage import KeySource
from services.router.decide import FreshIds, decide, limit
from services.router.decision_summary import MAX_CANDIDATES, summarize_decision
from services.router.limits.admitted import Admitted
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from tests.support.router.keys_and_prices import catalog, key_facts, list_price, platform_key

NOW = datetime(2026, 11, 1, tzinfo=UTC)
FRESH = FreshIds("dec_2", "att_2")


def context(own_keys: int = 1) -> RoutingContext:
    own = [key_facts("openai", f"key_{number:03}", label=f"own {number}") for number in range(own_keys)]
    expired = key_facts("openai", "key_expired", status=KeyStatus.EXPIRED)
    return RoutingContext(
        Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE, key_policy=KeyPolicy.OWN_THEN_PLATFORM),
        (),
        NOW,
        catalog=catalog(),
        own_keys={"openai": [expired, *own]},
        platform_keys={"openai": [platform_key("openai", "key_platform")]},
        prices=list_price,
    )


def request(*, explain: bool = True, model: str = "gpt-4o-mini") -> ChatRequest:
    return ChatRequest(
        request_id="req_1",
        tenant="acme",
        model=model,
        stream=False,
        deadline_ms=5000,
        start_by_unix_ms=7,
        operation="summary",
        explain=explain,
    )


def test_planned_candidates_come_first_and_no_id_of_a_key_is_shown() -> None:
    run = decide(request(), context(), FRESH, traceparent=None).run
    assert run is not None
    assert run.decision is not None
    ranks = [candidate.rank for candidate in run.decision.candidates]
    assert ranks[:2] == [1, 2]
    assert set(ranks[2:]) == {None}
    assert DropReason.KEY_UNUSABLE in {candidate.reason for candidate in run.decision.candidates}
    assert all(candidate.detail for candidate in run.decision.candidates)
    text = run.decision.encode()
    for key in ("key_000", "key_platform", "key_expired"):
        assert key.encode() not in text
    assert (run.decision.model_asked, run.decision.operation) == ("gpt-4o-mini", "summary")


def test_a_request_that_does_not_ask_gets_none() -> None:
    run = decide(request(explain=False), context(), FRESH, traceparent=None).run
    assert run is not None
    assert run.decision is None


def test_a_refusal_carries_it_too() -> None:
    refused = decide(request(model="no-such-model"), context(), FRESH, traceparent=None).refused
    assert refused is not None
    assert refused.decision is not None
    assert refused.decision.decision_id == "dec_2"


def test_it_stays_short_however_many_keys_a_tenant_has() -> None:
    run = decide(request(), context(own_keys=200), FRESH, traceparent=None).run
    assert run is not None
    assert run.decision is not None
    assert len(run.decision.candidates) == MAX_CANDIDATES
    assert run.decision.more_candidates >= 200 - MAX_CANDIDATES


def test_failed_attempts_are_named() -> None:
    failure = Failure(failure_class=FailureClass.RATE_LIMIT, message="slow down", status=429)
    failed = FailedAttempt(
        attempt_id="att_1", provider="openai", model="gpt-4o-mini", key_id="key_000", failure=failure
    )
    again = Reroute(**request().model_dump(), decision_id="dec_1", failed_attempts=[failed])
    run = decide(again, context(), FRESH, traceparent=None).run
    assert run is not None
    assert run.decision is not None
    assert [former.failure for former in run.decision.failed_attempts] == [FailureClass.RATE_LIMIT]


def test_the_platforms_keys_are_one_candidate_and_a_pause_of_one_of_them_is_not_shown() -> None:
    def health(target: Target) -> Health | None:
        if target.key_id != "key_pausing":
            return None
        until = NOW + timedelta(seconds=5)
        return Health(target=target, state=CircuitState.COOLING, reason="slow down", until=until, changed_at=NOW)

    keys = [platform_key("openai", key_id) for key_id in ("key_pausing", "key_second", "key_third")]
    run = decide(
        request(), replace(context(), platform_keys={"openai": keys}, health=health), FRESH, traceparent=None
    ).run
    assert run is not None
    assert run.decision is not None
    of_platform = [each for each in run.decision.candidates if each.key_source is KeySource.PLATFORM]
    assert [(each.provider, each.rank, each.reason) for each in of_platform] == [("openai", 2, None)]
    assert [each.rank for each in run.decision.candidates if each.rank] == [1, 2]


def test_a_request_beyond_its_limits_carries_it_too() -> None:
    decided = decide(request(), context(), FRESH, traceparent=None)
    failure = Failure(failure_class=FailureClass.LIMIT, message="the limit of requests per minute is reached")
    refused = limit(decided, Admitted(failure=failure)).refused
    assert refused is not None
    assert decided.run is not None
    assert (refused.failure, refused.decision) == (failure, decided.run.decision)


def test_the_rule_that_chose_the_models_is_named() -> None:
    rule = AppliedRule(owner="acme", version=3, rule="canary")
    planned = Plan([], [], None, {}, {}, rule=rule)
    assert (
        summarize_decision(RouteRequest("acme", "m", request_id="req_1"), planned, (), decision_id="dec_1").rule == rule
    )
