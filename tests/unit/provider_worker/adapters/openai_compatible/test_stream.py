"""Streams in shapes that no recording has. All bodies here are hand-made."""

import json

import orjson
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.openai_compatible.stream import StreamReader
from tests.support.providers.attempt_runs import attempt_run
from tests.unit.provider_worker.adapters.openai_compatible.stream_bodies import (
    DONE,
    USAGE,
    JsonObject,
    delta,
    event,
    read,
    read_bytes,
    tool,
)


def sdk(chunks: list[JsonObject]) -> ChatCompletion:
    """Return what OpenAI's own client assembles."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    return state.get_final_completion()


def sdk_calls(chunks: list[JsonObject]) -> list[tuple[str, str, str]]:
    calls = sdk(chunks).choices[0].message.tool_calls or []
    assert all(call.type == "function" for call in calls)
    return [(call.id, call.function.name, call.function.arguments) for call in calls if call.type == "function"]


def test_openais_own_chunks_pass_byte_for_byte() -> None:
    lines = [
        b'{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}',
        b'{"id":"c", "choices":[{"index":0,"delta":{"content":"\\u00e9"},"finish_reason":null}],"usage":null,"x":1.10}',
        b'{"id":"c","choices":[{"index":0,"delta":{"refusal":"no"},"logprobs":null,"finish_reason":null}]}',
        b'{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}',
    ]
    chunks, answer = read_bytes(b"".join(b"data: " + line + b"\n\n" for line in lines) + DONE)
    assert chunks == lines
    assert answer.failure is None
    assert answer.finish_reason == "stop"
    assert answer.usage_source is UsageSource.NONE


def test_json_over_several_data_lines_becomes_one_line() -> None:
    body = (
        b'data: {"choices":[{"index":0,\ndata:  "delta":{"content":"a\\nb"},\ndata: "finish_reason":"stop"}]}\n\n'
        + DONE
    )
    chunks, answer = read_bytes(body)
    assert answer.failure is None
    assert len(chunks) == 1
    assert b"\n" not in chunks[0]
    assert json.loads(chunks[0])["choices"][0]["delta"] == {"content": "a\nb"}


def test_nothing_is_sent_before_there_is_output() -> None:
    reader = StreamReader(attempt_run(stream=True), {})
    assert reader.feed(b": PROCESSING\n\n" + delta(None, role="assistant", content="")) == []
    assert len(reader.feed(delta(None, content="x"))) == 2
    assert len(reader.feed(delta(None, content=""))) == 1


def test_an_error_after_the_role_has_delivered_nothing() -> None:
    chunks, answer = read(delta(None, role="assistant", content=""), event({"error": {"code": 502, "message": "gone"}}))
    assert chunks == []
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.SERVER
    assert answer.failure.status == 502


def test_an_endless_preamble_is_passed_on() -> None:
    chunks, _ = read(delta(None, role="assistant", content="") * 40)
    assert len(chunks) == 40


ERRORS = {
    "top level": event({"error": {"code": 429, "message": "slow down"}}),
    "beside choices": event(
        {"error": {"code": 429, "message": "slow down"}, "choices": [{"index": 0, "delta": {"content": "z"}}]}
    ),
    "in a choice": event(
        {"choices": [{"index": 0, "delta": {}, "finish_reason": None, "error": {"code": 429, "message": "slow down"}}]}
    ),
    "beside a finish reason": event(
        {
            "choices": [
                {"index": 0, "delta": {}, "finish_reason": "stop", "error": {"code": 429, "message": "slow down"}}
            ]
        }
    ),
    "named event": b'event: error\ndata: {"error":{"message":"slow down","type":"rate_limit_error","status_code":429}}\n\n',
    "named event, bare": b'event: error\ndata: {"message":"slow down","code":429}\n\n',
    "in a list": event([{"error": {"code": 429, "message": "slow down"}}]),
    "mistral": event({"object": "error", "message": "slow down", "type": "rate_limited", "code": 429}),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
def test_an_error_mid_stream_is_a_failure(error: bytes) -> None:
    reader = StreamReader(attempt_run(stream=True), {})
    assert len(reader.feed(delta(None, content="half"))) == 1
    assert not reader.over
    assert reader.feed(error + delta("stop", content="more") + DONE) == []
    assert reader.over
    failure = reader.close().failure
    assert failure is not None
    assert (failure.failure_class, failure.where, failure.status) == (FailureClass.RATE_LIMIT, Where.MID_STREAM, 429)
    assert failure.message == "slow down"


def test_an_error_event_without_json_keeps_its_text() -> None:
    _, answer = read(b"event: error\ndata: it broke\n\n")
    assert answer.failure is not None
    assert answer.failure.message == "it broke"


@pytest.mark.parametrize("word", ["error", "abort", "network_error", "ERROR"])
def test_a_finish_reason_can_be_a_failure(word: str) -> None:
    chunks, answer = read(delta(None, content="x"), delta(word), DONE)
    assert len(chunks) == 1
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.SERVER


def test_usage_seen_before_a_failure_is_kept() -> None:
    _, answer = read(delta(None, content="x"), event({"error": {"code": 500}, "usage": USAGE}))
    assert answer.failure is not None
    assert answer.token_usage == TokenUsage(input=3, output=2)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        delta(None, content="half"),
        delta(None, content="half") + b'data: {"choices":[{"ind',
        delta(None, content="a") + delta("stop")[:-3],
        delta(None, content="a") + delta(None, content="b")[:-2],
    ],
    ids=["nothing", "half", "half a chunk", "half a finish", "no finish"],
)
def test_a_stream_without_an_end_is_truncated(body: bytes) -> None:
    _, answer = read(body)
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.TRUNCATED
    assert answer.late == ()


@pytest.mark.parametrize("missing", [1, 2])
def test_last_events_without_their_blank_line_are_delivered_late(missing: int) -> None:
    chunks, answer = read_bytes(delta(None, content="a"), delta("stop", content="b")[:-missing])
    assert answer.failure is None
    assert answer.finish_reason == "stop"
    assert [json.loads(chunk)["choices"][0]["delta"]["content"] for chunk in [*chunks, *answer.late]] == ["a", "b"]
    usage = event({"choices": [], "usage": USAGE})[:-missing]
    chunks, answer = read_bytes(delta("stop", content="a"), usage, include_usage=True)
    assert answer.token_usage.total == USAGE["total_tokens"]
    assert [json.loads(chunk)["usage"] for chunk in answer.late] == [USAGE]


def test_a_finish_reason_ends_a_stream_without_done() -> None:
    _, answer = read(delta(None, content="x"), delta("stop"))
    assert answer.failure is None
    assert answer.finish_reason == "stop"


def test_done_without_its_blank_line_ends_a_stream() -> None:
    _, answer = read(delta(None, content="x"), b"data: [DONE]")
    assert answer.failure is None


def test_one_of_two_choices_unfinished_is_truncated() -> None:
    second = event({"choices": [{"index": 1, "delta": {"content": "y"}, "finish_reason": None}]})
    _, answer = read(delta(None, content="x"), second, delta("stop"))
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.TRUNCATED


@pytest.mark.parametrize(
    "body", [DONE, delta(None, role="assistant", content="") + DONE], ids=["done", "role and done"]
)
def test_an_empty_answer_is_a_failure_and_delivers_nothing(body: bytes) -> None:
    chunks, answer = read(body)
    assert chunks == []
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.SERVER


def test_an_empty_answer_with_a_finish_reason_is_complete() -> None:
    chunks, answer = read(delta(None, role="assistant", content=""), delta("stop"), DONE)
    assert len(chunks) == 2
    assert answer.failure is None


def test_an_event_that_is_not_a_json_object_is_a_failure() -> None:
    for data in (b"data: {broken\n\n", b"data: 7\n\n", b"data: [1]\n\n"):
        chunks, answer = read(delta(None, content="x"), data, delta("stop"), DONE)
        assert len(chunks) == 1
        assert answer.failure is not None
        assert answer.failure.where is Where.MID_STREAM


@pytest.mark.parametrize(
    ("body", "failure_class", "status"),
    [
        (b'{"error":{"code":401,"message":"no"}}', FailureClass.AUTH, 401),
        (b'\n  {"error":"at capacity","code":"overloaded"}', FailureClass.OVERLOADED, 503),
        (b'[{"error":{"code":429,"message":"no"}}]', FailureClass.RATE_LIMIT, 429),
        (b"<html>a portal</html>", FailureClass.SERVER, None),
        (b'{"object":"chat.completion","choices":[]}', FailureClass.SERVER, None),
    ],
)
def test_a_document_in_place_of_a_stream_is_a_failure(
    body: bytes, failure_class: FailureClass, status: int | None
) -> None:
    chunks, answer = read(*(body[at : at + 3] for at in range(0, len(body), 3)))
    assert chunks == []
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.status) == (failure_class, status)
    assert answer.failure.where is Where.HTTP_200_BODY


def test_a_whole_answer_in_place_of_a_stream_is_passed_on() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"n":1}'}}
    message = {"role": "assistant", "content": "hi", "tool_calls": [call]}
    choices = [{"message": message}]
    document = {"id": "c", "created": 1, "model": "m-1", "choices": choices, "usage": USAGE | {"cost": "0.5"}}
    for body in (json.dumps(document), f" {json.dumps(document)}\n\nstray"):
        early, answer = read_bytes(body.encode())
        assert (early, answer.failure) == ([], None)
        chunks = [json.loads(chunk) for chunk in answer.late]
        (choice,) = chunks[0]["choices"]
        assert (len(chunks), chunks[0]["object"], choice["delta"]["content"]) == (1, "chat.completion.chunk", "hi")
        assert "message" not in choice
        assert sdk_calls(chunks) == [("a", "f", '{"n":1}')]
        assert (choice["finish_reason"], answer.finish_reason) == ("tool_calls", "tool_calls")
        assert (answer.usage_source, answer.token_usage.total) == (UsageSource.REPORTED, USAGE["total_tokens"])
        assert (answer.model_served, str(answer.reported_cost_usd)) == ("m-1", "0.5")


def test_the_usage_of_an_empty_document_in_place_of_a_stream_is_kept() -> None:
    chunks, answer = read_bytes(json.dumps({"model": "m-1", "choices": [], "usage": USAGE}).encode())
    assert chunks == []
    assert answer.failure is not None
    assert (answer.usage_source, answer.token_usage.total) == (UsageSource.REPORTED, USAGE["total_tokens"])
    assert answer.model_served == "m-1"


def test_parallel_calls_that_share_an_index_are_separated() -> None:
    pieces = [tool(0, f"call_{n}", "add", "") + tool(0, None, None, f'{{"n":{n}}}') for n in range(15)]
    chunks, _ = read(*pieces, delta("tool_calls"), DONE)
    assert sdk_calls(chunks) == [(f"call_{n}", "add", f'{{"n":{n}}}') for n in range(15)]


@pytest.mark.parametrize("call_id", [None, ""])
def test_complete_calls_without_ids_that_share_an_index_are_separated(call_id: str | None) -> None:
    pieces = tool(0, call_id, "f", '{"a":1}'), tool(0, call_id, "f", '{"a":2}'), tool(0, call_id, "g", "{}")
    chunks, _ = read(*pieces, delta("tool_calls"))
    calls = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in chunks[:3]]  # type: ignore[index]
    assert [call["index"] for call in calls] == [0, 1, 2]
    assert len({call["id"] for call in calls}) == 3
    assert [call["function"]["arguments"] for call in calls] == ['{"a":1}', '{"a":2}', ""]
    assert [arguments for _, _, arguments in sdk_calls(chunks)] == ['{"a":1}', '{"a":2}', "{}"]


def test_a_name_that_is_repeated_with_every_piece_begins_no_call() -> None:
    chunks, _ = read(*(tool(0, None, "f", piece) for piece in ('{"a"', ":", "1}")), delta("tool_calls"))
    calls = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in chunks[:3]]  # type: ignore[index]
    assert [call["index"] for call in calls] == [0, 0, 0]
    assert [call["function"].get("name") for call in calls] == ["f", None, None]


def test_a_custom_tools_call_gets_no_arguments() -> None:
    begin = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": ""}}
    body = delta(None, tool_calls=[begin]), delta(None, tool_calls=[{"index": 0, "custom": {"input": "ls"}}])
    chunks, _ = read(*body, delta("tool_calls"))
    assert b"arguments" not in json.dumps(chunks).encode()


def test_groqs_own_error_field_is_read() -> None:
    stopped = event({"choices": [{"index": 0, "delta": {}}], "x_groq": {"id": "r", "error": "over_capacity"}})
    _, answer = read(delta(None, content="a"), stopped)
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.where) == (FailureClass.OVERLOADED, Where.MID_STREAM)


def test_calls_without_index_or_id_get_both() -> None:
    chunks, _ = read(
        tool(None, None, "a", '{"x":'),
        tool(None, None, None, "1}"),
        tool(None, None, "b", "{}"),
        delta("tool_calls"),
        DONE,
    )
    calls = sdk_calls(chunks)
    assert [(name, arguments) for _, name, arguments in calls] == [("a", '{"x":1}'), ("b", "{}")]
    assert len({call_id for call_id, _, _ in calls}) == 2


def test_an_id_or_a_name_that_is_repeated_is_not_joined() -> None:
    chunks, _ = read(
        tool(0, "call_1", "add", '{"x":'),
        tool(0, "call_1", "add", "1"),
        tool(0, "other", None, "}"),
        delta("tool_calls"),
        DONE,
    )
    assert sdk_calls(chunks) == [("call_1", "add", '{"x":1}')]


def test_gaps_in_the_indices_are_closed() -> None:
    chunks, _ = read(
        tool(3, "a", "f", "{"), tool(3, None, None, "}"), tool(7, "b", "g", "{}"), delta("tool_calls"), DONE
    )
    assert sdk_calls(chunks) == [("a", "f", "{}"), ("b", "g", "{}")]


@pytest.mark.parametrize("arguments", ["", None])
def test_a_call_without_arguments_gets_the_empty_object(arguments: object) -> None:
    chunks, _ = read(tool(0, "a", "now", arguments), tool(1, "b", "add", '{"x":1}'), delta("tool_calls"), DONE)
    assert sdk_calls(chunks) == [("a", "now", "{}"), ("b", "add", '{"x":1}')]


def test_a_truncated_call_is_not_completed() -> None:
    chunks, answer = read(tool(0, "a", "now", ""), delta("length"), DONE)
    assert sdk_calls_without_finish(chunks) == [("a", "now", "")]
    assert answer.finish_reason == "length"


def sdk_calls_without_finish(chunks: list[JsonObject]) -> list[tuple[str, str, str]]:
    # OpenAI's client refuses to hand out an answer that ended by length, so the reason is changed for it.
    text = json.dumps(chunks).replace('"length"', '"stop"')
    return sdk_calls(json.loads(text))


def test_arguments_that_are_an_object_become_text() -> None:
    chunks, _ = read(tool(0, "a", "add", {"x": 1}), delta("tool_calls"), DONE)
    assert sdk_calls(chunks) == [("a", "add", '{"x":1}')]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("eos", "stop"),
        ("tool_call", "tool_calls"),
        ("MAX_TOKENS", "length"),
        ("safety", "content_filter"),
        ("STOP", "stop"),
        ("?", "stop"),
    ],
)
def test_finish_reasons_are_openais(word: str, reason: str) -> None:
    chunks, answer = read(delta(None, content="x"), delta(word), DONE)
    assert answer.finish_reason == reason
    assert ChatCompletionChunk.model_validate(chunks[-1]).choices[0].finish_reason == reason


def test_an_unknown_finish_reason_after_a_call_is_tool_calls() -> None:
    assert read(tool(0, "a", "f", "{}"), delta("eos"), DONE)[1].finish_reason == "tool_calls"


def test_a_second_finish_reason_does_not_hide_the_calls() -> None:
    chunks, answer = read(tool(0, "a", "f", "{}"), delta("tool_calls"), delta("stop"), DONE)
    assert answer.finish_reason == "tool_calls"
    assert sdk(chunks).choices[0].finish_reason == "tool_calls"


def test_reasoning_is_in_the_common_field_and_its_own() -> None:
    chunks, _ = read(delta(None, reasoning="hm"), delta("stop", content="x"), DONE)
    assert chunks[0]["choices"] == [
        {"index": 0, "delta": {"reasoning": "hm", "reasoning_content": "hm"}, "finish_reason": None}
    ]


def test_content_parts_become_text_and_reasoning() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "yes"},
        {"type": "reference", "reference_ids": [1]},
    ]
    chunks, _ = read(delta("stop", content=parts), DONE)
    assert chunks[0]["choices"] == [
        {
            "index": 0,
            "delta": {"content": "yes", "reasoning_content": "hm", "content_parts": [parts[2]]},
            "finish_reason": "stop",
        }
    ]


def test_a_message_in_place_of_a_delta_is_used() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}
    chunks, _ = read(event({"id": "c", "object": "x", "created": 1, "model": "m", "choices": [choice]}), DONE)
    assert sdk([{**chunks[0], "object": "chat.completion.chunk"}]).choices[0].message.content == "whole"


def usage_chunk(completion: int, choices: list[JsonObject] | None = None) -> bytes:
    usage = {"prompt_tokens": 3, "completion_tokens": completion, "total_tokens": 3 + completion}
    return event({"id": "c1", "model": "m-1", "choices": choices or [], "usage": usage})


def test_repeated_usage_counts_once_and_the_last_one() -> None:
    finish: list[JsonObject] = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    for include_usage in (True, False):
        chunks, answer = read(
            delta(None, content="x"),
            usage_chunk(1, finish),
            usage_chunk(2),
            usage_chunk(2),
            DONE,
            include_usage=include_usage,
        )
        assert answer.token_usage == TokenUsage(input=3, output=2)
        assert len(chunks) == (4 if include_usage else 2)


def test_growing_usage_is_sent_at_the_end_only() -> None:
    growing = [usage_chunk(n, [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]) for n in range(1, 4)]
    chunks, _ = read(*growing, usage_chunk(4, [{"index": 0, "delta": {}, "finish_reason": "stop"}]), include_usage=True)
    assert [bool(chunk["usage"]) for chunk in chunks] == [False, False, False, True]


def test_usage_in_groqs_own_field_is_read_and_sent_only_if_requested() -> None:
    body = event(
        {
            "id": "c",
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "x_groq": {"id": "r", "usage": USAGE},
        }
    )
    chunks, answer = read(delta(None, content="x"), body, DONE)
    assert answer.token_usage.total == 5
    assert chunks[1]["x_groq"] == {"id": "r"}
    assert "usage" not in chunks[1]
    assert read(delta(None, content="x"), body, DONE, include_usage=True)[0][1]["usage"] == USAGE


def test_a_chunk_without_choices_is_sent_only_with_content() -> None:
    silent = event({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": None})
    flagged = event({"id": "c", "moderation": {"flagged": False}})
    chunks, _ = read(delta(None, content="x"), silent, flagged, delta("stop"), DONE)
    assert len(chunks) == 3
    assert chunks[1] == {"id": "c", "moderation": {"flagged": False}, "choices": []}


def test_an_empty_model_name_is_ignored() -> None:
    azure = event({"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": [{"prompt_index": 0}]})
    chunks, answer = read(azure, delta(None, content="x"), delta("stop"), DONE)
    assert answer.model_served == "m-1"
    assert len(chunks) == 3


@pytest.mark.parametrize("broken", [b"-Infinity", b"NaN", b'"\xed\xa0\xbd"'])
def test_every_chunk_sent_is_strict_json(broken: bytes) -> None:
    odd = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"x":' + broken + b"}}]}\n\n"
    for chunks, _ in (read_bytes(odd), read_bytes(delta(None, content="a"), odd)):
        assert orjson.loads(chunks[-1].replace(b"\\ud83d", b""))["choices"][0]["delta"] == {"content": "a"}


def test_a_lone_surrogate_survives() -> None:
    # Hand-made: a surrogate pair cut in two by a provider that escapes token by token.
    halves = b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n'
    chunks, _ = read_bytes(halves, delta("stop"), DONE)
    assert b"\\ud83d" in chunks[0]


def test_a_huge_event_is_a_failure() -> None:
    _, answer = read(delta(None, content="x"), b"data: " + b"y" * (2 * 1024 * 1024))
    assert answer.failure is not None
    assert "1 MiB" in answer.failure.message


def test_too_many_choices_are_a_failure() -> None:
    choices = [{"index": n, "delta": {"content": "x"}} for n in range(200)]
    _, answer = read(event({"choices": choices}), DONE)
    assert answer.failure is not None


@pytest.mark.parametrize("nothing", ["", " ", "null", "None", "unspecified", 0, False, []])
def test_a_finish_reason_that_says_nothing_is_null(nothing: object) -> None:
    pieces = [
        event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": nothing}], "usage": ""})
        for text in "abc"
    ]
    chunks, answer = read(*pieces, delta("stop"), DONE)
    choices = [chunk["choices"][0] for chunk in chunks]  # type: ignore[index]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]
    assert [chunk.get("usage") for chunk in chunks] == [None] * 4
    assert answer.failure is None


def test_a_stream_in_which_no_finish_reason_ever_says_anything_is_truncated() -> None:
    _, answer = read(event({"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": ""}]}))
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.TRUNCATED


@pytest.mark.parametrize("role", ["", "model", 3])
def test_a_role_outside_the_set_is_the_assistants(role: object) -> None:
    chunks, _ = read(delta(role=role, content="a", tool_calls=""), delta(role=role, content="b"), delta("stop"), DONE)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]  # type: ignore[index]
    assert deltas == [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}, {}]


def test_empty_names_ids_and_types_of_later_pieces_are_left_out() -> None:
    piece = {"index": 0, "id": "", "type": "", "function": {"name": "", "arguments": '"x"}'}}
    choice = {"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": ""}
    later = event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})
    chunks, _ = read(tool(0, "call_1", "f", '{"a":'), later, delta("tool_calls"), DONE)
    assert chunks[1]["choices"] == [
        {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": '"x"}'}}]}, "finish_reason": None}
    ]
    assert sdk_calls(chunks) == [("call_1", "f", '{"a":"x"}')]


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        (['{"a":1}', '{"a":1}'], '{"a":1}'),
        (["{}", '""'], "{}"),
        (["", "{}", "{}"], "{}"),
        (["{}", '{"a":', "1}", '""'], '{"a":1}'),
        (['""', '{"a":1}'], '{"a":1}'),
        (["1", "2"], "12"),
        (['{"a":"}', '{"}', " \n", "null"], '{"a":"}{"}'),
        (["[1]", "x"], "[1]x"),
    ],
)
@pytest.mark.parametrize("finish", ["tool_calls", "stop", "length"])
def test_nothing_follows_complete_arguments(pieces: list[str], arguments: str, finish: str) -> None:
    events = [tool(0, "call_1", "f", ""), *(tool(0, None, None, piece) for piece in pieces)]
    chunks, answer = read(*events, delta(finish), DONE)
    sent = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]  # type: ignore[index]
    assert "".join(call["function"].get("arguments", "") for call in sent) == arguments
    assert answer.failure is None


def test_a_whole_call_that_is_sent_again_is_one_call() -> None:
    chunks, _ = read(tool(0, "call_1", "f", '{"a":1}'), tool(0, "call_1", "f", '{"a":1}'), delta("tool_calls"), DONE)
    assert sdk_calls(chunks) == [("call_1", "f", '{"a":1}')]


def test_usage_inside_the_last_choice_is_read() -> None:
    # Hand-made after Moonshot.
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]}
    _, answer = read(delta(content="a"), event(last), DONE)
    assert answer.token_usage == TokenUsage(input=3, output=2)
    assert answer.usage.exact


def test_arguments_that_are_null_are_an_empty_text() -> None:
    null = event({"choices": [{"index": 0, "delta": {"tool_calls": [
        {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": None}}]}}]})  # fmt: skip
    chunks, _ = read(null, delta(tool_calls=[{"index": 0, "function": {"arguments": None}}]), delta("tool_calls"), DONE)
    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]  # type: ignore[index]
    assert [call["function"]["arguments"] for call in calls] == ["", "{}"]
