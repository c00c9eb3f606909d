"""Responses that are not recorded. All of them are hand-made in the documented shapes."""

import json

import pytest

from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.adapter import UpstreamRequest
from tests.support.providers.attempt_runs import attempt_run
from tests.unit.provider_worker.adapters.anthropic.message_events import (
    ADAPTER,
    STOP,
    JsonObject,
    block,
    choice_of,
    delta_of,
    end,
    event,
    message,
    read,
    read_complete,
    start,
    text,
    tool,
)

STOP_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "refusal": "content_filter",
    "something_new": "stop",
}
SEARCH_USE: JsonObject = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
SEARCH_RESULT: JsonObject = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
CITATION: JsonObject = {"type": "web_search_result_location", "url": "https://x.test", "title": "X", "cited_text": "y"}


def overloaded() -> bytes:
    error: JsonObject = {"type": "overloaded_error", "message": "Overloaded"}
    return event({"type": "error", "error": error})


@pytest.mark.parametrize(("stop_reason", "finish_reason"), STOP_REASONS.items())
def test_stop_reasons_become_finish_reasons(stop_reason: str, finish_reason: str) -> None:
    """Hand-made."""
    chunks, answer = read(start(input_tokens=3, output_tokens=1), text(0, "a"), end(stop_reason))
    assert answer.failure is None
    assert answer.finish_reason == finish_reason
    choice = choice_of(chunks[-1])
    assert (choice["finish_reason"], choice["native_finish_reason"]) == (finish_reason, stop_reason)
    completion, whole = read_complete(message({"type": "text", "text": "a"}, stop_reason=stop_reason))
    choice = choice_of(completion)
    assert choice["finish_reason"] == whole.finish_reason == finish_reason


def test_a_refusal_has_its_explanation() -> None:
    """Hand-made."""
    details: JsonObject = {"type": "refusal", "category": "bio", "explanation": "Not this."}
    chunks, answer = read(start(input_tokens=3), end("refusal", stop_details=details))
    assert answer.failure is None
    assert delta_of(chunks[0]) == {"role": "assistant", "refusal": "Not this."}
    completion, _ = read_complete(message(stop_reason="refusal", stop_details=details))
    choice = choice_of(completion)
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": "Not this."}
    assert choice["finish_reason"] == "content_filter"


def test_a_paused_turn_keeps_its_blocks_in_order() -> None:
    """Hand-made: server tools are no calls for the caller, and nothing of them is lost."""
    chunks, answer = read(
        start(input_tokens=3),
        text(0, "I look."),
        block(1, SEARCH_USE, {"type": "input_json_delta", "partial_json": '{"query": "x"}'}),
        block(2, SEARCH_RESULT),
        block(3, {"type": "text", "text": ""}, {"type": "citations_delta", "citation": CITATION},
              {"type": "text_delta", "text": "Found."}),
        end("pause_turn"),
    )  # fmt: skip
    assert answer.failure is None
    assert [delta_of(chunk).get("content") for chunk in chunks] == ["I look.", "Found.", None]
    last = delta_of(chunks[-1])
    parts: list[JsonObject] = [
        {"type": "text", "text": "I look."},
        {**SEARCH_USE, "input": {"query": "x"}},
        SEARCH_RESULT,
        {"type": "text", "text": "Found.", "citations": [CITATION]},
    ]
    about = {"start_index": 7, "end_index": 13, "url": "https://x.test", "title": "X"}
    assert last == {
        "annotations": [{"type": "url_citation", "url_citation": about}],
        "content_parts": parts,
    }
    completion, _ = read_complete(message(*parts, stop_reason="pause_turn"))
    choice = choice_of(completion)
    assert choice["message"] == {"role": "assistant", "content": "I look.Found.", **last}


def test_parallel_calls_have_their_own_indices() -> None:
    """Hand-made."""
    chunks, answer = read(
        start(input_tokens=3),
        text(0, "ok"),
        tool(1, "f", '{"a"', ": 1}", call_id="t1"),
        tool(2, "g", call_id="t2"),
        end("tool_use"),
    )
    pieces = [piece for chunk in chunks for piece in delta_of(chunk).get("tool_calls", [])]
    assert pieces == [
        {"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
        {"index": 1, "id": "t2", "type": "function", "function": {"name": "g", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    assert answer.finish_reason == "tool_calls"


def test_truncated_arguments_stay_truncated() -> None:
    """Hand-made."""
    chunks, answer = read(start(input_tokens=3), tool(0, "f", '{"a": "b'), tool(1, "g"), end("max_tokens"))
    arguments: dict[int, str] = {0: "", 1: ""}
    for chunk in chunks:
        for piece in delta_of(chunk).get("tool_calls", []):
            arguments[piece["index"]] += piece["function"]["arguments"]
    assert arguments == {0: '{"a": "b', 1: ""}
    assert answer.finish_reason == "length"


def test_the_json_tools_arguments_are_the_content() -> None:
    """Hand-made."""
    chunks, answer = read(
        start(input_tokens=3), tool(0, "json_answer", '{"a"', ": 1}"), end("tool_use"), json_tool="json_answer"
    )
    assert [delta_of(chunk) for chunk in chunks] == [
        {"role": "assistant", "content": '{"a"'},
        {"content": ": 1}"},
        {},
    ]
    assert answer.finish_reason == "stop"
    use: JsonObject = {"type": "tool_use", "id": "t", "name": "json_answer", "input": {"a": 1}}
    completion, whole = read_complete(message(use, stop_reason="tool_use"), json_tool="json_answer")
    choice = choice_of(completion)
    assert choice["message"] == {"role": "assistant", "content": '{"a":1}'}
    assert whole.finish_reason == "stop"
    empty, _ = read(start(), tool(0, "json_answer"), end("tool_use"), json_tool="json_answer")
    assert delta_of(empty[-1]) == {"role": "assistant", "content": "{}"}


def test_the_callers_own_tool_may_be_called_instead_of_the_json_tool() -> None:
    """Hand-made."""
    chunks, answer = read(start(), tool(0, "f", "{}"), end("tool_use"), json_tool="json_answer")
    assert delta_of(chunks[0])["tool_calls"]
    assert answer.finish_reason == "tool_calls"


def test_redacted_thinking_is_kept_complete() -> None:
    """Hand-made."""
    chunks, answer = read(
        start(input_tokens=3),
        block(0, {"type": "redacted_thinking", "data": "opaque"}),
        block(
            1,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "h"},
            {"type": "thinking_delta", "thinking": "m"},
            {"type": "signature_delta", "signature": "s1"},
        ),
        text(2, "so"),
        end(),
    )
    deltas = [delta_of(chunk) for chunk in chunks]
    assert deltas == [
        {
            "role": "assistant",
            "reasoning_details": [
                {"type": "reasoning.encrypted", "data": "opaque", "format": "anthropic-claude-v1", "index": 0}
            ],
        },
        {"reasoning_content": "h"},
        {"reasoning_content": "m"},
        {
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "hm",
                    "signature": "s1",
                    "format": "anthropic-claude-v1",
                    "index": 1,
                }
            ]
        },
        {"content": "so"},
        {},
    ]
    assert answer.failure is None


def test_the_last_value_of_every_count_wins() -> None:
    """Hand-made: hours and minutes of the cache, thinking counted separately, counts repeated and growing."""
    split = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 40}
    last: JsonObject = {
        "input_tokens": 12,
        "cache_creation_input_tokens": 140,
        "cache_read_input_tokens": 1000,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 30},
    }
    chunks, answer = read(
        start(input_tokens=10, cache_creation_input_tokens=140, cache_read_input_tokens=1000, cache_creation=split,
              output_tokens=1, service_tier="priority"),
        text(0, "a"),
        event({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 20}}),
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last}),
        event(STOP),
        include_usage=True,
    )  # fmt: skip
    assert answer.token_usage == TokenUsage(
        input=12, cached_read=1000, cache_write=100, cache_write_1h=40, output=20, reasoning=30
    )
    assert (answer.usage_source, answer.service_tier, answer.model_served) == (
        UsageSource.REPORTED,
        "priority",
        "claude-x",
    )
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 1152,
        "completion_tokens": 50,
        "total_tokens": 1202,
        "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 140},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": -1, "output_tokens": True},
        {"input_tokens": 10**30, "output_tokens": "7"},
        {"cache_creation": {"ephemeral_1h_input_tokens": 5}, "cache_creation_input_tokens": 3, "input_tokens": 1.0},
        {"output_tokens": 3, "output_tokens_details": {"thinking_tokens": 9}},
        {},
    ],
)
def test_invalid_counts_keep_token_usage_consistent(usage: JsonObject) -> None:
    """Hand-made."""
    completion, answer = read_complete(message({"type": "text", "text": "a"}, usage=usage))
    reported = completion.get("usage")
    if isinstance(reported, dict):
        assert answer.token_usage.total == reported["total_tokens"]
    else:
        assert not answer.usage.exact
    unknown = not (answer.usage.prompt_known and answer.usage.completion_known)
    assert (reported is None) == unknown


def test_an_error_before_any_output_delivers_nothing() -> None:
    """Hand-made: a fallback is still possible."""
    for before in ([], [start(input_tokens=3)], [start(), b": keep-alive\n\n", event({"type": "ping"})]):
        chunks, answer = read(*before, overloaded(), text(0, "late"))
        assert chunks == []
        assert answer.failure is not None
        failure = answer.failure
        assert (failure.failure_class, failure.where) == (FailureClass.OVERLOADED, Where.HTTP_200_BODY)
        assert (failure.status, failure.provider_code) == (529, "overloaded_error")


def test_an_error_after_some_output_is_mid_stream() -> None:
    """Hand-made."""
    chunks, answer = read(start(input_tokens=3, output_tokens=1), text(0, "a"), overloaded())
    assert len(chunks) == 1
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.where) == (FailureClass.OVERLOADED, Where.MID_STREAM)
    assert answer.token_usage.input == 3


def test_an_error_event_without_json_keeps_its_text() -> None:
    """Hand-made."""
    _, answer = read(b"event: error\ndata: it broke\n\n")
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.message) == (FailureClass.SERVER, "it broke")


@pytest.mark.parametrize("pieces", [[], [start()], [start(), text(0, "a")], [start(), tool(0, "f", "{")]])
def test_a_stream_without_its_end_is_truncated(pieces: list[bytes]) -> None:
    """Hand-made."""
    _, answer = read(*pieces)
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.TRUNCATED


def test_a_stop_reason_completes_the_answer() -> None:
    """Hand-made: the connection closes before `message_stop`, or the last blank line is missing."""
    body = start(input_tokens=3) + text(0, "a") + end()
    without_stop = body[: body.index(b"event: message_stop")]
    _, answer = read(without_stop)
    assert answer.failure is None
    assert answer.token_usage.output == 7
    _, answer = read(body.rstrip())
    assert answer.failure is None
    _, late = read(without_stop.rstrip())
    assert late.failure is None
    assert [
        json.loads(chunk)["choices"][0]["finish_reason"] for chunk in late.late if b'"choices":[]' not in chunk
    ] == ["stop"]
    _, cut = read(without_stop.rstrip()[:-1])
    assert cut.late == ()
    assert cut.failure is not None
    assert cut.failure.failure_class is FailureClass.TRUNCATED


def test_message_stop_completes_a_non_empty_answer() -> None:
    """Hand-made."""
    chunks, answer = read(start(), text(0, "a"), event(STOP))
    assert answer.failure is None
    assert answer.finish_reason == "stop"
    choice = choice_of(chunks[-1])
    assert choice["finish_reason"] == "stop"
    chunks, answer = read(start(), event(STOP))
    assert chunks == []
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.SERVER


def test_an_empty_answer_with_a_stop_reason_is_an_answer() -> None:
    """Hand-made: Claude may have nothing to add after a tool result."""
    chunks, answer = read(start(input_tokens=3), end())
    assert answer.failure is None
    assert delta_of(chunks[0]) == {"role": "assistant"}
    completion, whole = read_complete(message())
    assert whole.failure is None
    choice = choice_of(completion)
    assert choice["message"] == {"role": "assistant", "content": None}


def test_unknown_events_deltas_and_blocks_are_ignored() -> None:
    """Hand-made."""
    chunks, answer = read(
        event({"type": "novelty", "x": 1}),
        start(),
        block(0, {"type": "novel_block", "x": 1}, {"type": "novel_delta", "y": 2}),
        text(1, "a"),
        end(),
    )
    assert answer.failure is None
    assert delta_of(chunks[0])["content"] == "a"
    assert delta_of(chunks[-1])["content_parts"] == [{"type": "novel_block", "x": 1}, {"type": "text", "text": "a"}]


@pytest.mark.parametrize(
    ("body", "failure_class", "where"),
    [
        (b'data: {"type"\n\n', FailureClass.SERVER, Where.MID_STREAM),
        (
            event({"type": "content_block_delta", "index": 4, "delta": {"type": "input_json_delta", "partial_json": "{"}}),
            FailureClass.SERVER,
            Where.MID_STREAM,
        ),
        (b'{"type":"error","error":{"type":"rate_limit_error"}}', FailureClass.RATE_LIMIT, Where.HTTP_200_BODY),
        (b"<html>", FailureClass.SERVER, Where.HTTP_200_BODY),
        (b"data: " + b"x" * (1024 * 1024 + 1), FailureClass.SERVER, Where.MID_STREAM),
    ],
    ids=["broken JSON", "arguments of nothing", "an error document", "a page", "too large"],
)  # fmt: skip
def test_a_body_that_is_not_an_event_stream_is_a_failure(
    body: bytes, failure_class: FailureClass, where: Where
) -> None:
    """Hand-made."""
    chunks, answer = read(body)
    assert chunks == []
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.where) == (failure_class, where)


@pytest.mark.parametrize(
    ("document", "failure_class", "status"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, FailureClass.OVERLOADED, 529),
        ({"type": "error", "error": {"type": "authentication_error", "message": "x"}}, FailureClass.AUTH, 401),
        ({"type": "error"}, FailureClass.SERVER, None),
        (message(stop_reason=None), FailureClass.SERVER, None),
        (b'{"id": "msg', FailureClass.TRUNCATED, None),
        (b"", FailureClass.SERVER, None),
        (b"[1]", FailureClass.SERVER, None),
    ],
)
def test_a_document_without_an_answer_is_a_failure(
    document: object, failure_class: FailureClass, status: int | None
) -> None:
    """Hand-made."""
    completion, answer = read_complete(document)
    assert completion == {}
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.status) == (failure_class, status)
    assert answer.failure.where is Where.HTTP_200_BODY


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [(['{"a":1}', '{"a":1}'], '{"a":1}'), (["{}", '""'], "{}"), (["{}", '{"a":1}'], '{"a":1}'), ([], "{}")],
)
def test_nothing_follows_complete_arguments(pieces: list[str], arguments: str) -> None:
    """Hand-made."""
    chunks, answer = read(start(input_tokens=1), tool(0, "f", *pieces), end("tool_use"))
    assert answer.failure is None
    sent = [call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls", [])]  # type: ignore[attr-defined]
    assert "".join(call["function"]["arguments"] for call in sent) == arguments


@pytest.mark.parametrize(
    "later", [{"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 42}, {"output_tokens": 42}]
)
def test_a_later_report_that_says_less_takes_nothing_away(later: JsonObject) -> None:
    """Hand-made."""
    first = start(
        input_tokens=1500,
        cache_read_input_tokens=300,
        cache_creation={"ephemeral_1h_input_tokens": 20},
        output_tokens=1,
    )
    delta = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": later})
    chunks, answer = read(first, text(0, "a"), delta, event(STOP), include_usage=True)
    assert answer.token_usage == TokenUsage(input=1500, cached_read=300, cache_write_1h=20, output=42)
    assert chunks[-1]["usage"]["total_tokens"] == 1862  # type: ignore[index]


def test_a_prompt_that_is_split_later_is_not_counted_twice() -> None:
    """Hand-made."""
    split = {"input_tokens": 300, "cache_read_input_tokens": 1200, "output_tokens": 42}
    delta = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": split})
    _, answer = read(start(input_tokens=1500, output_tokens=1), text(0, "a"), delta, event(STOP))
    assert answer.token_usage == TokenUsage(input=300, cached_read=1200, output=42)


@pytest.mark.parametrize("ends", [True, False])
def test_usage_that_comes_after_the_stop_reason_is_shown(ends: bool) -> None:
    """Hand-made after gateways that speak this API."""
    stop = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    late = event({"type": "message_delta", "delta": {}, "usage": {"input_tokens": 30, "output_tokens": 4}})
    run = attempt_run(stream=True, include_usage=True)
    reader = ADAPTER.reader(run, UpstreamRequest("https://provider.test", {}, b""), 200, {})
    sent = [start(), text(0, "a"), stop, late, *([event(STOP)] if ends else [])]
    chunks = [chunk for piece in sent for chunk in reader.feed(piece)]
    answer = reader.close()
    last = json.loads([*chunks, *answer.late][-1])
    assert answer.failure is None
    assert last["usage"]["total_tokens"] == answer.token_usage.total == 34
