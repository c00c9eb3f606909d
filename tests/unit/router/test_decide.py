"""A decision is one message, an attempt or a refusal, and its record agrees with it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keyferry.contracts.chat import ChatRequest, EmbeddingRequest, FailedAttempt, Reroute
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import Endpoint
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.usage import KeySource, RequestKind
from services.provider_worker.attempt import accept
from services.provider_worker.attempt_record import intent_record
from services.provider_worker.fallback import reroute
from services.router.decide import MAX_ATTEMPTS, FreshIds, decide, record
from services.router.fallback.facts import FallbackFacts
from services.router.planning.context import RoutingContext
from services.router.planning.provider_keys import KeyIndex
from services.router.preferences.effective import EffectivePreferences
from tests.support.router.keys_and_prices import catalog, key_facts, list_price, platform_key

NOW = datetime(2026, 11, 1, tzinfo=UTC)
FRESH = FreshIds("dec_2", "att_2")


def context(*names: str) -> RoutingContext:
    endpoints = [
        Endpoint(tenant="acme", name=name, base_url=f"https://{name}.example/v1", models=["m"]) for name in names
    ]
    return RoutingContext(Tenant(tenant="acme", name="Acme", tier=Tier.STARTER), endpoints, NOW)


def request(model: str = "m") -> ChatRequest:
    return ChatRequest(
        request_id="req_1",
        tenant="acme",
        model=model,
        stream=True,
        deadline_ms=5000,
        start_by_unix_ms=7,
        credit_bytes=9000,
        tags={"team": "blue"},
    )


def again(*names: str) -> Reroute:
    failure = Failure(failure_class=FailureClass.SERVER, message="broken", status=500)
    failed_attempts = [
        FailedAttempt(attempt_id=f"att_{name}", provider="custom", endpoint=name, model="m", failure=failure)
        for name in names
    ]
    return Reroute(**request().model_dump(), decision_id="dec_1", failed_attempts=failed_attempts)


def test_the_attempt_carries_what_the_worker_needs() -> None:
    decision = decide(request(), context("a", "b"), FRESH, traceparent="t")
    assert decision.refused is None
    run = decision.run
    assert run is not None
    assert (run.endpoint, run.base_url, run.model, run.model_asked) == ("a", "https://a.example/v1", "m", "m")
    assert (run.deadline_ms, run.start_by_unix_ms, run.credit_bytes, run.tags) == (5000, 7, 9000, {"team": "blue"})
    assert (run.attempt_number, run.remaining_candidates, run.failed_attempts) == (1, 1, [])


def test_a_reroute_continues_with_the_next_candidate_and_keeps_the_failures() -> None:
    decision = decide(again("a"), context("a", "b"), FRESH, traceparent=None)
    run = decision.run
    assert run is not None
    assert (run.endpoint, run.attempt_number, run.remaining_candidates) == ("b", 2, 0)
    assert [failed.endpoint for failed in run.failed_attempts] == ["a"]
    made = record(again("a"), decision, FRESH, router="router", now=NOW, duration_us=1, trace="t")
    assert (made.attempt_number, made.attempt_id, made.refusal) == (2, "att_2", None)
    assert not made.attempt_refused


def test_the_decision_after_a_refusal_by_a_worker_says_that_no_attempt_was_made() -> None:
    """The ledger has no row of it, and nobody should wait for one."""
    request_again = again("a")
    refused = [failed.model_copy(update={"refused": True}) for failed in request_again.failed_attempts]
    request_again = request_again.model_copy(update={"failed_attempts": refused})
    decision = decide(request_again, context("a", "b"), FRESH, traceparent=None)
    made = record(request_again, decision, FRESH, router="router", now=NOW, duration_us=1, trace="t")
    assert made.attempt_refused


def test_the_number_of_attempts_is_limited() -> None:
    names = [f"e{number}" for number in range(MAX_ATTEMPTS + 2)]
    decision = decide(again(*names[:MAX_ATTEMPTS]), context(*names), FRESH, traceparent=None)
    assert decision.run is None
    assert decision.refused is not None
    assert decision.refused.failure.status == 500
    last = decide(again(*names[: MAX_ATTEMPTS - 1]), context(*names), FRESH, traceparent=None)
    assert last.run is not None
    assert last.run.remaining_candidates == 0


def called_in_turn(routing: RoutingContext) -> tuple[list[tuple[str | None, bool]], Failure | None]:
    """Return which endpoints a request is sent to if all fail, whether with a delay, and the failure at the end."""
    called: list[tuple[str | None, bool]] = []
    failure: Failure | None = None
    next_request: ChatRequest | Reroute | None = request()
    while next_request is not None:
        decision = decide(next_request, routing, FRESH, traceparent=None)
        if decision.run is None:
            assert decision.refused is not None
            return called, decision.refused.failure
        called.append((decision.run.endpoint, decision.run.delay_ms > 0))
        failure = Failure(failure_class=FailureClass.SERVER, message=f"{decision.run.endpoint} is broken")
        next_request = reroute(decision.run, failure, left_ms=4000, now_unix_ms=0)
    return called, failure


def test_each_failing_endpoint_is_called_once_and_then_the_last_failure_is_the_answer() -> None:
    without_retries = replace(context("a", "b", "c"), fallback=FallbackFacts(max_retries=0))
    called, refusal = called_in_turn(without_retries)
    assert called == [("a", False), ("b", False), ("c", False)]
    assert refusal is not None
    assert refusal.message == "c is broken"


def test_a_failure_comes_back_if_it_may_be_tried_again() -> None:
    def returns_failure(routing: RoutingContext, *failed: str) -> bool:
        decision = decide(again(*failed) if failed else request(), routing, FRESH, traceparent=None)
        assert decision.run is not None
        return decision.run.returns_failure

    names = [f"e{number}" for number in range(MAX_ATTEMPTS)]
    assert returns_failure(context("a"))
    assert not returns_failure(replace(context("a"), fallback=FallbackFacts(max_retries=0)))
    assert not returns_failure(context(*names), *names[: MAX_ATTEMPTS - 1])


def test_after_all_have_failed_one_is_tried_again_with_a_delay() -> None:
    called, _ = called_in_turn(context("a", "b", "c"))
    assert called[:3] == [("a", False), ("b", False), ("c", False)]
    assert [delayed for _, delayed in called[3:]] == [True, True]
    assert len(called) == MAX_ATTEMPTS


@pytest.mark.parametrize("kind", [ChatRequest, EmbeddingRequest, Reroute])
def test_a_client_tokens_model_scope_applies_to_every_kind_of_request(
    kind: type[ChatRequest | EmbeddingRequest | Reroute],
) -> None:
    asked = (again("other") if kind is Reroute else request()).derive(
        kind,
        allowed_models=["another"],
        **({"decision_id": "dec_1", "failed_attempts": again("other").failed_attempts} if kind is Reroute else {}),
    )
    assert isinstance(asked, kind)
    forbidden = decide(asked, context("a"), FRESH, traceparent=None)
    assert forbidden.run is None
    assert forbidden.refused is not None
    assert forbidden.refused.failure.failure_class is FailureClass.POLICY
    assert "the client token may not use m" in forbidden.refused.failure.message
    allowed = decide(asked.model_copy(update={"allowed_models": ["m"]}), context("a"), FRESH, traceparent=None)
    assert allowed.run is not None
    assert allowed.run.allowed_models == ["m"]


def test_a_refusal_is_in_the_record_with_its_candidates() -> None:
    decision = decide(request("unknown"), context("a"), FRESH, traceparent=None)
    assert decision.run is None
    made = record(request("unknown"), decision, FRESH, router="router", now=NOW, duration_us=1, trace="t")
    assert made.refusal is not None
    assert made.attempt_id is None
    assert len(made.candidates) == 2


def test_an_embedding_request_becomes_an_attempt_at_embeddings() -> None:
    resolved = EmbeddingRequest(request_id="req_1", tenant="acme", model="m", deadline_ms=5000, start_by_unix_ms=7)
    decision = decide(resolved, context("a"), FRESH, traceparent=None)
    assert decision.run is not None
    assert (decision.run.kind, decision.run.stream) == (RequestKind.EMBEDDING, False)


def key_request(**changes: object) -> ChatRequest:
    return request("gpt-4o").model_copy(update=changes)


def key_facts_of(*keys: KeyFacts, drop_unsupported: bool = False) -> RoutingContext:
    index = KeyIndex()
    index.rebuild(keys)
    tenant = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER, drop_unsupported=drop_unsupported)
    return RoutingContext(
        tenant,
        (),
        NOW,
        catalog=catalog(),
        own_keys=index.of("acme"),
        platform_keys=index.of("platform"),
        prices=list_price,
    )


def test_the_attempt_names_the_paying_key_its_owner_and_the_url() -> None:
    key = key_facts("openrouter", version=3, fields={"site_name": "Acme"})
    decision = decide(key_request(), key_facts_of(key, drop_unsupported=True), FRESH, traceparent=None)
    run = decision.run
    assert run is not None
    assert (run.provider, run.model, run.model_asked) == ("openrouter", "openai/gpt-4o", "gpt-4o")
    assert (run.key_id, run.key_owner, run.key_version, run.key_source) == ("key_1", "acme", 3, KeySource.BYOK)
    assert (run.base_url, run.key_fields) == ("https://openrouter.example/v1", {"site_name": "Acme"})
    assert run.drop_unsupported


def test_a_platform_key_belongs_to_the_platform() -> None:
    decision = decide(request("gpt-4o-mini"), key_facts_of(platform_key("openai")), FRESH, traceparent=None)
    run = decision.run
    assert run is not None
    assert (run.key_id, run.key_owner, run.key_source) == ("key_p", "platform", KeySource.PLATFORM)
    assert not run.drop_unsupported


def test_the_attempt_carries_the_key_preference_for_reroutes() -> None:
    decision = decide(key_request(prefer_own_keys="only"), key_facts_of(key_facts("openai")), FRESH, traceparent=None)
    run = decision.run
    assert run is not None
    failure = Failure(failure_class=FailureClass.AUTH, message="no")
    again = reroute(run.model_copy(update={"remaining_candidates": 1}), failure, left_ms=1000, now_unix_ms=0)
    assert again is not None
    assert again.prefer_own_keys == "only"
    assert [failed.key_id for failed in again.failed_attempts] == ["key_1"]


def test_the_applied_level_is_beside_the_one_that_the_request_asked_for() -> None:
    """A reroute is planned by what the request asked for, while accounts and answers show what was applied."""
    saved = replace(context("a"), preferences=lambda request: EffectivePreferences(power_level=PowerLevel.ECO))
    run = decide(request(), saved, FRESH, traceparent="t").run
    assert run is not None
    assert (run.power_level, run.applied_level) == (None, "eco")
    intent = intent_record(run, worker_id="worker-1", spool_seq=1, started_at=NOW)
    assert (intent.power_level, accept(run, "inst_1").power_level) == ("eco", "eco")
    own = decide(request().model_copy(update={"power_level": PowerLevel.PRECISION}), saved, FRESH, traceparent="t").run
    assert own is not None
    assert (own.power_level, own.applied_level) == ("precision", "precision")
