"""An attempt has all of the time unless another candidate could follow it; and a region of a provider can."""

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.key import KeyFacts
from services.router.planning.context import RoutingContext
from tests.support.router.fallback_contexts import with_keys
from tests.support.router.keys_and_prices import at_own_address, key_facts
from tests.support.router.simulated_requests import Behaviour, Course, ProviderResult, SimulatedRouter

C, W = FailureClass, Where
HUNG = Failure(failure_class=C.TIMEOUT, message="silence", where=W.NO_ANSWER)
BROKEN = Failure(failure_class=C.SERVER, message="broken", where=W.HTTP_STATUS, status=500)
ONE, TWO = key_facts("openai", "key_1"), key_facts("openai", "key_2", priority=300)
OTHER = key_facts("openrouter", "key_or", priority=900)


def region(name: str, key_id: str) -> KeyFacts:
    return at_own_address(key_facts("bedrock", key_id, fields={"region": name}))


def times(context: RoutingContext, behave: Behaviour, model: str = "gpt-4o") -> list[int | None]:
    return [one.run.first_answer_within_ms for one in sent(context, behave, model).begun]


def sent(context: RoutingContext, behave: Behaviour, model: str = "gpt-4o") -> Course:
    return SimulatedRouter(context).send(behave, model=model)


def always(problem: Failure) -> Behaviour:
    return lambda run, at_ms: ProviderResult(problem)


def test_time_is_kept_for_another_provider() -> None:
    assert times(with_keys(ONE, OTHER), always(HUNG)) == [20_000, None]


def test_no_time_is_kept_for_another_key_of_a_provider_that_does_not_answer() -> None:
    """It does not follow such an attempt, so the caller would lose a third of its time for nothing."""
    assert times(with_keys(ONE, TWO), always(HUNG)) == [None]


def test_no_time_is_kept_where_the_tenant_pays_for_one_answer_only() -> None:
    assert times(with_keys(ONE, OTHER, fallback_after_possible_charge=False), always(HUNG)) == [None]


def test_no_time_is_kept_after_an_attempt_that_may_have_been_charged() -> None:
    third = key_facts("azure", "key_az", priority=950, models=["gpt-4o"], name="lab")
    begun = times(with_keys(ONE, OTHER, third, fallback_models=("gpt-4.1", "gpt-4o-mini")), always(HUNG))
    assert begun == [20_000, None]


@pytest.mark.parametrize("problem", [HUNG, BROKEN], ids=["hung", "broken"])
def test_another_region_of_a_provider_follows(problem: Failure) -> None:
    keys = (region("us-east-1", "key_us"), region("us-west-2", "key_west"))
    made = sent(
        with_keys(*keys), lambda run, at_ms: ProviderResult(problem if run.attempt_number == 1 else None), CLAUDE
    )
    assert made.answered
    assert len({one.run.base_url for one in made.begun}) == 2
    assert made.begun[0].run.first_answer_within_ms == 20_000


def test_a_worker_without_a_place_for_a_provider_is_not_asked_for_another_region() -> None:
    """Its places are the provider's: the second refusal would be final, although another provider has the model."""
    busy = Failure(failure_class=C.OVERLOADED, message="no place", where=W.GATEWAY)
    keys = (
        region("us-east-1", "key_us"),
        region("us-west-2", "key_west"),
        key_facts("anthropic", "key_an", priority=900),
    )
    made = sent(
        with_keys(*keys), lambda run, at_ms: ProviderResult(busy if run.provider == "bedrock" else None), CLAUDE
    )
    assert made.servers == ["bedrock", "anthropic"]


def test_another_key_of_the_same_region_does_not() -> None:
    keys = (region("us-east-1", "key_1"), region("us-east-1", "key_2"))
    made = sent(with_keys(*keys), always(HUNG), CLAUDE)
    assert (len(made.begun), made.answered) == (1, False)


CLAUDE = "claude-sonnet-4-5"
