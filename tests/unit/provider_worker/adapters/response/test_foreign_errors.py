"""Errors in a form that is not the provider's own, as load balancers and validators in front of it send them."""

import json

import pytest

from keyferry.contracts.failure import FailureClass, Where
from services.provider_worker.adapters.bedrock.errors import failure_of_response as bedrock_failure
from services.provider_worker.adapters.cohere.errors import failure_of_document as cohere_document
from services.provider_worker.adapters.cohere.errors import failure_of_response as cohere_failure
from services.provider_worker.adapters.openai_compatible.errors import failure_in_body

_TEXT = "prompt is too long: 9000 tokens > 8192 maximum"
_BODIES = [
    {"error": {"message": _TEXT, "type": "invalid_request_error"}},
    {"error": _TEXT},
    {"detail": _TEXT},
    {"detail": [{"loc": ["body"], "msg": _TEXT}]},
    {"errors": [{"message": _TEXT}]},
]


@pytest.mark.parametrize("body", _BODIES, ids=json.dumps)
def test_the_explanation_is_found_in_any_form(body: dict[str, object]) -> None:
    for read in (bedrock_failure, cohere_failure):
        failure = read(400, {}, json.dumps(body).encode())
        assert (failure.message, failure.failure_class) == (_TEXT, FailureClass.CONTEXT_LENGTH)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"code": "1113", "msg": "no balance", "success": False}, "no balance"),
        ({"success": False, "errors": [{"code": 7003, "message": "no route"}], "result": None}, "no route"),
        ({"choices": None, "errors": [{"message": "no route"}]}, "no route"),
        ({"choices": [], "code": 500, "msg": "busy"}, "busy"),
    ],
    ids=json.dumps,
)
def test_an_error_under_status_200_keeps_its_explanation(body: dict[str, object], message: str) -> None:
    failure = failure_in_body(json.dumps(body).encode(), {})
    assert failure is not None
    assert failure.message == message


def test_an_answer_with_a_message_beside_it_is_no_error() -> None:
    for answer in ({"choices": [{"index": 0}], "msg": "ok"}, {"data": [{"index": 0}], "msg": "ok"}):
        assert failure_in_body(json.dumps(answer).encode(), {}) is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (_TEXT, FailureClass.CONTEXT_LENGTH),
        ("invalid api token", FailureClass.AUTH),
        ("something broke", FailureClass.SERVER),
    ],
)
def test_cohere_errors_under_status_200_have_their_class(message: str, expected: FailureClass) -> None:
    failure = cohere_document({"message": message}, Where.HTTP_200_BODY)
    assert failure is not None
    assert failure.failure_class is expected
