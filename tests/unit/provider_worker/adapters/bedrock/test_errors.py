"""Bedrock's errors: the name from a header, the status, and the message. Bodies are hand-made."""

import json

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from tests.unit.provider_worker.adapters.bedrock.exchanges import bedrock_run, read

C = FailureClass
AWS = ":http://internal.amazon.com/coral/com.amazon.bedrock/"


def failure(status: int, name: str, message: str, body: bytes | None = None, wait: str = "") -> Failure:
    known = {"x-amzn-errortype": name} if name else {}
    content = json.dumps({"message": message}).encode() if body is None else body
    chunks, answer = read(content, status=status, headers={**known, "retry-after": wait}, run=bedrock_run())
    assert chunks == []
    assert answer.failure is not None
    return answer.failure


@pytest.mark.parametrize(
    ("status", "name", "message", "expected"),
    [
        (400, "ValidationException", "The provided model identifier is invalid.", C.NOT_FOUND),
        (
            400,
            "ValidationException",
            "Invocation of model ID m with on-demand throughput isn’t supported.",
            C.NOT_FOUND,
        ),
        (400, "ValidationException", "Input is too long for requested model.", C.CONTEXT_LENGTH),
        (400, "ValidationException", "prompt is too long: 210000 tokens > 200000 maximum", C.CONTEXT_LENGTH),
        (400, "ValidationException", "Number of input tokens exceeds maximum length.", C.CONTEXT_LENGTH),
        (400, "ValidationException", "Malformed input request.", C.BAD_REQUEST),
        (400, "ServiceQuotaExceededException", "Too many tokens in your quota.", C.QUOTA),
        (403, "AccessDeniedException", "You are not authorized to perform this action.", C.AUTH),
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", C.NOT_FOUND),
        (403, "UnrecognizedClientException", "The security token included in the request is invalid.", C.AUTH),
        (403, "ExpiredTokenException", "The security token included in the request is expired", C.AUTH),
        (400, "IncompleteSignatureException", "Authorization header requires 'Credential'.", C.AUTH),
        (404, "ResourceNotFoundException", "Could not resolve the foundation model.", C.NOT_FOUND),
        (408, "ModelTimeoutException", "Model timeout.", C.TIMEOUT),
        (424, "ModelErrorException", "The model failed.", C.SERVER),
        (429, "ThrottlingException", "Too many tokens, please wait before trying again.", C.RATE_LIMIT),
        (429, "ModelNotReadyException", "Try again.", C.OVERLOADED),
        (500, "InternalServerException", "Sorry.", C.SERVER),
        (503, "ServiceUnavailableException", "Full.", C.OVERLOADED),
        (429, "", "Too many requests", C.RATE_LIMIT),
        (418, "SomethingNewException", "I'm a teapot.", C.BAD_REQUEST),
        (599, "", "", C.SERVER),
    ],
)
def test_errors_map_to_failure_classes(status: int, name: str, message: str, expected: FailureClass) -> None:
    found = failure(status, name + AWS if name else "", message)
    assert (found.failure_class, found.status, found.where) == (expected, status, Where.HTTP_STATUS)
    assert found.provider_code == (name or None)
    assert found.message


def test_the_exception_name_may_be_in_the_body() -> None:
    body = b'{"__type":"com.amazon.coral.service#ThrottlingException","Message":"Slower."}'
    found = failure(400, "", "", body)
    assert (found.failure_class, found.message) == (C.RATE_LIMIT, "Slower.")


def test_the_wait_is_read_from_the_header() -> None:
    assert failure(429, "ThrottlingException", "Slower.", wait="7").retry_after_ms == 7000


def test_an_html_page_is_reduced_to_text() -> None:
    found = failure(503, "", "", b"<html><style>p{}</style><p>Service Unavailable</p></html>")
    assert (found.failure_class, found.message) == (C.OVERLOADED, "Service Unavailable")


def test_account_ids_are_redacted() -> None:
    found = failure(403, "AccessDeniedException", "User: arn:aws:iam::123456789012:user/me is not authorized")
    assert "123456789012" not in found.message
