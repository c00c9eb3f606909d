"""What holds for every request, whatever its providers do and however long they take."""

from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.fallback import MAX_DUPLICATES, MAX_RETRIES, may_be_charged
from services.router.decide import MAX_ATTEMPTS
from services.router.planning.context import RoutingContext
from tests.support.router.fallback_contexts import endpoints, with_endpoints, with_keys
from tests.support.router.keys_and_prices import key_facts
from tests.support.router.simulated_requests import Behaviour, Course, ProviderResult, SimulatedRouter

FAILURES = st.builds(
    Failure,
    failure_class=st.sampled_from(FailureClass),
    where=st.sampled_from(Where),
    message=st.just("why"),
    retry_after_ms=st.none() | st.integers(0, 40_000),
)
RESULTS = st.lists(
    st.builds(ProviderResult, failure=st.none() | FAILURES, latency_ms=st.integers(0, 20_000), no_key=st.booleans()),
    min_size=1,
    max_size=8,
)
DEADLINES = st.integers(0, 60_000)
CONTEXTS = st.sampled_from(
    [
        with_endpoints(endpoints("a")),
        with_endpoints(endpoints("a", "b", "c", models=["gpt-4o"])),
        with_keys(key_facts("openai", "key_1"), key_facts("openai", "key_2"), key_facts("openrouter", "key_3")),
        with_keys(
            *(key_facts("openai", f"key_{number}") for number in range(7)),
            fallback_on_content_filter=True,
            fallback_models=("gpt-4.1", "gpt-4o-mini"),
        ),
        with_keys(key_facts("openai", "key_1"), key_facts("openrouter", "key_2"), fallback_after_possible_charge=False),
    ]
)


def behave_like(results: list[ProviderResult]) -> Behaviour:
    """Return providers that end their calls so, in turn, each within the time that its attempt has."""

    def behave(run: AttemptRun, at_ms: int) -> ProviderResult:
        result = results[(run.attempt_number - 1) % len(results)]
        latest = run.deadline_ms - run.delay_ms
        if run.first_answer_within_ms is not None:
            latest = min(latest, run.first_answer_within_ms)
        if result.latency_ms <= latest:
            return result
        return ProviderResult(Failure(failure_class=FailureClass.TIMEOUT, message="t", where=Where.NO_ANSWER), latest)

    return behave


def run(context: RoutingContext, results: list[ProviderResult], deadline_ms: int, request_id: str = "req_1") -> Course:
    router = SimulatedRouter(context)
    return router.send(behave_like(results), model="gpt-4o", deadline_ms=deadline_ms, request_id=request_id)


@given(CONTEXTS, RESULTS, DEADLINES)
def test_no_provider_is_called_after_the_deadline(
    context: RoutingContext, results: list[ProviderResult], deadline: int
) -> None:
    made = run(context, results, deadline)
    assert all(one.at_ms < deadline for one in made.begun)
    assert made.ended_ms <= deadline


@given(CONTEXTS, RESULTS, DEADLINES)
def test_attempts_retries_and_possible_charges_are_limited(
    context: RoutingContext, results: list[ProviderResult], deadline: int
) -> None:
    made = run(context, results, deadline)
    assert len(made.begun) <= MAX_ATTEMPTS
    calls = [(one.server, one.run.model, one.run.key_id) for one in made.begun]
    assert all(calls.count(call) <= 1 + MAX_RETRIES for call in calls)
    if not made.begun:
        return
    failed = made.begun[-1].run.failed_attempts
    charged = [one for one in failed if may_be_charged(one.failure) and not one.no_key]
    assert len(charged) <= MAX_DUPLICATES
    for one in charged:
        call = (one.endpoint or one.provider, one.model, one.key_id)
        assert call not in calls[failed.index(one) + 1 :], "what may have been charged was repeated"


@given(CONTEXTS, RESULTS, DEADLINES, st.text(st.characters(codec="ascii", categories=["L"]), min_size=1))
def test_the_same_request_is_planned_alike(
    context: RoutingContext, results: list[ProviderResult], deadline: int, request_id: str
) -> None:
    first, second = (run(context, results, deadline, f"req_{request_id}") for _ in range(2))
    assert [(one.at_ms, one.run) for one in first.begun] == [(one.at_ms, one.run) for one in second.begun]
    assert first.refusal == second.refusal
    assert first.plans == second.plans


@given(CONTEXTS, RESULTS, DEADLINES)
def test_every_dropped_candidate_has_a_reason_and_a_text(
    context: RoutingContext, results: list[ProviderResult], deadline: int
) -> None:
    for plan in run(context, results, deadline).plans:
        for candidate in plan.candidates:
            assert candidate.kept == (candidate.reason is None)
            assert candidate.detail
        assert all(plan.candidates[index].kept for index in plan.order)
        assert all(candidate.kept for candidate in plan.candidates if candidate.delay_ms)


@given(CONTEXTS, RESULTS, DEADLINES)
def test_whose_key_pays_never_changes_because_of_a_failure(
    context: RoutingContext, results: list[ProviderResult], deadline: int
) -> None:
    made = run(context, results, deadline)
    assert all(one.run.key_owner in (None, "acme") for one in made.begun)
