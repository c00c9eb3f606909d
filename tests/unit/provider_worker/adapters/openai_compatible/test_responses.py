"""Non-streamed completions in shapes that no recording has. All bodies here are hand-made."""

import json

import pytest

from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.usage import TokenUsage
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.openai_compatible.errors import ErrorReader
from services.provider_worker.adapters.openai_compatible.response import CompletionReader
from services.provider_worker.adapters.response.body import MAX_ANSWER_BYTES, MAX_ERROR_BYTES
from tests.support.providers.attempt_runs import attempt_run

JsonObject = dict[str, object]


def read(body: bytes) -> Answer:
    reader = CompletionReader(attempt_run(), {})
    assert [chunk for at in range(0, len(body), 7) for chunk in reader.feed(body[at : at + 7])] == []
    return reader.close()


def completion(message: object, finish_reason: object = "stop", **fields: object) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return json.dumps(
        {"id": "c1", "object": "chat.completion", "created": 1, "model": "m-1", "choices": [choice], **fields}
    ).encode()


def message_of(answer: Answer) -> JsonObject:
    assert answer.failure is None
    message = json.loads(answer.body)["choices"][0]["message"]
    assert isinstance(message, dict)
    return message


def test_openais_own_shape_passes_byte_for_byte_without_its_keep_alive() -> None:
    body = completion(
        {"role": "assistant", "content": "é"}, usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    )
    answer = read(b"\n   \n\n" + body + b"\n")
    assert answer.body == body
    assert (answer.finish_reason, answer.model_served) == ("stop", "m-1")
    assert answer.token_usage == TokenUsage(input=1, output=2)


@pytest.mark.parametrize(
    ("body", "failure_class", "status"),
    [
        (b'{"error":{"code":401,"message":"x"}}', FailureClass.AUTH, 401),
        (b'{"error":"x","code":"overloaded"}', FailureClass.OVERLOADED, 503),
        (b'[{"error":{"code":429,"message":"x"}}]', FailureClass.RATE_LIMIT, 429),
        (completion({"content": "half"}, None, error={"code": 502, "message": "x"}), FailureClass.SERVER, 502),
        (completion({"content": "half"}, "error"), FailureClass.SERVER, None),
        (
            b'{"choices":[{"error":{"code":429,"message":"x"},"finish_reason":"stop","message":{}}]}',
            FailureClass.RATE_LIMIT,
            429,
        ),
        (b'{"detail":"x"}', FailureClass.SERVER, None),
        (completion({"role": "assistant", "content": "", "refusal": None}, None), FailureClass.SERVER, None),
        (b'{"choices":[]}', FailureClass.SERVER, None),
        (b'{"choices":null}', FailureClass.SERVER, None),
        (b"{}", FailureClass.SERVER, None),
        (b"", FailureClass.SERVER, None),
        (b"<html>", FailureClass.SERVER, None),
        (b"[]", FailureClass.SERVER, None),
        (b'{"choices":[{"index":0,"mess', FailureClass.TRUNCATED, None),
    ],
)
def test_a_200_without_an_answer_is_a_failure(body: bytes, failure_class: FailureClass, status: int | None) -> None:
    answer = read(body)
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.status) == (failure_class, status)
    assert answer.failure.where is Where.HTTP_200_BODY
    assert answer.body == b""


def test_usage_of_a_failed_answer_is_kept() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.5}
    answer = read(completion({"content": "half"}, "error", usage=usage))
    assert answer.token_usage.total == 5
    assert str(answer.reported_cost_usd) == "0.5"


@pytest.mark.parametrize(
    ("message", "finish_reason", "expected"),
    [
        ({"content": "x"}, None, "stop"),
        ({"content": "x"}, "eos", "stop"),
        (
            {
                "content": None,
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            None,
            "tool_calls",
        ),
        ({"content": ""}, "length", "length"),
        (None, "stop", "stop"),
    ],
)
def test_the_finish_reason_is_openais(message: object, finish_reason: object, expected: str) -> None:
    answer = read(completion(message, finish_reason))
    assert answer.failure is None
    assert answer.finish_reason == expected
    assert json.loads(answer.body)["choices"][0]["finish_reason"] == expected


def test_tool_calls_are_completed() -> None:
    calls = [
        {"function": {"name": "now", "arguments": ""}},
        {"id": "b", "function": {"name": "add", "arguments": {"x": 1}}},
    ]
    made = message_of(read(completion({"content": None, "tool_calls": calls}, "tool_calls")))["tool_calls"]
    assert made == [
        {"id": "call_att_test_0", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "add", "arguments": '{"x":1}'}},
    ]


def test_a_custom_tools_call_stays_as_it_is() -> None:
    call = {"id": "a", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
    body = completion({"content": None, "tool_calls": [call]}, "tool_calls")
    assert read(body).body == body


def test_truncated_arguments_stay_truncated() -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": "unfin'}}]
    assert message_of(read(completion({"content": None, "tool_calls": calls}, "length")))["tool_calls"] == calls
    calls[0]["function"] = {"name": "f", "arguments": ""}
    assert message_of(read(completion({"content": None, "tool_calls": calls}, "length")))["tool_calls"] == calls


def test_reasoning_and_content_parts_move_to_the_common_fields() -> None:
    assert message_of(read(completion({"content": "x", "reasoning": "hm"})))["reasoning_content"] == "hm"
    message = message_of(
        read(completion({"content": [{"type": "thinking", "thinking": "hm"}, "a", {"type": "text", "text": "b"}]}))
    )
    assert message == {"content": "ab", "reasoning_content": "hm"}


def test_usage_without_reasoning_is_corrected_for_the_caller() -> None:
    usage = {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 13,
        "completion_tokens_details": {"reasoning_tokens": 10},
    }
    answer = read(completion({"content": "x"}, usage=usage))
    assert json.loads(answer.body)["usage"]["completion_tokens"] == 12
    assert answer.token_usage == TokenUsage(input=1, output=2, reasoning=10)


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    reader = CompletionReader(attempt_run(), {})
    piece = b" " * (1024 * 1024)
    for _ in range(MAX_ANSWER_BYTES // len(piece)):
        reader.feed(piece)
    assert not reader.over
    reader.feed(b"x")
    assert reader.over
    failure = reader.close().failure
    assert failure is not None
    assert "32 MiB" in failure.message


def test_an_endless_error_is_not_read_to_its_end() -> None:
    reader = ErrorReader(503, {"retry-after": "7"})
    reader.feed(b"busy " * MAX_ERROR_BYTES)
    assert reader.over
    failure = reader.close().failure
    assert failure is not None
    assert (failure.failure_class, failure.retry_after_ms) == (FailureClass.OVERLOADED, 7000)
