"""Anthropic's errors by status, type and message. The bodies are hand-made after the documentation and recordings."""

import json

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import UpstreamRequest
from tests.support.providers.attempt_runs import attempt_run
from tests.unit.provider_worker.adapters.anthropic.message_events import ADAPTER

C = FailureClass


def failure(status: int, body: bytes, headers: dict[str, str] | None = None) -> Failure:
    reader = ADAPTER.reader(attempt_run(), UpstreamRequest("https://x.test", {}, b""), status, headers or {})
    reader.feed(body)
    answer = reader.close()
    assert answer.failure is not None
    assert answer.failure.where is Where.HTTP_STATUS
    return answer.failure


def error(kind: str, message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}).encode()


TABLE = [
    (400, error("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), C.CONTEXT_LENGTH),
    (400, error("invalid_request_error", "input length and `max_tokens` exceed context limit: 19 + 8 > 20"), C.CONTEXT_LENGTH),
    (400, error("invalid_request_error", "Output blocked by content filtering policy"), C.CONTENT_FILTER),
    (400, error("invalid_request_error", "Your credit balance is too low to access the Anthropic API."), C.QUOTA),
    (400, error("invalid_request_error", "You have reached your specified API usage limits."), C.QUOTA),
    (400, error("invalid_request_error", "This organization has been disabled."), C.AUTH),
    (400, error("invalid_request_error", "max_tokens: Input should be greater than 0"), C.BAD_REQUEST),
    (401, error("authentication_error", "invalid x-api-key"), C.AUTH),
    (402, error("billing_error", "pay"), C.QUOTA),
    (403, error("permission_error", "no"), C.AUTH),
    (404, error("not_found_error", "model: x"), C.NOT_FOUND),
    (413, error("request_too_large", "Request exceeds the maximum size"), C.BAD_REQUEST),
    (413, b"", C.BAD_REQUEST),
    (429, error("rate_limit_error", "This request would exceed your organization's rate limit"), C.RATE_LIMIT),
    (429, error("rate_limit_error", "You have reached the spend limit of your organization"), C.QUOTA),
    (500, error("api_error", "Internal server error"), C.SERVER),
    (500, error("overloaded_error", "Overloaded"), C.OVERLOADED),
    (502, b"<html><h1>Bad gateway</h1></html>", C.SERVER),
    (503, b"upstream connect error or disconnect/reset before headers. reset reason: overflow", C.OVERLOADED),
    (504, error("timeout_error", "Request timed out"), C.TIMEOUT),
    (529, error("overloaded_error", "Overloaded"), C.OVERLOADED),
    (529, b"", C.OVERLOADED),
    (418, b"\xff\x00", C.BAD_REQUEST),
    (302, b"", C.SERVER),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "failure_class"), TABLE)
def test_errors_map_to_failure_classes(status: int, body: bytes, failure_class: FailureClass) -> None:
    found = failure(status, body)
    assert (found.failure_class, found.status) == (failure_class, status)
    assert found.message


def test_the_organisation_is_redacted() -> None:
    organisation = "b1c2d3e4-0000-4000-8000-a1b2c3d4e5f6"
    text = f"This request would exceed the rate limit for your organization ({organisation}) of 50 requests per minute."
    found = failure(429, error("rate_limit_error", text))
    assert organisation not in found.message
    assert "50 requests per minute" in found.message


def test_retry_after_takes_precedence_for_the_wait() -> None:
    headers = {
        "retry-after": "7",
        "date": "Thu, 01 Jan 2026 18:00:00 GMT",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-01-01T18:00:30Z",
    }
    body = error("rate_limit_error", "slow down")
    assert failure(429, body, headers).retry_after_ms == 7000
    del headers["retry-after"]
    assert failure(429, body, headers).retry_after_ms == 30_000
    assert failure(429, body, headers | {"anthropic-ratelimit-requests-remaining": "1"}).retry_after_ms is None
    assert failure(429, body, headers | {"anthropic-ratelimit-requests-reset": "soon"}).retry_after_ms is None
    later = {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2026-01-01T18:01:00"}
    assert failure(429, body, headers | later).retry_after_ms == 60_000
    del headers["date"]
    assert failure(429, body, headers).retry_after_ms is None
    assert failure(529, body, headers).retry_after_ms is None
