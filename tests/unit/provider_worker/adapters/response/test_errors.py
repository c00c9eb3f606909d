"""Providers' errors as failures. The bodies are hand-made after their documentation unless a comment says otherwise."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.failure import FailureClass, Where
from services.provider_worker.adapters.response.errors import (
    coarse_class,
    failure_of_error,
    failure_of_response,
    find_error,
)
from services.provider_worker.adapters.response.json_text import parse_object

C = FailureClass


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, C.BAD_REQUEST), (401, C.AUTH), (402, C.QUOTA), (403, C.AUTH), (404, C.NOT_FOUND), (405, C.BAD_REQUEST),
        (408, C.TIMEOUT), (413, C.BAD_REQUEST), (418, C.BAD_REQUEST), (422, C.BAD_REQUEST), (429, C.RATE_LIMIT),
        (500, C.SERVER), (501, C.SERVER), (502, C.SERVER), (503, C.OVERLOADED), (504, C.TIMEOUT), (529, C.OVERLOADED),
        (599, C.SERVER), (302, C.SERVER), (100, C.SERVER),
    ],
)  # fmt: skip
def test_a_status_alone_decides(status: int, expected: FailureClass) -> None:
    failure = failure_of_response(status, {}, b"")
    assert failure.failure_class is expected
    assert failure.status == status
    assert failure.where is Where.HTTP_STATUS
    assert str(status) in failure.message


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, {"code": "context_length_exceeded", "message": "too long"}, C.CONTEXT_LENGTH),
        (400, {"message": "This model's maximum context length is 8192 tokens."}, C.CONTEXT_LENGTH),
        (400, {"type": "exceed_context_size_error", "code": 400, "message": "the request exceeds"}, C.CONTEXT_LENGTH),
        (400, {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}, C.CONTENT_FILTER),
        (400, {"innererror": {"code": "ResponsibleAIPolicyViolation"}, "message": "no"}, C.CONTENT_FILTER),
        (400, {"message": "API key not valid. Please pass a valid API key."}, C.AUTH),
        (400, {"message": "Invalid model: nope"}, C.NOT_FOUND),
        (400, {"message": "nope/nope is not a valid model ID", "code": 400}, C.NOT_FOUND),
        (
            400,
            {"message": "'temperature' does not support 0.2 with this model.", "code": "unsupported_value"},
            C.BAD_REQUEST,
        ),
        (400, {"message": "Your credit balance is too low to access the API."}, C.QUOTA),
        (
            403,
            {"message": "Input was flagged", "metadata": {"reasons": ["violence"], "flagged_input": "…"}},
            C.CONTENT_FILTER,
        ),
        (403, {"code": "model_not_found", "message": "Project has no access to model"}, C.NOT_FOUND),
        (403, {"code": "unsupported_country_region_territory"}, C.NOT_FOUND),
        (429, {"code": "insufficient_quota", "message": "You exceeded your current quota"}, C.QUOTA),
        (
            429,
            {"code": "rate_limit_exceeded", "message": "Request too large for gpt-4o", "type": "tokens"},
            C.RATE_LIMIT,
        ),
        (429, {"type": "engine_overloaded_error"}, C.OVERLOADED),
        (500, {"code": "context_length_exceeded"}, C.CONTEXT_LENGTH),
        (500, {"message": "the request exceeds the available context size"}, C.CONTEXT_LENGTH),
        (
            400,
            {"message": "This model's maximum prompt length is 8192 but the request contains 9000."},
            C.CONTEXT_LENGTH,
        ),
        (400, {"message": "The prompt (length 9) is longer than the maximum model length of 8."}, C.CONTEXT_LENGTH),
        (422, {"message": "`inputs` tokens + `max_new_tokens` must be <= 8193."}, C.CONTEXT_LENGTH),
        (422, {"message": "`inputs` must have less than 4095 tokens. Given: 5000"}, C.CONTEXT_LENGTH),
        (413, {"code": "tokens_limit_reached", "message": "Request body too large."}, C.CONTEXT_LENGTH),
        (
            413,
            {"code": "rate_limit_exceeded", "message": "Request too large, please reduce your message size"},
            C.CONTEXT_LENGTH,
        ),
        (400, {"message": "Content Exists Risk", "code": "invalid_request_error"}, C.CONTENT_FILTER),
        (403, {"message": "Content violates usage guidelines."}, C.CONTENT_FILTER),
        (403, {"message": "Your team has used all available credits."}, C.QUOTA),
        (403, {"message": "Your new team doesn't have any credits yet."}, C.QUOTA),
        (412, {"message": "The account is suspended: the monthly spending limit is reached."}, C.QUOTA),
        (401, {"type": "insufficient_quota", "message": "No more.", "code": 401}, C.QUOTA),
        (400, {"message": "Model Not Exist", "code": "invalid_request_error"}, C.NOT_FOUND),
        (400, {"code": "model_not_supported", "message": "No provider has it."}, C.NOT_FOUND),
        (429, {"message": "Model busy, retry later"}, C.OVERLOADED),
        (498, {"code": "capacity_exceeded", "message": "No room in this tier"}, C.OVERLOADED),
        (424, {"message": "Request failed during generation"}, C.SERVER),
    ],
)
def test_a_body_refines_a_status(status: int, error: dict[str, object], expected: FailureClass) -> None:
    failure = failure_of_response(status, {}, json.dumps({"error": error}).encode())
    assert failure.failure_class is expected


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (401, {"message": "the model does not exist"}, C.AUTH),
        (402, {"message": "maximum context length"}, C.QUOTA),
        (500, {"message": "invalid api key"}, C.SERVER),
        (500, {"code": "invalid_api_key"}, C.SERVER),
        (503, {"code": "invalid_api_key"}, C.OVERLOADED),
        (429, {"message": "Invalid API key"}, C.RATE_LIMIT),
        (400, {"message": "The tool is overloaded with parameters"}, C.BAD_REQUEST),
        (412, {"message": "maximum context length"}, C.BAD_REQUEST),
    ],
)
def test_a_body_does_not_contradict_a_status(status: int, error: dict[str, object], expected: FailureClass) -> None:
    assert failure_of_response(status, {}, json.dumps({"error": error}).encode()).failure_class is expected


def test_moderation_in_nested_json_is_found() -> None:
    raw = json.dumps({"error": {"code": "content_policy_violation", "message": "The prompt was refused."}})
    body = {
        "error": {"code": 403, "message": "Provider returned error", "metadata": {"raw": raw, "provider_name": "X"}}
    }
    failure = failure_of_response(403, {}, json.dumps(body).encode())
    assert failure.failure_class is C.CONTENT_FILTER
    assert failure.message == "The prompt was refused."
    assert failure.provider_code == "content_policy_violation"


def test_an_error_in_a_list_in_nested_text_is_found() -> None:
    raw = json.dumps([{"error": {"code": 429, "message": "Retry in 9.5s.", "details": [{"retryDelay": "9s"}]}}])
    body = {"error": {"code": 429, "message": "Provider returned error", "metadata": {"raw": raw}}}
    failure = failure_of_response(429, {}, json.dumps(body).encode())
    assert (failure.message, failure.retry_after_ms) == ("Retry in 9.5s.", 9000)


def test_nested_text_that_is_not_json_is_the_message() -> None:
    body = {"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": "<h1>Bad gateway</h1>"}}}
    assert failure_of_response(502, {}, json.dumps(body).encode()).message == "Bad gateway"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"upstream connect error", "upstream connect error"),
        (b"<html><head><style>a{}</style></head><body><h1>Bad gateway</h1></body></html>", "Bad gateway"),
        (b'{"detail": "Unauthorized"}', "Unauthorized"),
        (b'{"detail": [{"msg": "field required", "loc": ["body"]}]}', "field required"),
        (b'{"code": "x", "error": "At capacity."}', "At capacity."),
        (
            b'{"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "code": "1300"}',
            "Rate limit exceeded",
        ),
        (b'{"id": "1", "message": "flat"}', "flat"),
        (b'{"error": {"message": "line one\\nline two"}}', "line one line two"),
        (b'{"detail": {"error": "no user"}}', "no user"),
        (b'{"object": "error", "message": {"detail": [{"loc": ["body"], "msg": "too small"}]}}', "too small"),
        (b'{"errors": [{"message": "bad input", "code": 5006}], "success": false}', "bad input"),
        (b'[{"error": {"code": 500, "message": "in a list"}}]', "in a list"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[1, 2]", "[1, 2]"),
    ],
)
def test_every_shape_of_error_yields_its_message(body: bytes, message: str) -> None:
    assert failure_of_response(500, {}, body).message == message


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Incorrect API key provided: sk-proj-abc***XYZ.", "abc***XYZ"),
        ("Incorrect API key provided: sk-or-v1-0123456789abcdef", "0123456789abcdef"),
        ("key gsk_aBcD1234efgh5678 is unknown", "aBcD1234efgh5678"),
        ("Bearer abcdef.ghi was refused", "abcdef.ghi"),
        ("Rate limit in organization org-aB3dE5fG7h on tokens", "org-aB3dE5fG7h"),
        ("project proj_aB3dE5 is archived", "proj_aB3dE5"),
        ("account jane.doe+x@example.com has no credit", "jane.doe"),
        ("arn:aws:iam::123456789012:user/x", "123456789012"),
        ("subscription 01234567-89ab-cdef-0123-456789abcdef", "01234567-89ab"),
        ("key 0123456789abcdef0123456789abcdef is invalid", "0123456789abcdef0123456789abcdef"),
        ("AIzaSyA1234567890abcdefg", "SyA1234567890"),
        ("connect to 10.1.2.3:8443 failed", "10.1.2.3"),
    ],
)
def test_messages_are_sanitised(text: str, secret: str) -> None:
    message = failure_of_response(401, {}, json.dumps({"error": {"message": text}}).encode()).message
    assert secret not in message
    assert "[redacted]" in message


@pytest.mark.parametrize(
    "text",
    [
        "The model `gpt-4o-mini` does not exist.",
        "Use meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8.",
        "Limit 30000, requested 50000.",
    ],
)
def test_harmless_messages_stay_as_they_are(text: str) -> None:
    assert failure_of_response(400, {}, json.dumps({"error": {"message": text}}).encode()).message == text


def test_messages_are_short() -> None:
    assert len(failure_of_response(400, {}, b"word " * 10_000).message) <= 600


def test_codes_that_are_not_plain_words_are_dropped() -> None:
    codes: tuple[object, ...] = ("sk-live-ABC123456", "a b", "x" * 100, 7, None, {})
    for code in codes:
        failure = failure_of_response(400, {}, json.dumps({"error": {"code": code, "message": "m"}}).encode())
        assert failure.provider_code is None


def test_a_numeric_code_is_a_status_and_the_type_is_the_code() -> None:
    error = {"code": "404", "type": "not_found_error", "message": "m"}
    assert failure_of_response(404, {}, json.dumps({"error": error}).encode()).provider_code == "not_found_error"


DATE = "Tue, 07 Oct 2025 13:56:00 GMT"


@pytest.mark.parametrize(
    ("headers", "retry_after_ms"),
    [
        ({"retry-after": "2"}, 2000),
        ({"retry-after": "1.5"}, 1500),
        ({"retry-after": "1", "retry-after-ms": "0"}, 0),
        ({"retry-after": "-4"}, 0),
        ({"retry-after": "999999999"}, 7 * 24 * 3600 * 1000),
        ({"retry-after": "Tue, 07 Oct 2025 13:57:00 GMT", "date": DATE}, 60_000),
        ({"retry-after": "Tue, 07 Oct 2025 13:50:00 GMT", "date": DATE}, 0),
        ({"retry-after": "Tue, 07 Oct 2025 13:57:00 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, 7 * 24 * 3600 * 1000),
        ({"retry-after": "99999999999999999999"}, 7 * 24 * 3600 * 1000),
        ({"retry-after": "-1e300"}, 0),
        ({"retry-after": "99999999999999999999999999, 1 Jan 1"}, None),
        ({}, None),
    ],
)
def test_retry_headers_set_the_wait(headers: dict[str, str], retry_after_ms: int | None) -> None:
    assert failure_of_response(429, headers, b"").retry_after_ms == retry_after_ms


@pytest.mark.parametrize(
    ("message", "retry_after_ms"),
    [
        ("Limit 3. Please try again in 20s. Visit the page to learn more.", 20_000),
        ("Please try again in 1m2.5s.", 62_500),
        ("Please try again in 345ms. Need more?", 345),
        ("Please retry after 6 seconds. Please go here.", 6000),
        ("Please wait 54 seconds before retrying.", 54_000),
        ("Please retry in 2h3m.", 7_380_000),
        ("try again after 1 seconds", 1000),
        ("Try again in 2 minutes", 120_000),
        ("Please try again in 999999999h", 7 * 24 * 3600 * 1000),
        ("Please try again later. It takes 20s.", None),
        ("You may retry 3 times.", None),
        ("try again in 5 models", None),
    ],
)
def test_the_wait_may_be_in_the_message(message: str, retry_after_ms: int | None) -> None:
    body = json.dumps({"error": {"message": message}}).encode()
    assert failure_of_response(429, {}, body).retry_after_ms == retry_after_ms
    assert failure_of_response(429, {"retry-after": "3"}, body).retry_after_ms == 3000
    assert failure_of_error({"message": message}, Where.MID_STREAM, {}).retry_after_ms == retry_after_ms


def test_the_wait_in_googles_details_wins_over_the_message() -> None:
    error = {"message": "Please retry in 36.13s.", "details": [{"reason": "X"}, {"retryDelay": "36s"}]}
    assert failure_of_response(429, {}, json.dumps([{"error": error}]).encode()).retry_after_ms == 36_000


def test_a_reset_time_in_the_body_is_relative_to_the_responses_date() -> None:
    error = {
        "code": 429,
        "message": "free-models-per-min",
        "metadata": {"headers": {"X-RateLimit-Reset": "1759845420000"}},
    }
    body = json.dumps({"error": error}).encode()
    assert failure_of_response(429, {"date": DATE}, body).retry_after_ms == 60_000
    assert failure_of_response(429, {}, body).retry_after_ms is None
    assert failure_of_response(429, {"date": DATE, "retry-after": "3"}, body).retry_after_ms == 3000


@pytest.mark.parametrize(
    ("error", "failure_class", "status"),
    [
        ({"code": 502, "message": "Error processing stream"}, C.SERVER, 502),
        ({"code": "429", "message": "slow down"}, C.RATE_LIMIT, 429),
        ({"status_code": 400, "code": "tool_use_failed"}, C.BAD_REQUEST, 400),
        ({"code": "rate_limit_exceeded"}, C.RATE_LIMIT, 429),
        ({"type": "overloaded_error", "message": "Overloaded"}, C.OVERLOADED, 503),
        ({"type": "invalid_request_error", "message": "maximum context length is 10"}, C.CONTEXT_LENGTH, 400),
        ({"type": "invalid_request_error", "message": "bad"}, C.BAD_REQUEST, 400),
        ({"message": "something"}, C.SERVER, None),
        ({"code": 7}, C.SERVER, None),
        ("plain text", C.SERVER, None),
        (True, C.SERVER, None),
    ],
)
def test_an_error_inside_a_200_has_its_own_status_or_its_codes(
    error: object, failure_class: FailureClass, status: int | None
) -> None:
    failure = failure_of_error(error, Where.MID_STREAM, {"retry-after": "2"})
    assert (failure.failure_class, failure.status, failure.where) == (failure_class, status, Where.MID_STREAM)
    assert failure.retry_after_ms is None, "some providers send retry-after with every 200"


def test_there_are_eight_coarse_classes() -> None:
    assert {coarse_class(failure_class) for failure_class in FailureClass} == {
        "auth", "rate_limit", "overloaded", "context_length", "content_filter", "not_found", "bad_request", "server"
    }  # fmt: skip


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "code",
                    "type",
                    "status",
                    "metadata",
                    "raw",
                    "headers",
                    "detail",
                    "param",
                    "innererror",
                    "Retry-After",
                ]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)


@given(JSON, st.integers(100, 599))
def test_any_error_body_is_read(document: object, status: int) -> None:
    body = json.dumps(document).encode()
    assert failure_of_response(status, {}, body).message
    parsed = parse_object(body)
    if parsed is not None:
        error = find_error(parsed)
        assert error is None or failure_of_error(error, Where.HTTP_200_BODY, {}).message


@given(st.binary(max_size=300), st.integers(100, 599), st.text(max_size=30))
def test_any_bytes_are_read(body: bytes, status: int, retry_after: str) -> None:
    assert failure_of_response(status, {"retry-after": retry_after, "date": retry_after}, body).message
