"""The OpenAI dialect: rejected bodies, statuses that SDKs act upon, and stream events."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.frames import Accepted
from keyferry.contracts.route import DecisionSummary, DropReason, SummarizedCandidate
from keyferry.contracts.usage import KeySource
from keyferry.runtime.http import openai_body
from keyferry.runtime.http.problem import HttpProblem
from services.ingress.dialects import openai

GOOD: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def read(**changes: Any) -> openai_body.ParsedBody:
    return openai_body.read_chat(json.dumps(GOOD | changes).encode())


def test_fields_that_the_ingress_needs_are_read() -> None:
    whole, streamed = read(), read(stream=True, stream_options={"include_usage": True}, tools=[{"type": "function"}])
    assert (whole.model, whole.stream, whole.include_usage, whole.features.tools) == ("m", False, False, False)
    assert (streamed.model, streamed.stream, streamed.include_usage, streamed.features.tools) == ("m", True, True, True)


@pytest.mark.parametrize(
    "extra",
    [
        {"temperature": 1, "top_p": 0.5, "n": 2, "seed": 3, "stop": ["a"], "max_completion_tokens": 5},
        {"response_format": {"type": "json_object"}, "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"provider": {"order": ["x"]}, "top_k": 40, "reasoning_effort": "low"},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}]},
        {"messages": [{"role": "assistant", "content": "x", "reasoning_content": "because"}]},
        {"stream": None, "temperature": None},
    ],
)
def test_openai_fields_and_provider_extensions_pass(extra: dict[str, Any]) -> None:
    read(**extra)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": 7}, "model"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"stream": "yes"}, "stream"),
        ({"temperature": "0.5"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": True}, "n"),
        ({"stop": [1]}, "stop[0]"),
        ({"tools": {"type": "function"}}, "tools"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_wrong_type_is_a_400_that_names_the_parameter(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(HttpProblem) as raised:
        read(**changes)
    assert raised.value.status == 400
    assert raised.value.type == "invalid_request_error"
    assert raised.value.param == param
    assert param in raised.value.message


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_missing_parameter_is_named(missing: str) -> None:
    body = {key: value for key, value in GOOD.items() if key != missing}
    with pytest.raises(HttpProblem, match=f"missing required parameter: {missing}"):
        openai_body.read_chat(json.dumps(body).encode())


@pytest.mark.parametrize("body", [b"", b"{", b"[1,", b'{"model": "m",}', b"\xff\xfe", b'{"a":"\x00"}'])
def test_malformed_json_is_located(body: bytes) -> None:
    with pytest.raises(HttpProblem, match=r"line 1 column|not valid JSON") as raised:
        openai_body.read_chat(body)
    assert raised.value.code == "invalid_json"


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"3"])
def test_body_must_be_a_json_object(body: bytes) -> None:
    with pytest.raises(HttpProblem, match="must be a JSON object"):
        openai_body.read_chat(body)


def test_errors_never_repeat_values() -> None:
    with pytest.raises(HttpProblem) as raised:
        read(temperature="sk-secret-in-the-wrong-place")
    assert "secret" not in raised.value.message


def test_deep_nesting_is_rejected_without_a_crash() -> None:
    with pytest.raises(HttpProblem):
        openai_body.read_chat(b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def failure(failure_class: FailureClass, where: Where = Where.HTTP_STATUS, **more: Any) -> Failure:
    return Failure(failure_class=failure_class, message="why", where=where, **more)


def test_every_failure_class_has_a_status() -> None:
    for failure_class in FailureClass:
        problem = openai.problem_from_failure(failure(failure_class))
        assert 400 <= problem.status < 600


def test_the_end_of_unknown_outcome_has_a_status_and_a_code_of_its_own() -> None:
    """It is no client's fault and no timeout: whether the provider charged for it is unknown."""
    problem = openai.problem_from_failure(failure(FailureClass.INDETERMINATE, Where.NO_ANSWER))
    assert (problem.status, problem.code) == (502, "indeterminate")
    assert problem.headers["x-should-retry"] == "false"


def test_rejected_provider_key_is_never_a_401() -> None:
    """Users take a 401 from the gateway for a bad client token."""
    assert openai.problem_from_failure(failure(FailureClass.AUTH, status=401)).status == 424


@pytest.mark.parametrize("failure_class", [FailureClass.RATE_LIMIT, FailureClass.OVERLOADED, FailureClass.UNAVAILABLE])
def test_every_429_and_503_has_a_retry_after(failure_class: FailureClass) -> None:
    assert int(openai.problem_from_failure(failure(failure_class)).headers["retry-after"]) >= 1
    hinted = openai.problem_from_failure(failure(failure_class, retry_after_ms=2500)).headers
    assert (hinted["retry-after"], hinted["retry-after-ms"]) == ("3", "2500")


@pytest.mark.parametrize("where", [Where.NO_ANSWER, Where.HTTP_200_BODY, Where.MID_STREAM])
def test_sdks_must_not_retry_what_may_have_been_charged(where: Where) -> None:
    assert openai.problem_from_failure(failure(FailureClass.SERVER, where)).headers["x-should-retry"] == "false"
    assert "x-should-retry" not in openai.problem_from_failure(failure(FailureClass.SERVER, Where.HTTP_STATUS)).headers


def test_error_object_has_openai_fields_and_our_own() -> None:
    problem = openai.problem_from_failure(
        failure(FailureClass.RATE_LIMIT, status=429, provider_code="slow_down"), decision_id="dec_1"
    )
    error = json.loads(openai.render_error(problem, "req_1"))["error"]
    assert {"message", "type", "param", "code", "keyferry"} == error.keys()
    assert error["code"] == "rate_limit_exceeded"
    assert error["keyferry"] == {
        "request_id": "req_1",
        "decision_id": "dec_1",
        "failure": "rate_limit",
        "where": "http_status",
        "provider_status": 429,
        "provider_code": "slow_down",
        "retryable": True,
    }


def test_each_line_of_a_payload_is_an_event() -> None:
    assert openai.encode_events(b'{"a":1}') == b'data: {"a":1}\n\n'
    assert openai.encode_events(b'{"a":1}\n{"b":2}') == b'data: {"a":1}\n\ndata: {"b":2}\n\n'


def test_broken_stream_ends_with_an_error_and_no_done() -> None:
    event = openai.render_error_event(
        openai.problem_from_failure(failure(FailureClass.TRUNCATED, Where.MID_STREAM)), "req_1", 1
    )
    assert b"[DONE]" not in event
    chunk = json.loads(event.removeprefix(b"data: "))
    assert chunk["choices"][0]["finish_reason"] == "error"
    assert chunk["error"]["code"] == "answer_truncated"


@pytest.mark.parametrize("given", ["hi", ["a", "b"], [1, 2], [[1, 2], [3]], ["x"] * 2048])
def test_every_form_of_embedding_input_passes(given: Any) -> None:
    body = json.dumps({"model": "m", "input": given, "dimensions": 8, "encoding_format": "base64", "own": 1}).encode()
    parsed = openai_body.read_embedding(body)
    assert (parsed.model, parsed.stream, parsed.include_usage) == ("m", False, False)
    assert parsed.features.input_tokens > 0


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [1, "a"]}, "input[1]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": None}, "input"),
        ({"model": ""}, "model"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_invalid_embedding_request_names_the_parameter(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(HttpProblem) as raised:
        openai_body.read_embedding(json.dumps({"model": "m", "input": "hi"} | changes).encode())
    assert (raised.value.status, raised.value.param) == (400, param)


def test_embedding_request_without_input_is_rejected() -> None:
    with pytest.raises(HttpProblem) as raised:
        openai_body.read_embedding(b'{"model": "m"}')
    assert (raised.value.code, raised.value.param) == ("missing_required_parameter", "input")


@pytest.mark.parametrize("read", [openai_body.read_chat, openai_body.read_embedding])
@pytest.mark.parametrize(
    "model", ["up/raw\x00x", "a\nb", "a\x1b[31m", "\x7f", "\x85", "\u2028", "\u202eb", "\ufffe", "", "x" * 301]
)
def test_a_model_that_cannot_be_recorded_is_refused_by_name(
    read: Callable[[bytes], openai_body.ParsedBody], model: str
) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "input": "x"}
    with pytest.raises(HttpProblem, match="invalid value for model: it should be a text of 1 to 300") as raised:
        read(json.dumps(body).encode())
    assert (raised.value.status, raised.value.param) == (400, "model")


def test_an_unpaired_surrogate_is_invalid_json() -> None:
    with pytest.raises(HttpProblem) as raised:
        openai_body.read_chat(b'{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}')
    assert (raised.value.status, raised.value.code) == (400, "invalid_json")


@pytest.mark.parametrize("payload", [b"", b"{}", b"[1,2]", b"null", b"\n"])
def test_a_payload_that_is_no_object_with_fields_stays_as_it_is(payload: bytes) -> None:
    decision = DecisionSummary(request_id="req_1", decision_id="dec_1", model_asked="m")
    assert openai.add_decision(payload, decision) == payload


@pytest.mark.parametrize(
    "payload",
    [b'{"id":"a"}', b'{\n  "id": "a"\n}\n', b' { "id": "a" }', b'{"id":"a"}\n{"id":"b"}'],
    ids=["compact", "indented, as OpenAI answers", "spaced", "chunks"],
)
def test_the_decision_is_added_however_a_provider_lays_out_its_answer(payload: bytes) -> None:
    decision = DecisionSummary(request_id="req_1", decision_id="dec_1", model_asked="m")
    first, end = json.JSONDecoder().raw_decode(openai.add_decision(payload, decision).decode().lstrip())
    assert (first["id"], first["keyferry"]["decision_id"]) == ("a", "dec_1")
    assert openai.add_decision(payload, decision).decode().lstrip()[end:].strip() in ("", '{"id":"b"}')


def test_a_refusal_carries_the_decision_that_the_request_asked_for() -> None:
    failure = Failure(failure_class=FailureClass.POLICY, message="no key may pay for 'm'")
    decision = DecisionSummary(
        request_id="req_1",
        decision_id="dec_1",
        model_asked="m",
        candidates=[
            SummarizedCandidate(
                provider="openai",
                model="m",
                key_source=KeySource.BYOK,
                reason=DropReason.KEY_UNUSABLE,
                detail="the own key 'main' is expired",
            )
        ],
    )
    problem = openai.problem_from_failure(failure, decision_id="dec_1", decision=decision)
    own = openai.build_error_object(problem, "req_1")["keyferry"]
    assert own["decision"]["candidates"][0]["reason"] == "key_unusable"
    assert "decision" not in openai.build_error_object(openai.problem_from_failure(failure), "req_1")["keyferry"]


def test_a_refusal_after_a_failed_attempt_carries_the_later_decision() -> None:
    """The acceptance of the failed attempt has the decision before."""
    first, later = (
        DecisionSummary(request_id="req_1", decision_id=decision_id, model_asked="m")
        for decision_id in ("dec_1", "dec_2")
    )
    accepted = Accepted(
        attempt_id="att_1",
        instance_id="inst_1",
        attempt_number=1,
        decision_id="dec_1",
        provider="openai",
        model="m",
        key_source=KeySource.BYOK,
        decision=first,
    )
    refused = openai.problem_from_failure(failure(FailureClass.UNAVAILABLE), accepted, "dec_2", later)
    assert (refused.decision_id, refused.decision) == ("dec_2", later)
    ended = openai.problem_from_failure(failure(FailureClass.SERVER), accepted, "dec_1")
    assert (ended.decision_id, ended.decision) == ("dec_1", first)
