"""The phase that an attempt had reached says whether its provider may have charged for it."""

from decimal import Decimal
from typing import Any

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.fallback import may_be_charged
from keyferry.contracts.usage import KeySource, Outcome, TokenUsage
from keyferry.runtime.upstream.errors import (
    IncompleteResponse,
    NoResponse,
    NotSent,
    NotSentReason,
    UpstreamError,
)
from services.provider_worker.adapters.adapter import Answer, RefusedByAdapter
from services.provider_worker.adapters.usage_report import UsageReport
from services.provider_worker.attempt_end import (
    AttemptEnd,
    end_of_answer,
    end_of_cancellation,
    end_of_deadline,
    end_of_error,
    end_of_stale_start,
    name_provider,
)
from services.provider_worker.provider_call import Phase
from tests.support.providers.attempt_runs import attempt_run

REPORTED = Failure(failure_class=FailureClass.OVERLOADED, message="busy", where=Where.MID_STREAM)


@pytest.mark.parametrize(
    ("phase", "where"),
    [
        (Phase.PLANNED, Where.NOT_SENT),
        (Phase.LEASING, Where.NOT_SENT),
        (Phase.SENDING, Where.NO_ANSWER),
        (Phase.STREAMING, Where.MID_STREAM),
    ],
)
def test_a_caller_that_cancels_ends_the_attempt_where_it_is(phase: Phase, where: Where) -> None:
    end = end_of_cancellation(phase, by_caller=True)
    assert end.outcome is Outcome.CANCELLED
    assert end.failure is not None
    assert (end.failure.failure_class, end.failure.where) == (FailureClass.CANCELLED, where)


@pytest.mark.parametrize(
    ("phase", "where"),
    [(Phase.PLANNED, Where.NOT_SENT), (Phase.SENDING, Where.NO_ANSWER), (Phase.STREAMING, Where.MID_STREAM)],
)
def test_a_worker_that_stops_fails_the_attempt_where_it_is(phase: Phase, where: Where) -> None:
    """A caller that does not know of a call under way would send the request again, and pay twice."""
    end = end_of_cancellation(phase, by_caller=False)
    assert end.outcome is Outcome.FAILED
    assert end.failure is not None
    assert (end.failure.failure_class, end.failure.where) == (FailureClass.UNAVAILABLE, where)
    assert may_be_charged(end.failure) is (where is not Where.NOT_SENT)


@pytest.mark.parametrize(
    ("phase", "failure_class", "where", "waited_for"),
    [
        (Phase.PLANNED, FailureClass.EXPIRED, Where.NOT_SENT, "the bus"),
        (Phase.LEASING, FailureClass.EXPIRED, Where.NOT_SENT, "the key vault"),
        (Phase.SENDING, FailureClass.TIMEOUT, Where.NO_ANSWER, "the provider"),
        (Phase.STREAMING, FailureClass.TIMEOUT, Where.NO_ANSWER, "the provider"),
    ],
)
def test_a_deadline_is_the_providers_failure_only_after_the_send(
    phase: Phase, failure_class: FailureClass, where: Where, waited_for: str
) -> None:
    end = end_of_deadline(phase)
    assert end.outcome is Outcome.FAILED
    assert end.failure is not None
    assert (end.failure.failure_class, end.failure.where) == (failure_class, where)
    assert f"before {waited_for} had" in end.failure.message


@pytest.mark.parametrize(
    ("error", "failure_class", "where"),
    [
        (NotSent("no", NotSentReason.CONNECT), FailureClass.UNREACHABLE, Where.NOT_SENT),
        (NoResponse("https://a.example", "reset"), FailureClass.SERVER, Where.NO_ANSWER),
        (NoResponse("https://a.example", "slow", timed_out=True), FailureClass.TIMEOUT, Where.NO_ANSWER),
        (IncompleteResponse("https://a.example", "reset"), FailureClass.TRUNCATED, Where.MID_STREAM),
        (IncompleteResponse("https://a.example", "slow", timed_out=True), FailureClass.TRUNCATED, Where.MID_STREAM),
    ],
)
def test_each_upstream_error_is_a_failure_of_its_own(
    error: UpstreamError, failure_class: FailureClass, where: Where
) -> None:
    end = end_of_error(error, Answer())
    assert end.outcome is Outcome.FAILED
    assert end.failure is not None
    assert (end.failure.failure_class, end.failure.where, end.failure.message) == (failure_class, where, str(error))


def test_what_the_provider_reported_counts_more_than_that_its_answer_broke_off() -> None:
    broken = IncompleteResponse("https://a.example", "reset")
    assert end_of_error(broken, Answer(failure=REPORTED)).failure is REPORTED


def test_an_adapters_refusal_is_the_failure() -> None:
    assert end_of_error(RefusedByAdapter(REPORTED), Answer()).failure == REPORTED


def test_a_returned_answer_is_completed_unless_it_has_a_failure() -> None:
    assert end_of_answer(Answer()).outcome is Outcome.COMPLETED
    failed = end_of_answer(Answer(failure=REPORTED))
    assert (failed.outcome, failed.failure) == (Outcome.FAILED, REPORTED)


@pytest.mark.parametrize(
    "charged",
    [
        {"usage": UsageReport(TokenUsage(input=89, output=972), prompt_known=True, completion_known=True)},
        {"reported_cost_usd": Decimal("0.01")},
    ],
    ids=["tokens", "cost"],
)
def test_an_error_beside_output_that_the_provider_counts_may_be_charged(charged: dict[str, Any]) -> None:
    inside = Failure(failure_class=FailureClass.SERVER, message="m", where=Where.HTTP_200_BODY, status=502)
    for answer, expected in ((Answer(failure=inside), False), (Answer(failure=inside, **charged), True)):
        ends = end_of_answer(answer), end_of_error(IncompleteResponse("https://a.example", "reset"), answer)
        assert [end.failure is not None and may_be_charged(end.failure) for end in ends] == [expected, expected]


def test_a_provider_without_a_title_is_named_as_it_is() -> None:
    run = attempt_run(provider="lab")
    limited = Failure(failure_class=FailureClass.RATE_LIMIT, message="slow down", where=Where.HTTP_STATUS)
    named = name_provider(AttemptEnd(Outcome.FAILED, limited), run)
    assert named.failure is not None
    assert named.failure.message == "lab limits the rate of requests: slow down"


def test_a_frozen_worker_has_sent_nothing() -> None:
    end = end_of_stale_start()
    assert end.failure is not None
    assert (end.failure.failure_class, end.failure.where) == (FailureClass.UNAVAILABLE, Where.NOT_SENT)


@pytest.mark.parametrize(
    ("failure_class", "changes", "begins"),
    [
        (
            FailureClass.AUTH,
            {"key_source": KeySource.BYOK, "key_id": "key_1", "provider": "openai"},
            "OpenAI does not accept the provider key key_1 that was used; the client token is fine: ",
        ),
        (
            FailureClass.AUTH,
            {"key_source": KeySource.PLATFORM, "key_id": "key_1", "provider": "openai"},
            "OpenAI does not accept the provider key that was used; the client token is fine: ",
        ),
        (
            FailureClass.AUTH,
            {"key_source": KeySource.CUSTOM, "provider": "custom", "endpoint": "lab"},
            "lab wants a key and was called without one; the client token is fine: ",
        ),
        (
            FailureClass.QUOTA,
            {"key_source": KeySource.BYOK, "key_id": "key_1", "provider": "deepseek"},
            "the account of the provider key key_1 at DeepSeek has no quota left: ",
        ),
        (
            FailureClass.RATE_LIMIT,
            {"key_source": KeySource.CUSTOM, "provider": "custom", "endpoint": "lab"},
            "lab limits the rate of requests: ",
        ),
    ],
)
def test_whose_key_or_limit_it_is_comes_first(
    failure_class: FailureClass, changes: dict[str, str], begins: str
) -> None:
    said = Failure(failure_class=failure_class, message="Incorrect API key provided", where=Where.HTTP_STATUS)
    end = name_provider(AttemptEnd(Outcome.FAILED, said), attempt_run().model_copy(update=changes))
    assert end.failure is not None
    assert end.failure.message == f"{begins}Incorrect API key provided"


@pytest.mark.parametrize("where", [Where.GATEWAY, Where.NOT_SENT])
def test_what_the_gateway_says_itself_stays_as_it_is(where: Where) -> None:
    said = Failure(failure_class=FailureClass.AUTH, message="ours", where=where)
    assert name_provider(AttemptEnd(Outcome.FAILED, said), attempt_run()) == AttemptEnd(Outcome.FAILED, said)
