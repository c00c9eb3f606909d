"""Google's errors and the classes they fall into. Forms that were not recorded are hand-made after `google/rpc/status.proto`."""

import json
from typing import Any

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.gemini.errors import failure_of_response

C = FailureClass
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "55s"}


def failure(status: int, error: object, headers: dict[str, str] | None = None) -> Failure:
    return failure_of_response(status, headers or {}, json.dumps({"error": error}).encode())


def quota(quota_id: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota_id}]}


@pytest.mark.parametrize(
    ("status", "error", "failure_class"),
    [
        (400, {"message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}, C.AUTH),
        (400, {"message": "x", "details": [{"reason": "API_KEY_INVALID"}]}, C.AUTH),
        (400, {"message": "API key expired. Please renew the API key."}, C.AUTH),
        (400, {"message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."}, C.CONTEXT_LENGTH),
        (400, {"message": "* GenerateContentRequest.model: unexpected model name format"}, C.NOT_FOUND),
        (400, {"message": "User location is not supported for the API use.", "status": "FAILED_PRECONDITION"}, C.NOT_FOUND),
        (400, {"message": "Your prompt violates our policies."}, C.CONTENT_FILTER),
        (400, {"message": "Invalid JSON payload received.", "status": "INVALID_ARGUMENT"}, C.BAD_REQUEST),
        (401, {"message": "x", "status": "UNAUTHENTICATED", "details": [{"reason": "ACCESS_TOKEN_EXPIRED"}]}, C.AUTH),
        (403, {"message": "x", "status": "PERMISSION_DENIED"}, C.AUTH),
        (403, {"message": "x", "details": [{"reason": "BILLING_DISABLED"}]}, C.QUOTA),
        (403, {"message": "This API method requires billing to be enabled."}, C.QUOTA),
        (404, {"message": "models/x is not found for API version v1beta", "status": "NOT_FOUND"}, C.NOT_FOUND),
        (413, {"message": "Request payload size exceeds the limit"}, C.BAD_REQUEST),
        (429, {"message": "Resource has been exhausted (e.g. check quota).", "status": "RESOURCE_EXHAUSTED"}, C.RATE_LIMIT),
        (
            429,
            {
                "message": "You exceeded your current quota, please check your plan and billing details.",
                "details": [quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), RETRY],
            },
            C.RATE_LIMIT,
        ),
        (429, {"message": "x", "details": [quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")]}, C.QUOTA),
        (429, {"message": "You exceeded your current quota … limit: 0, model: gemini-2.5-pro"}, C.QUOTA),
        (429, {"message": "Your prepayment credits are depleted."}, C.QUOTA),
        (499, {"message": "The operation was cancelled.", "status": "CANCELLED"}, C.SERVER),
        (500, {"message": "An internal error has occurred.", "status": "INTERNAL"}, C.SERVER),
        (503, {"message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}, C.OVERLOADED),
        (504, {"message": "Deadline expired", "status": "DEADLINE_EXCEEDED"}, C.TIMEOUT),
        # The status goes before the text: a message that quotes a prompt proves nothing.
        (500, {"message": "API key not valid"}, C.SERVER),
        (404, {"message": "API key not valid"}, C.NOT_FOUND),
    ],
)  # fmt: skip
def test_status_and_body_decide_the_class(status: int, error: dict[str, Any], failure_class: FailureClass) -> None:
    found = failure(status, error)
    assert (found.failure_class, found.status, found.where) == (failure_class, status, Where.HTTP_STATUS)


@pytest.mark.parametrize(
    ("error", "headers", "wait_ms"),
    [
        ({"details": [RETRY]}, {}, 55_000),
        ({"details": [{"retryDelay": "0.407818121s"}]}, {}, 408),
        ({"details": [RETRY]}, {"retry-after": "3"}, 3_000),
        ({"message": "Quota exceeded. Please retry in 36.998s."}, {}, 36_998),
        ({"details": [{"retryDelay": "99999999s"}]}, {}, 7 * 24 * 3600 * 1000),
        ({"details": [{"retryDelay": "soon"}, {"retryDelay": {"seconds": 3}}]}, {}, None),
        ({"message": "Resource has been exhausted"}, {}, None),
    ],
)
def test_the_wait_comes_from_a_header_or_the_body(
    error: dict[str, Any], headers: dict[str, str], wait_ms: int | None
) -> None:
    assert failure(429, error, headers).retry_after_ms == wait_ms


def test_the_json_list_of_a_stream_may_hold_the_error() -> None:
    found = failure_of_response(400, {}, b'[{\n "error": {"code": 400, "message": "API key not valid."}}\n]')
    assert found.failure_class is C.AUTH
    assert found.message == "API key not valid."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The provider answered with status 502 and no explanation."),
        (b"<html><title>502</title>Bad Gateway</html>", "502 Bad Gateway"),
        (b"upstream connect error", "upstream connect error"),
        (b'{"error": "invalid_grant", "error_description": "Bad token"}', "Bad token"),
        (b'{"code": 5, "message": "flat"}', "flat"),
        (b"[]", "[]"),
    ],
)
def test_errors_in_other_shapes_are_explained(body: bytes, message: str) -> None:
    found = failure_of_response(502, {}, body)
    assert (found.failure_class, found.message) == (C.SERVER, message)


def test_googles_field_violation_is_the_param() -> None:
    details = [{"fieldViolations": [{"field": "generation_config.top_k", "description": "too large"}]}]
    found = failure(400, {"message": "x", "status": "INVALID_ARGUMENT", "details": details})
    assert (found.param, found.provider_code) == ("generation_config.top_k", "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "text",
    [
        "Publisher Model `projects/secret-project-1/locations/us-central1/models/x` not found.",
        "Generative Language API has not been used in project 481516234 before or it is disabled.",
        "Permission denied on resource project secret-project-1.",
        "Quota exceeded for consumer 'project_number:481516234'.",
        "Consumer 'api_key:AIzaSyA-secret-481516234-abcdefghij' has been suspended.",
    ],
)
def test_messages_name_no_project_and_no_key(text: str) -> None:
    message = failure(403, {"message": text}).message
    assert message
    for secret in ("secret", "481516234"):
        assert secret not in message
