"""Each row of the table of fallbacks, as a router and a worker act on it together."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.fallback import FALLBACKS, FallbackAction, UseCase
from keyferry.contracts.tenancy import KeyPolicy
from services.router.fallback.chains import read_chains
from services.router.fallback.memory import FallbackMemory
from tests.support.repository.files import ROOT
from tests.support.router.fallback_contexts import endpoints, with_endpoints, with_keys
from tests.support.router.keys_and_prices import at_own_address, catalog, key_facts, platform_key
from tests.support.router.rule_sets import rule, rule_set, tenant_rules
from tests.support.router.simulated_requests import Behaviour, Course, ProviderResult, SimulatedRouter

C, A, W = FailureClass, FallbackAction, Where
CHAINS = read_chains(
    (ROOT / "services" / "router" / "fallback" / "chains.toml").read_text(encoding="utf-8"),
    lambda name: catalog().resolve(name).model is not None,
)
OPENAI = (key_facts("openai", "key_1"), key_facts("openai", "key_2", priority=300))
ROUTER_KEY = key_facts("openrouter", "key_or", priority=200)


def failure(failure_class: FailureClass, where: Where = W.HTTP_STATUS, retry_after_ms: int | None = None) -> Failure:
    return Failure(failure_class=failure_class, message="why", where=where, retry_after_ms=retry_after_ms)


def failing(*failures: Failure | None) -> Behaviour:
    """Return a provider whose calls end so, one after the other, and are answered after that."""
    left = list(failures)
    return lambda run, at_ms: ProviderResult(left.pop(0) if left else None)


def always(problem: Failure, latency_ms: int = 10) -> Behaviour:
    return lambda run, at_ms: ProviderResult(problem, latency_ms)


def by_server(**failures: Failure) -> Behaviour:
    return lambda run, at_ms: ProviderResult(failures.get(run.endpoint or run.provider))


def course(behave: Behaviour, **preferences: Any) -> Course:
    """Follow a request for gpt-4o of a tenant with two keys for OpenAI, and one for OpenRouter between them."""
    router = SimulatedRouter(with_keys(*OPENAI, ROUTER_KEY, **preferences), FallbackMemory(CHAINS))
    return router.send(behave, model="gpt-4o")


@pytest.mark.parametrize("failure_class", FailureClass)
def test_the_first_action_of_each_row_is_the_one_that_is_taken(failure_class: FailureClass) -> None:
    made = course(failing(failure(failure_class)))
    after = {
        A.NEXT_KEY: ["key_1", "key_2"],
        A.NEXT_PROVIDER: ["key_1", "key_or"],
        A.LONGER_CONTEXT: ["key_1"],
        A.STOP: ["key_1"],
    }
    expected = A.STOP if failure_class is C.CONTENT_FILTER else FALLBACKS[failure_class].not_charged[0]
    assert made.keys == after[expected]
    assert made.answered is (len(made.begun) == 2)


@pytest.mark.parametrize("failure_class", [C.TIMEOUT, C.SERVER, C.TRUNCATED, C.RATE_LIMIT])
def test_what_may_have_been_charged_goes_to_another_provider_and_to_no_third(failure_class: FailureClass) -> None:
    made = course(always(failure(failure_class, W.NO_ANSWER)))
    assert made.keys == ["key_1", "key_or"]
    assert made.refusal == failure(failure_class, W.NO_ANSWER)


def test_a_tenant_can_refuse_to_pay_twice() -> None:
    made = course(always(failure(C.TIMEOUT, W.NO_ANSWER)), fallback_after_possible_charge=False)
    assert made.keys == ["key_1"]


def test_a_content_filter_is_followed_only_where_the_tenant_said_so() -> None:
    rejected = failing(failure(C.CONTENT_FILTER))
    assert course(rejected).keys == ["key_1"]
    assert course(failing(failure(C.CONTENT_FILTER)), fallback_on_content_filter=True).keys == ["key_1", "key_or"]


def test_an_attempt_without_its_key_goes_on_to_the_next_key() -> None:
    left = [ProviderResult(failure(C.UNAVAILABLE, W.NOT_SENT), no_key=True)]
    made = course(lambda run, at_ms: left.pop() if left else ProviderResult())
    assert (made.keys, made.answered) == (["key_1", "key_2"], True)


def test_own_keys_come_before_the_platforms_even_if_they_are_of_another_provider() -> None:
    context = with_keys(*OPENAI, ROUTER_KEY, platform_key("openai"), policy=KeyPolicy.OWN_THEN_PLATFORM)
    made = SimulatedRouter(context).send(always(failure(C.AUTH)), model="gpt-4o")
    assert made.keys == ["key_1", "key_2", "key_or", "key_p"]


def test_a_failing_own_key_never_makes_the_platform_pay_without_permission() -> None:
    context = with_keys(OPENAI[0], platform_key("openai"), policy=KeyPolicy.OWN)
    made = SimulatedRouter(context).send(always(failure(C.QUOTA)), model="gpt-4o")
    assert made.keys == ["key_1"]


# --- retries


@pytest.mark.parametrize("failure_class", [C.OVERLOADED, C.SERVER, C.UNREACHABLE, C.RATE_LIMIT])
def test_the_only_candidate_is_tried_again_twice_after_growing_random_delays(failure_class: FailureClass) -> None:
    where = W.NOT_SENT if failure_class is C.UNREACHABLE else W.HTTP_STATUS
    router = SimulatedRouter(with_endpoints(endpoints("a")))
    made = router.send(always(failure(failure_class, where)))
    assert made.servers == ["a", "a", "a"]
    assert [one.run.delay_ms > 0 for one in made.begun] == [False, True, True]
    assert made.begun[1].run.delay_ms <= 250
    assert made.begun[2].run.delay_ms <= 500
    assert made.refusal is not None
    assert made.refusal.failure_class is failure_class
    assert [one.run.fallback_reason for one in made.begun] == [None, None, None]


def test_a_retry_waits_for_the_providers_retry_after() -> None:
    made = SimulatedRouter(with_endpoints(endpoints("a"))).send(failing(failure(C.RATE_LIMIT, retry_after_ms=4000)))
    assert made.answered
    assert 4000 <= made.begun[1].run.delay_ms <= 4250
    assert made.begun[1].run.deadline_ms == 30_000 - 10


def test_a_retry_after_that_does_not_fit_is_the_answer_with_its_time() -> None:
    router = SimulatedRouter(with_endpoints(endpoints("a")))
    made = router.send(always(failure(C.RATE_LIMIT, retry_after_ms=4000)), deadline_ms=4000)
    assert made.servers == ["a"]
    assert made.refusal is not None
    assert made.refusal.retry_after_ms == 4000


def test_the_earliest_recovery_of_any_candidate_is_given() -> None:
    limited = {
        "a": failure(C.OVERLOADED, retry_after_ms=60_000),
        "b": failure(C.RATE_LIMIT, retry_after_ms=45_000),
        "c": failure(C.OVERLOADED, retry_after_ms=90_000),
    }
    router = SimulatedRouter(with_endpoints(endpoints("a", "b", "c")))
    made = router.send(by_server(**limited))
    assert made.servers == ["a", "b", "c"]
    assert made.refusal is not None
    assert made.refusal.failure_class is C.OVERLOADED
    assert made.refusal.retry_after_ms == 45_000 - 10


def test_others_come_before_a_retry() -> None:
    made = SimulatedRouter(with_endpoints(endpoints("a", "b"))).send(by_server(a=failure(C.SERVER), b=failure(C.AUTH)))
    assert made.servers[:2] == ["a", "b"]
    assert set(made.servers[2:]) == {"a"}
    assert made.begun[1].run.fallback_reason is C.SERVER


def test_without_retries_the_failure_is_the_answer() -> None:
    router = SimulatedRouter(with_endpoints(endpoints("a")), FallbackMemory(max_retries=0))
    assert router.send(always(failure(C.OVERLOADED))).servers == ["a"]


# --- pauses


def test_another_request_does_not_run_into_a_pause_that_is_known() -> None:
    router = SimulatedRouter(with_endpoints(endpoints("a", "b")))
    limited = by_server(a=failure(C.OVERLOADED, retry_after_ms=5000))
    assert router.send(limited, request_id="req_1").servers == ["a", "b"]
    second = router.send(limited, request_id="req_2", at_ms=100)
    assert second.servers == ["b"]
    assert second.begun[0].run.fallback_reason == "unhealthy"
    assert router.send(limited, request_id="req_3", at_ms=6000).servers == ["a", "b"]


def test_a_request_waits_for_the_first_candidate_that_recovers_within_its_deadline() -> None:
    router = SimulatedRouter(with_endpoints(endpoints("a", "b")))
    pausing = {"a": failure(C.OVERLOADED, retry_after_ms=9000), "b": failure(C.OVERLOADED, retry_after_ms=5000)}
    router.send(by_server(**pausing), deadline_ms=4000)
    made = router.send(by_server(), request_id="req_2", at_ms=1000)
    assert made.answered
    assert made.servers == ["b"]
    assert 4000 <= made.begun[0].run.delay_ms <= 4300
    assert made.begun[0].run.delay_ms + 1000 >= 5000
    refused = router.send(by_server(), request_id="req_3", at_ms=1000, deadline_ms=3000)
    assert not refused.begun
    assert refused.refusal is not None
    assert 3900 <= (refused.refusal.retry_after_ms or 0) <= 4100


def test_only_so_many_requests_wait_for_one_target() -> None:
    router = SimulatedRouter(with_endpoints(endpoints("a")))
    router.send(always(failure(C.OVERLOADED, retry_after_ms=5000)), deadline_ms=4000)
    waiting = [router.send(by_server(), request_id=f"req_{number}", at_ms=100) for number in range(60)]
    assert sum(one.answered for one in waiting) == 50
    assert all(one.refusal and one.refusal.retry_after_ms for one in waiting if not one.answered)
    assert len({one.begun[0].at_ms for one in waiting if one.begun}) > 25, "they do not come back at the same moment"


# --- context length


def test_a_request_that_is_too_long_never_goes_to_a_model_of_the_same_length() -> None:
    made = course(always(failure(C.CONTEXT_LENGTH)))
    assert made.keys == ["key_1"]
    assert made.refusal == failure(C.CONTEXT_LENGTH)


def test_only_longer_models_of_the_chain_are_tried() -> None:
    keys = (*OPENAI, key_facts("anthropic", "key_a"), key_facts("gemini", "key_g"))
    context = with_keys(*keys, fallback_models=("gpt-4o-mini", "claude-sonnet-4-5", "gpt-4.1"))
    made = SimulatedRouter(context, FallbackMemory(CHAINS)).send(always(failure(C.CONTEXT_LENGTH)), model="gpt-4o")
    assert [one.run.model for one in made.begun] == ["gpt-4o", _upstream("claude-sonnet-4-5", "anthropic"), "gpt-4.1"]


def test_with_a_fallback_chain_the_long_models_are_tried_at_last() -> None:
    keys = (*OPENAI, key_facts("gemini", "key_g"))
    context = with_keys(*keys, fallback_chain=UseCase.CODE)
    made = SimulatedRouter(context, FallbackMemory(CHAINS)).send(
        failing(*[failure(C.CONTEXT_LENGTH)] * 2), model="gpt-4o"
    )
    assert made.answered
    assert [one.run.model for one in made.begun] == ["gpt-4o", "gpt-5", "gemini-2.5-pro"]


def test_a_long_model_that_fails_is_followed_by_the_next_long_one() -> None:
    context = with_keys(*OPENAI, key_facts("gemini", "key_g"), fallback_chain=UseCase.CODE)
    made = SimulatedRouter(context, FallbackMemory(CHAINS)).send(
        failing(*[failure(C.CONTEXT_LENGTH)] * 2, failure(C.NOT_FOUND)), model="gpt-4o"
    )
    assert made.answered
    assert [one.run.model for one in made.begun] == ["gpt-4o", "gpt-5", "gemini-2.5-pro", "gpt-4.1"]


def test_the_estimated_length_of_the_request_counts_where_a_window_is_not_known() -> None:
    context = with_keys(*OPENAI, key_facts("gemini", "key_g"), fallback_models=("gpt-4.1",))
    made = SimulatedRouter(context).send(
        always(failure(C.CONTEXT_LENGTH)), model="gpt-4o", features={"input_tokens": 2_000_000}
    )
    assert made.keys == ["key_1"]


# --- models


def test_a_model_that_is_named_is_never_replaced_by_default() -> None:
    made = course(always(failure(C.AUTH)))
    assert {one.run.model.rpartition("/")[2] for one in made.begun} == {"gpt-4o"}


def test_a_short_retry_comes_before_another_model_and_a_long_one_after_it() -> None:
    keys = (key_facts("mistral", "key_m"), key_facts("openai", "key_o"))
    context = with_keys(*keys, fallback_models=("gpt-4o",))

    def served(problem: Failure) -> list[str]:
        return SimulatedRouter(context).send(failing(problem), model="mistral-large").servers

    assert served(failure(C.OVERLOADED)) == ["mistral", "mistral"]
    assert served(failure(C.OVERLOADED, retry_after_ms=3000)) == ["mistral", "openai"]
    assert served(failure(C.AUTH)) == ["mistral", "openai"]


def test_a_chain_of_the_preferences_follows_and_privacy_stays_inside_the_eu() -> None:
    mistral = at_own_address(key_facts("mistral", "key_m"))
    proxy = key_facts("mistral", "key_p", priority=1, base_url="https://proxy.example/v1")
    london = at_own_address(key_facts("bedrock", "key_l", fields={"region": "eu-west-2"}))
    keys = (key_facts("openai", "key_o"), mistral, proxy, london, key_facts("anthropic", "key_a"))
    context = with_keys(*keys, fallback_chain=UseCase.PRIVACY)
    made = SimulatedRouter(context, FallbackMemory(CHAINS)).send(always(failure(C.AUTH)), model="gpt-4o")
    assert made.servers == ["openai", "mistral", "mistral"]
    assert {one.run.key_id for one in made.begun} == {"key_o", "key_m"}
    assert {one.run.chosen_model for one in made.begun} == {None, "mistral-large", "mistral-medium"}


def test_a_step_of_a_rule_stands_for_the_models_of_a_chain() -> None:
    keys = (key_facts("openai", "key_o"), key_facts("mistral", "key_m"))
    rules = tenant_rules(rule("programs", [{"chain": "code"}, {"model": "gpt-4o"}], operation="code"))
    context = replace(with_keys(*keys), rules=rules)
    made = SimulatedRouter(context, FallbackMemory(CHAINS)).send(
        always(failure(C.AUTH)), model="gpt-4o", operation="code"
    )
    assert [one.run.model for one in made.begun] == ["gpt-5", _upstream("codestral", "mistral"), "gpt-4o"]
    assert [one.chosen_model for one in made.plans[0].candidates if one.kept] == ["gpt-5", "codestral", None]


def test_an_unknown_chain_in_a_rule_is_refused() -> None:
    with pytest.raises(ValidationError, match="long-context"):
        rule_set(rule("programs", [{"chain": "cooking"}], operation="code"))
    with pytest.raises(ValidationError, match="exactly one of model, power_level, chain and split"):
        rule_set(rule("programs", [{"chain": "code", "model": "gpt-4o"}], operation="code"))


# --- time


def test_a_provider_that_hangs_leaves_the_others_their_time() -> None:
    def hangs_at_a(run: AttemptRun, at_ms: int) -> ProviderResult:
        if run.endpoint == "b":
            return ProviderResult()
        assert run.first_answer_within_ms is not None
        return ProviderResult(failure(C.TIMEOUT, W.NO_ANSWER), run.first_answer_within_ms)

    made = SimulatedRouter(with_endpoints(endpoints("a", "b"))).send(hangs_at_a)
    assert made.answered
    assert (made.begun[0].run.first_answer_within_ms, made.begun[1].run.deadline_ms) == (20_000, 10_000)
    assert made.begun[1].run.first_answer_within_ms is None


def _upstream(model: str, provider: str) -> str:
    return next(each.upstream for each in catalog().resolve(model).offerings if each.provider == provider)
