"""All parts of a key are secrets; the operator is warned once of a provider that repeats them."""

import gc
import logging
from datetime import UTC, datetime

import pytest

from keyferry.contracts.secret import Secret
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.adapter import Answer, SigV4Auth, UpstreamRequest
from services.provider_worker.redaction.redactors import Redactors
from services.provider_worker.redaction.secret_forms import MARK
from services.provider_worker.upstream.attach_key import attach_key, signature_in

ORIGIN = "https://llm.example"
KEY_ID, SECRET, TOKEN = (
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "IQoJb3JpZ2luX2VjE/4aCXVzLWVhc3Q=",
)


def leased(text: str, key_id: str = "key_1") -> LeasedKey:
    return LeasedKey(
        owner="acme",
        provider="bedrock",
        key_id=key_id,
        version=1,
        origin=ORIGIN,
        not_after_unix_ms=2_000_000_000_000,
        key=Secret(text),
    )


def test_each_part_of_an_access_key_and_the_signature_are_replaced() -> None:
    key = leased(f"{KEY_ID}:{SECRET}:{TOKEN}")
    request = UpstreamRequest(f"{ORIGIN}/model/m/converse", {}, b"{}", auth=SigV4Auth("bedrock", "eu-central-1"))
    headers = attach_key(request, key, datetime(2026, 1, 2, tzinfo=UTC))
    signature = signature_in(headers)
    assert len(signature) == 64
    body = f"'{headers['authorization']}' with {SECRET}, {TOKEN} and {KEY_ID} does not match".encode()
    redactor = Redactors().for_call(key, headers)
    clean = redactor.redact_error_body(body).decode()
    for secret in (KEY_ID, SECRET, TOKEN, signature):
        assert secret not in clean
    assert clean.endswith(f"with {MARK}, {MARK} and {MARK} does not match")
    assert signature not in repr(redactor.redact_headers({"x-signature": signature}))


@pytest.mark.parametrize("part", [KEY_ID, SECRET, TOKEN])
def test_each_part_of_an_access_key_is_replaced_in_answers_too(part: str) -> None:
    """There a part of the whole is not enough, so that each part has to be a secret of its own."""
    key = leased(f"{KEY_ID}:{SECRET}:{TOKEN}")
    answer = Redactors().for_call(key, {}).redact_answer(Answer(body=f'{{"text":"it is {part}."}}'.encode()))
    assert answer.body == f'{{"text":"it is {MARK}."}}'.encode()


def test_the_operator_is_warned_once_for_each_key(caplog: pytest.LogCaptureFixture) -> None:
    redactors, text = Redactors(), "correct-horse.battery~staple+42"
    key = leased(text)
    with caplog.at_level(logging.WARNING):
        for body in (b"nothing", text.encode(), text.encode()):
            redactor = redactors.for_call(key, {})
            redactor.redact_error_body(body)
            redactors.report(redactor, key)
    assert redactors.repetitions == 2
    (record,) = caplog.records
    assert record.__dict__["key_id"] == "key_1"
    assert record.__dict__["origin"] == ORIGIN
    assert text not in str(record.__dict__)


def test_the_forms_of_a_key_do_not_outlive_its_lease() -> None:
    redactors = Redactors()
    key = leased("correct-horse.battery~staple+42")
    redactors.for_call(key, {})
    assert len(redactors._forms) == 1
    del key
    gc.collect()
    assert len(redactors._forms) == 0
