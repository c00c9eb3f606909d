"""Cohere's rare response shapes, streamed or not. All of them are hand-made: no recording has them."""

import base64
import json
import struct

import pytest

from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.usage import UsageSource
from services.provider_worker.adapters.adapter import Answer
from tests.unit.provider_worker.adapters.cohere.exchanges import (
    ADAPTER,
    DONE,
    START,
    cohere_run,
    deltas,
    event,
    message_end,
    piece,
    read,
    read_complete,
)

C = FailureClass
TEXT = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}


def text(detail: str) -> bytes:
    return piece("content-delta", content={"text": detail})


def call(index: int, call_id: str, name: str, arguments: str) -> bytes:
    function = {"name": name, "arguments": arguments}
    return piece("tool-call-start", index, tool_calls={"id": call_id, "type": "function", "function": function})


def more(index: int, arguments: str) -> bytes:
    return piece("tool-call-delta", index, tool_calls={"function": {"arguments": arguments}})


def test_a_text_answer() -> None:
    chunks, answer = read(START, text("Hel"), text("lo"), message_end(), DONE)
    assert deltas(chunks) == [{"role": "assistant", "content": "Hel"}, {"content": "lo"}, {}]
    assert {chunk["id"] for chunk in chunks} == {"answer-1"}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    assert chunks[-1]["usage"] == usage | {"billed_units": {"input_tokens": 2, "output_tokens": 2}}
    assert (answer.failure, answer.finish_reason, answer.token_usage.total) == (None, "stop", 11)


def test_parallel_calls_and_the_plan_before_them() -> None:
    chunks, answer = read(
        START,
        piece("tool-plan-delta", tool_plan="I will "),
        piece("tool-plan-delta", tool_plan="look."),
        call(0, "a", "f", ""),
        more(0, '{"x":'),
        more(0, "1}"),
        event("tool-call-end", index=0),
        call(1, "b", "g", ""),
        event("tool-call-end", index=1),
        message_end("TOOL_CALL"),
    )
    found = deltas(chunks)
    assert [one["reasoning_content"] for one in found[:2]] == ["I will ", "look."]
    plan = {"index": 0, "type": "reasoning.text", "format": "cohere-tool-plan-v1", "text": "I will look."}
    assert found[2] == {"reasoning_details": [plan]}
    pieces = [part for one in found for part in _parts(one)]
    assert [part["index"] for part in pieces] == [0, 0, 0, 1, 1]
    assert [part.get("id") for part in pieces] == ["a", None, None, "b", None]
    assert pieces[-1]["function"] == {"arguments": "{}"}
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize(("reason", "failure_class", "status"), [("ERROR", C.SERVER, 500), ("TIMEOUT", C.TIMEOUT, 504)])
def test_a_failure_in_the_last_event(reason: str, failure_class: FailureClass, status: int) -> None:
    """Hand-made: nothing of the answer has come, so nothing is delivered."""
    chunks, answer = read(START, message_end(reason, error="Sorry.", error_type="SOMETHING"), DONE)
    assert chunks == []
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.status) == (failure_class, status)
    assert (answer.failure.message, answer.failure.provider_code) == ("Sorry.", "SOMETHING")
    assert answer.failure.where is Where.HTTP_200_BODY
    _, answer = read(START, text("Hi"), message_end(reason))
    assert answer.failure is not None
    assert answer.failure.where is Where.MID_STREAM


def test_a_failure_in_a_non_streamed_answer() -> None:
    failure = read_complete({"id": "a", "message": TEXT, "finish_reason": "ERROR"}).failure
    assert failure is not None
    assert (failure.failure_class, failure.status, failure.where) == (C.SERVER, 500, Where.HTTP_200_BODY)
    assert "ERROR" in failure.message


@pytest.mark.parametrize(
    "document", [{"id": "a", "message": "internal error"}, {"message": "no"}, {}, {"id": "a"}, [], "x", None]
)
def test_a_document_without_an_answer_is_a_failure(document: object) -> None:
    assert read_complete(document).failure is not None
    chunks, answer = read(json.dumps(document).encode())
    assert (chunks, answer.failure is not None) == ([], True)


def test_half_a_document_is_truncated() -> None:
    answer = read(b'{"id": "a", "mess', run=cohere_run())[1]
    assert answer.failure is not None
    assert answer.failure.failure_class is C.TRUNCATED


@pytest.mark.parametrize("body", [START, START + text("Hel"), START + text("Hel") + DONE])
def test_a_stream_without_its_last_event_is_truncated(body: bytes) -> None:
    _, answer = read(body)
    assert answer.failure is not None
    assert answer.failure.failure_class is C.TRUNCATED


def test_a_last_event_without_its_blank_line_is_delivered_late() -> None:
    _, answer = read(START, text("Hi"), message_end().rstrip())
    assert answer.failure is None
    assert [chunk["choices"][0]["finish_reason"] for chunk in map(json.loads, answer.late) if chunk["choices"]] == [
        "stop"
    ]
    _, cut = read(START, text("Hi"), message_end().rstrip()[:-1])
    assert cut.late == ()
    assert cut.failure is not None
    assert cut.failure.failure_class is C.TRUNCATED


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("COMPLETE", "stop"), ("STOP_SEQUENCE", "stop"), ("MAX_TOKENS", "length"), ("A_WORD_OF_TOMORROW", "stop")],
)
def test_finish_reasons(reason: str, finish: str) -> None:
    assert read(START, text("x"), message_end(reason))[1].finish_reason == finish
    assert read_complete({"message": TEXT, "finish_reason": reason}).finish_reason == finish


def test_unknown_events_are_ignored() -> None:
    chunks, answer = read(START, event("debug", prompt="..."), text("x"), event("a-kind-of-tomorrow"), message_end())
    assert answer.failure is None
    assert deltas(chunks) == [{"role": "assistant", "content": "x"}, {}]


def test_error_events_and_events_without_a_type() -> None:
    for body in (b'event: error\ndata: {"message":"Sorry."}\n\n', event("error", message="Sorry.")):
        chunks, answer = read(START, body)
        assert chunks == []
        assert answer.failure is not None
        assert (answer.failure.message, answer.failure.where) == ("Sorry.", Where.HTTP_200_BODY)


def test_citations_and_log_probabilities_are_returned() -> None:
    citation = {"start": 0, "end": 2, "text": "Hi", "sources": []}
    logprobs = [{"text": "Hi", "token_ids": [1, 2], "logprobs": [-0.25, -0.5]}]
    entry = {"token": "Hi", "logprob": -0.75, "bytes": [72, 105], "top_logprobs": []}
    answer = read_complete(
        {"message": TEXT | {"citations": [citation]}, "finish_reason": "COMPLETE", "logprobs": logprobs}
    )
    choice = json.loads(answer.body)["choices"][0]
    assert choice["message"]["citations"] == [citation]
    assert choice["logprobs"]["content"] == [entry]
    streamed = event("content-delta", index=0, logprobs=logprobs[0], delta={"message": {"content": {"text": "Hi"}}})
    chunks, _ = read(START, streamed, piece("citation-start", citations=citation), message_end())
    first = chunks[0]["choices"]
    assert isinstance(first, list)
    assert first[0]["logprobs"]["content"] == [entry]
    assert deltas(chunks)[1] == {"citations": [citation]}


def test_billed_units_are_used_without_token_counts() -> None:
    answer = read_complete(
        {"message": TEXT, "finish_reason": "COMPLETE", "usage": {"billed_units": {"input_tokens": 4.0}}}
    )
    assert (answer.token_usage.input, answer.token_usage.total, answer.usage_source) == (4, 4, UsageSource.REPORTED)
    nothing = read_complete({"message": TEXT, "finish_reason": "COMPLETE", "usage": {}})
    assert nothing.usage_source is UsageSource.NONE
    assert "usage" not in json.loads(nothing.body)


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (400, "invalid request: message must be at least 1 token long", C.BAD_REQUEST),
        (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292.", C.CONTEXT_LENGTH),
        (400, "too many tokens: max tokens must be less than or equal to 4096", C.BAD_REQUEST),
        (401, "invalid api token", C.AUTH),
        (402, "Please add or update your payment method.", C.QUOTA),
        (403, "Forbidden.", C.AUTH),
        (404, "model 'x' not found, make sure the correct model ID was used", C.NOT_FOUND),
        (422, "model 'x' does not exist", C.NOT_FOUND),
        (422, "unprocessable", C.BAD_REQUEST),
        (429, "You are using a Trial key, which is limited to 40 API calls / minute.", C.RATE_LIMIT),
        (429, "You are using a Trial key, which is limited to 1000 API calls / month.", C.QUOTA),
        (498, "invalid token", C.AUTH),
        (499, "request cancelled", C.SERVER),
        (500, "internal server error", C.SERVER),
        (503, "upstream connect error", C.OVERLOADED),
        (504, "timeout", C.TIMEOUT),
        (418, "", C.BAD_REQUEST),
    ],
)  # fmt: skip
def test_errors_map_to_failure_classes(status: int, message: str, expected: FailureClass) -> None:
    body = json.dumps({"id": "2d4609a6-d1f9-4cf4-8d09-af865409bdc2", "message": message}).encode()
    _, answer = read(body, status=status, headers={"retry-after": "3"})
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.status) == (expected, status)
    assert answer.failure.retry_after_ms == 3000
    assert answer.failure.message


def test_an_html_page_is_reduced_to_text() -> None:
    _, answer = read(b"<html><p>Bad Gateway</p></html>", status=502)
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.message) == (C.SERVER, "Bad Gateway")


def read_embeddings(document: object, **fields: object) -> Answer:
    run = cohere_run(embedding=True)
    request = ADAPTER.request(run, json.dumps({"input": "x"} | fields).encode())
    reader = ADAPTER.reader(run, request, 200, {})
    reader.feed(json.dumps(document).encode())
    return reader.close()


def test_embeddings_as_little_endian_floats() -> None:
    meta = {"billed_units": {"input_tokens": 7}}
    document = {"embeddings": {"float": [[0.5, -2.0], [1.0, 3.0]]}, "meta": meta}
    answer = read_embeddings(document, encoding_format="base64")
    listed = json.loads(answer.body)
    assert [row["index"] for row in listed["data"]] == [0, 1]
    rows = [struct.unpack("<2f", base64.b64decode(row["embedding"])) for row in listed["data"]]
    assert rows == [(0.5, -2.0), (1.0, 3.0)]
    assert listed["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert answer.token_usage.input == 7
    assert json.loads(read_embeddings(document).body)["data"][0]["embedding"] == [0.5, -2.0]


@pytest.mark.parametrize(
    "document", [{}, {"embeddings": {}}, {"embeddings": {"float": [[1], []]}}, {"message": "no"}, 3]
)
def test_an_answer_without_embeddings_is_a_failure(document: object) -> None:
    assert read_embeddings(document).failure is not None


def _parts(one: dict[str, object]) -> list[dict[str, object]]:
    parts = one.get("tool_calls") or []
    assert isinstance(parts, list)
    return parts
