"""Every way the calls of a key test can end, and the resulting state of the key."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.key import KeyTest, KeyTestResult, KeyTestStep
from keyferry.contracts.secret import Secret
from services.provider_worker.key_test.credit import UNKNOWN, Credit
from services.provider_worker.key_test.listing import ListedModel
from services.provider_worker.key_test.result import KeyTestFindings, ProbeExchange, conclude
from services.provider_worker.redaction.reader import ResponseRedactor
from services.provider_worker.redaction.secret_forms import RUN, SecretForms

NOW = datetime(2026, 1, 2, tzinfo=UTC)
KEY = "sk-canary-0123456789abcdef"

statuses = st.sampled_from([None, 400, 401, 403, 404, 429, 500])
failures = st.builds(
    Failure,
    failure_class=st.sampled_from(FailureClass),
    message=st.sampled_from([KEY, f"bad key {KEY}!", "max_tokens", "Signature expired: x", "no", KEY[3:20]])
    | st.text(),
    where=st.sampled_from(Where),
    status=statuses,
)
exchanges = st.builds(
    ProbeExchange,
    duration_ms=st.integers(0, 10**6),
    answered_ms=st.none() | st.integers(0, 10**6),
    failure=st.none() | failures,
)
findings = st.builds(
    KeyTestFindings,
    origin=st.just("https://a.example"),
    first=st.none() | exchanges,
    access=st.none() | exchanges,
    proven=st.booleans(),
    credit=st.sampled_from([UNKNOWN, Credit(None, False), Credit(None, True)]),
    models=st.lists(st.sampled_from([ListedModel("m"), ListedModel(f"ft:{KEY}")]), max_size=3),
    chat=st.none() | exchanges,
    chat_model=st.none() | st.just("m"),
    model_detail=st.sampled_from(["", KEY]),
)


def conclude_findings(found: KeyTestFindings) -> KeyTest:
    return ResponseRedactor(SecretForms([Secret(KEY)])).redact_key_test(conclude(found, NOW, 5))


def reported_text(found: KeyTestFindings) -> set[FailureClass]:
    calls = (found.chat, found.access)
    return {call.failure.failure_class for call in calls if call is not None and call.failure is not None}


@given(findings)
def test_any_findings_give_a_consistent_result(found: KeyTestFindings) -> None:
    check = conclude_findings(found)
    passed = {step.step: step.passed for step in check.steps}
    assert list(passed) == list(KeyTestStep)
    assert (check.result is KeyTestResult.INVALID) == (passed[KeyTestStep.ACCEPTED] is False)
    if check.result is KeyTestResult.INVALID:
        assert check.failure_class is FailureClass.AUTH
        assert FailureClass.AUTH in reported_text(found)
    if check.result is KeyTestResult.VALID:
        assert check.failure_class is None
        assert passed[KeyTestStep.CREDIT] is not False
    if check.result is KeyTestResult.DEGRADED:
        assert check.failure_class is not None
        assert False in (passed[KeyTestStep.CREDIT], passed[KeyTestStep.MODEL])


@given(findings)
def test_the_key_is_never_reported(found: KeyTestFindings) -> None:
    text = conclude_findings(found).encode().decode()
    assert not [at for at in range(len(KEY) - RUN + 1) if KEY[at : at + RUN] in text]


@given(
    findings,
    st.sampled_from([FailureClass.TIMEOUT, FailureClass.RATE_LIMIT, FailureClass.SERVER, FailureClass.UNREACHABLE]),
)
def test_a_failed_chat_alone_does_not_make_a_key_invalid(found: KeyTestFindings, trouble: FailureClass) -> None:
    found.chat = ProbeExchange(5, 5, Failure(failure_class=trouble, message="trouble"))
    assert conclude_findings(found).result in (KeyTestResult.INCONCLUSIVE, KeyTestResult.DEGRADED)
    assert conclude_findings(found).result is KeyTestResult.INCONCLUSIVE or found.credit.enough is False
