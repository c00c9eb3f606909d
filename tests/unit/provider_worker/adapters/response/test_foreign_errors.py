"""Errors in a form that is not the provider's own, as load balancers and validators in front of it send them."""

import json

import pytest

from keyferry.contracts.failure import FailureClass
from services.provider_worker.adapters.bedrock.errors import failure_of_response as bedrock_failure
from services.provider_worker.adapters.cohere.errors import failure_of_response as cohere_failure

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
