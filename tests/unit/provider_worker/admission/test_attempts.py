"""What admission means for an attempt: its bulkhead, the failure that its caller gets, and who may plan it again."""

from math import inf

import pytest

from keyferry.contracts.chat import AttemptRun, FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.usage import KeySource
from services.provider_worker.admission.admission import AdmissionRefusal, AdmissionRefusalReason, AttemptAdmission
from services.provider_worker.admission.attempts import admission_facts, bulkhead_of, hand_back, refusal_failure
from services.provider_worker.admission.limits import MAX_WAIT_MS, AdmissionLimits
from services.provider_worker.settings import ProviderWorkerSettings
from tests.support.providers.attempt_runs import attempt_run

NOW_UNIX_MS = 1_000_000
PROVIDER, TENANT, WORKER = AdmissionRefusalReason.PROVIDER, AdmissionRefusalReason.TENANT, AdmissionRefusalReason.WORKER

AT_PROVIDER = AdmissionRefusalReason.TENANT_AT_PROVIDER


OWN, OPENAI, PROXY = KeySource.BYOK, "https://api.openai.com/v1", "https://llm.a.example/v1"


def run(provider: str = "openai", **changes: object) -> AttemptRun:
    values = {"start_by_unix_ms": NOW_UNIX_MS + 900, "remaining_candidates": 1, **changes}
    return attempt_run(provider=provider).model_copy(update=values)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (run(tenant="a"), run(tenant="b"), True),
        (run("openai"), run("mistral"), False),
        (run("openai", model="x"), run("openai", model="y"), True),
        (run("custom", tenant="a", endpoint="lab"), run("custom", tenant="b", endpoint="lab"), False),
        (run("custom", tenant="a", endpoint="lab"), run("custom", tenant="a", endpoint="gpu"), False),
        (run("custom", tenant="a", base_url="https://x/v1"), run("custom", tenant="a", base_url="https://y/v1"), False),
        (run("custom", tenant="a", base_url="https://x/v1"), run("custom", tenant="b", base_url="https://x/v1"), False),
        (run(tenant="a", key_source=OWN, base_url=PROXY), run(tenant="b", key_source=OWN), False),
        (run(tenant="a", key_source=OWN, base_url=OPENAI), run(tenant="b", key_source=OWN, base_url=OPENAI), True),
        (run("azure", tenant="a", base_url="https://x"), run("azure", tenant="a", base_url="https://x"), True),
    ],
)
def test_one_server_is_one_bulkhead(one: AttemptRun, other: AttemptRun, same: bool) -> None:
    assert (bulkhead_of(one) == bulkhead_of(other)) is same


@pytest.mark.parametrize(
    ("reason", "failure_class", "message"),
    [
        (TENANT, FailureClass.LIMIT, "this tenant has as many requests under way as its share of the gateway allows"),
        (
            AT_PROVIDER,
            FailureClass.LIMIT,
            "this tenant has as many requests under way at OpenAI as its share of the gateway allows",
        ),
        (
            PROVIDER,
            FailureClass.OVERLOADED,
            "OpenAI has as many requests under way as the gateway allows for one provider",
        ),
        (WORKER, FailureClass.OVERLOADED, "the gateway cannot take another attempt right now"),
    ],
)
def test_a_refusal_says_whose_limit_it_is_and_when_to_try_again(
    reason: AdmissionRefusalReason, failure_class: FailureClass, message: str
) -> None:
    failure = refusal_failure(AdmissionRefusal(reason, 1.25), run())
    assert (failure.failure_class, failure.where, failure.retry_after_ms) == (failure_class, Where.GATEWAY, 1250)
    assert failure.message == f"{message}; try again in 1.2 s"


@pytest.mark.parametrize(
    ("seconds", "retry_after_ms"), [(0.0, 200), (0.1, 200), (29.9, 29_900), (1e6, 30_000), (inf, 30_000)]
)
def test_the_time_to_wait_stays_within_bounds(seconds: float, retry_after_ms: int) -> None:
    assert refusal_failure(AdmissionRefusal(WORKER, seconds), run()).retry_after_ms == retry_after_ms


def test_an_endpoint_is_named_as_its_tenant_does() -> None:
    message = refusal_failure(AdmissionRefusal(PROVIDER, 1), run("custom", endpoint="lab")).message
    assert message.startswith("lab has as many requests")


def handed_back(reason: AdmissionRefusalReason = PROVIDER, **changes: object) -> bool:
    attempt, refusal = run(**changes), AdmissionRefusal(reason, 1)  # type: ignore[arg-type]
    again = hand_back(attempt, refusal, refusal_failure(refusal, attempt), now_unix_ms=NOW_UNIX_MS)
    if again is not None:
        assert again.start_by_unix_ms == attempt.start_by_unix_ms
        assert again.failed_attempts[-1].failure.failure_class is FailureClass.OVERLOADED
    return again is not None


def test_only_a_providers_share_is_a_reason_to_plan_again() -> None:
    assert handed_back()
    assert handed_back(AT_PROVIDER)
    assert not handed_back(TENANT)
    assert not handed_back(WORKER)
    assert not handed_back(remaining_candidates=0)


def test_a_request_is_handed_back_only_in_time() -> None:
    assert handed_back(start_by_unix_ms=NOW_UNIX_MS + 100)
    assert not handed_back(start_by_unix_ms=NOW_UNIX_MS + 99)
    assert not handed_back(deadline_ms=50)


@pytest.mark.parametrize(
    ("failure_class", "where", "again"),
    [
        (FailureClass.OVERLOADED, Where.GATEWAY, False),
        (FailureClass.OVERLOADED, Where.HTTP_STATUS, True),
        (FailureClass.SERVER, Where.HTTP_STATUS, True),
    ],
)
def test_a_request_is_handed_back_once(failure_class: FailureClass, where: Where, again: bool) -> None:
    failure = Failure(failure_class=failure_class, message="before", where=where)
    earlier = FailedAttempt(attempt_id="att_0", provider="mistral", model="m", failure=failure)
    assert handed_back(failed_attempts=[earlier]) is again


def test_facts_show_what_runs_waits_and_was_refused() -> None:
    admission = AttemptAdmission(AdmissionLimits(3, waiting=1, provider_share_percent=100, tenant_share_percent=100))
    assert admission_facts(admission) == {}
    for provider in ("mistral", "openai", "openai", "openai", "openai"):
        admission.request("acme", provider, 1e9, 0.0)
    assert admission_facts(admission) == {
        "waiting": "1",
        "refused": "1 (worker)",
        "providers": "openai: 2 + 1 waiting, mistral: 1",
    }


def test_the_settings_are_the_limits(tmp_path: object) -> None:
    settings = ProviderWorkerSettings.model_validate(
        {"nats_url": "nats://127.0.0.1:1", "spool_dir": tmp_path, "max_attempts": 7, "max_wait_ms": 250}
    )
    assert settings.admission_limits() == AdmissionLimits(7, 500, 40, 75, 0.25)
    assert ProviderWorkerSettings.model_fields["max_wait_ms"].default < MAX_WAIT_MS < 1000
