"""ConverseStream's rare shapes. All of these streams are hand-made: no recording has them."""

import base64
import struct
import zlib

import pytest

from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.bedrock.eventstream import FrameParser
from tests.support.providers.aws_event_stream import START, delta, ending, event, exception, frame, stop
from tests.unit.provider_worker.adapters.bedrock.exchanges import NOVA, bedrock_run, deltas, read

EXCEPTIONS = [
    ("throttlingException", FailureClass.RATE_LIMIT, 429),
    ("serviceUnavailableException", FailureClass.OVERLOADED, 503),
    ("internalServerException", FailureClass.SERVER, 500),
    ("validationException", FailureClass.BAD_REQUEST, 400),
    ("modelTimeoutException", FailureClass.TIMEOUT, 408),
    ("modelStreamErrorException", FailureClass.SERVER, 424),
    ("somethingNewException", FailureClass.SERVER, None),
]


def test_a_text_answer() -> None:
    chunks, answer = read(START, delta(0, text="Hel"), delta(0, text="lo"), stop(0), ending())
    assert deltas(chunks) == [{"role": "assistant", "content": "Hel"}, {"content": "lo"}, {}]
    assert chunks[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert answer.failure is None
    assert answer.finish_reason == "stop"
    assert answer.usage_source is UsageSource.REPORTED


@pytest.mark.parametrize(("name", "failure_class", "status"), EXCEPTIONS)
def test_an_exception_before_the_first_token_delivers_nothing(
    name: str, failure_class: FailureClass, status: int | None
) -> None:
    """Hand-made: the stream has begun, and holds nothing but the exception."""
    chunks, answer = read(START, delta(0, text=""), exception(name, {"message": "Not now."}))
    assert chunks == []
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.status) == (failure_class, status)
    assert answer.failure.where is Where.HTTP_200_BODY
    assert answer.failure.message == "Not now."
    assert answer.failure.provider_code == name


@pytest.mark.parametrize(("name", "failure_class", "status"), EXCEPTIONS)
def test_an_exception_mid_stream_ends_it(name: str, failure_class: FailureClass, status: int | None) -> None:
    """Hand-made: what came before is kept, what follows is not read."""
    chunks, answer = read(START, delta(0, text="Hel"), exception(name, {"message": "No."}), delta(0, text="lo"))
    assert deltas(chunks) == [{"role": "assistant", "content": "Hel"}]
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.status) == (failure_class, status)
    assert answer.failure.where is Where.MID_STREAM


def test_the_original_status_of_a_model_error_is_kept() -> None:
    _, answer = read(exception("modelStreamErrorException", {"originalStatusCode": 503, "originalMessage": "Full."}))
    assert answer.failure is not None
    assert (answer.failure.status, answer.failure.message) == (503, "Full.")


def test_an_error_frame_is_a_failure() -> None:
    headers = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "Sorry."}
    _, answer = read(START, frame(headers, b""))
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.message) == (FailureClass.SERVER, "Sorry.")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("a_word_of_tomorrow", "stop"),
    ],
)
def test_stop_reasons(reason: str, finish: str) -> None:
    chunks, answer = read(START, delta(0, text="x"), ending(reason))
    assert answer.finish_reason == finish
    assert [choice["finish_reason"] for chunk in chunks for choice in _choices(chunk)][-1] == finish


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_malformed_output_is_a_failure(reason: str) -> None:
    _, answer = read(START, delta(0, text="x"), ending(reason))
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.SERVER


def test_reasoning_with_its_signature_and_redacted_reasoning() -> None:
    redacted = base64.b64encode(b"hidden").decode()
    chunks, _ = read(
        START,
        delta(0, reasoningContent={"text": "Let me "}),
        delta(0, reasoningContent={"text": "think."}),
        delta(0, reasoningContent={"signature": "c2ln"}),
        stop(0),
        delta(1, reasoningContent={"redactedContent": redacted}),
        stop(1),
        delta(2, text="Yes."),
        ending(),
    )
    found = deltas(chunks)
    assert [one.get("reasoning_content") for one in found[:2]] == ["Let me ", "think."]
    form = {"format": "anthropic-claude-v1"}
    text = form | {"index": 0, "type": "reasoning.text", "text": "Let me think.", "signature": "c2ln"}
    assert found[2] == {"reasoning_details": [text]}
    hidden = form | {"index": 1, "type": "reasoning.encrypted", "data": redacted}
    assert found[3] == {"reasoning_details": [hidden]}
    assert found[4] == {"content": "Yes."}


def test_interleaved_parallel_calls_keep_their_indices() -> None:
    first = {"toolUseId": "a", "name": "f"}
    second = {"toolUseId": "b", "name": "g"}
    chunks, answer = read(
        START,
        event("contentBlockStart", {"contentBlockIndex": 4, "start": {"toolUse": first}}),
        event("contentBlockStart", {"contentBlockIndex": 5, "start": {"toolUse": second}}),
        delta(5, toolUse={"input": '{"x'}),
        delta(5, toolUse={"input": '":1}'}),
        stop(4),
        stop(5),
        ending("tool_use"),
    )
    pieces = [piece for one in deltas(chunks) for piece in _pieces(one)]
    assert [piece["index"] for piece in pieces] == [0, 1, 1, 1, 0]
    assert [piece.get("id") for piece in pieces] == ["a", "b", None, None, None]
    assert pieces[-1]["function"] == {"arguments": "{}"}
    assert answer.finish_reason == "tool_calls"


def test_bedrocks_own_tool_calls_are_not_the_callers() -> None:
    use = {"toolUseId": "a", "name": "nova_grounding", "type": "server_tool_use"}
    chunks, answer = read(
        START,
        event("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": use}}),
        delta(0, toolUse={"input": "{}"}),
        stop(0),
        delta(1, text="Found."),
        delta(1, citation={"title": "A page", "location": {"web": {"url": "https://example.org"}}}),
        ending("end_turn"),
    )
    assert answer.finish_reason == "stop"
    assert [piece for one in deltas(chunks) for piece in _pieces(one)] == []
    assert deltas(chunks)[0] == {"role": "assistant", "content_parts": [{"toolUse": use}]}
    assert any("citations" in one for one in deltas(chunks))


def test_an_answer_without_any_content_is_an_answer() -> None:
    chunks, answer = read(START, ending())
    assert answer.failure is None
    assert deltas(chunks) == [{"role": "assistant", "content": ""}]


def test_missing_usage_is_not_invented() -> None:
    chunks, answer = read(START, delta(0, text="x"), event("messageStop", {"stopReason": "end_turn"}))
    assert answer.failure is None
    assert answer.usage_source is UsageSource.NONE
    assert [chunk for chunk in chunks if chunk.get("usage")] == []


def test_one_hour_cache_writes_are_separate() -> None:
    details = [{"ttl": "1h", "inputTokens": 30}, {"ttl": "5m", "inputTokens": 10}]
    counts = {"inputTokens": 5, "outputTokens": 2, "totalTokens": 147, "cacheReadInputTokens": 100}
    chunks, answer = read(
        START, delta(0, text="x"), ending("end_turn", **counts, cacheWriteInputTokens=40, cacheDetails=details)
    )
    token_usage = answer.token_usage
    assert (token_usage.input, token_usage.cached_read, token_usage.cache_write, token_usage.cache_write_1h) == (
        5,
        100,
        10,
        30,
    )
    assert token_usage.total == 147
    usage = chunks[-1]["usage"]
    assert isinstance(usage, dict)
    assert usage["prompt_tokens"] == 145
    assert usage["prompt_tokens_details"] == {"cached_tokens": 100, "cache_write_tokens": 40}


def test_a_total_with_the_cache_inside_the_input_is_respected() -> None:
    counts = {"inputTokens": 105, "outputTokens": 2, "totalTokens": 107, "cacheReadInputTokens": 100}
    _, answer = read(START, delta(0, text="x"), ending("end_turn", **counts))
    assert (answer.token_usage.input, answer.token_usage.cached_read, answer.token_usage.total) == (5, 100, 107)


def test_service_tier_routed_model_and_guardrail_trace_are_reported() -> None:
    trace = {"promptRouter": {"invokedModelId": "arn:aws:bedrock:model"}, "guardrail": {"actionReason": "none"}}
    metadata = {"usage": {"inputTokens": 1, "outputTokens": 1}, "serviceTier": {"type": "flex"}, "trace": trace}
    chunks, answer = read(
        START, delta(0, text="x"), event("messageStop", {"stopReason": "end_turn"}), event("metadata", metadata)
    )
    assert (answer.model_served, answer.service_tier) == ("arn:aws:bedrock:model", "flex")
    assert (chunks[-1]["trace"], chunks[-1]["service_tier"]) == (trace, "flex")


def test_a_document_in_place_of_a_stream_is_read_as_an_error() -> None:
    chunks, answer = read(b'{"__type":"ThrottlingException",', b'"message":"Slower, please."}')
    assert chunks == []
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.RATE_LIMIT
    assert answer.failure.where is Where.HTTP_200_BODY


@pytest.mark.parametrize("at", [0, 5, 9, 20, 60, -1])
def test_a_damaged_frame_is_a_failure(at: int) -> None:
    good = delta(0, text="Hello")
    damaged = bytearray(good)
    damaged[at] ^= 0x40
    chunks, answer = read(
        START, bytes(damaged), delta(0, text="more"), ending(), run=bedrock_run(model=NOVA, stream=True)
    )
    assert chunks == []
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.SERVER


def test_an_oversized_frame_is_rejected_by_its_length() -> None:
    parser = FrameParser(max_frame_bytes=1024)
    assert parser.feed(frame({}, b"x" * 2000)[:12]) == []
    assert parser.damage is not None
    assert parser.feed(START) == []


def test_headers_of_every_type_are_parsed() -> None:
    """Hand-made: Bedrock sends texts only, the format knows ten types."""
    values = [(0, b""), (1, b""), (2, b"a"), (3, b"aa"), (4, b"a" * 4), (5, b"a" * 8), (6, b"\0\2ab"), (8, b"a" * 8)]
    values += [(9, b"a" * 16), (7, b"\0\5event")]
    encoded = b"".join(struct.pack(">B", 1) + b"n" + struct.pack(">B", kind) + value for kind, value in values)
    prelude = struct.pack(">II", 16 + len(encoded), len(encoded))
    checked = prelude + struct.pack(">I", zlib.crc32(prelude)) + encoded
    (one,) = FrameParser().feed(checked + struct.pack(">I", zlib.crc32(checked)))
    assert one.headers == {"n": "event"}


def _choices(chunk: dict[str, object]) -> list[dict[str, object]]:
    choices = chunk["choices"]
    assert isinstance(choices, list)
    return choices


def _pieces(one: dict[str, object]) -> list[dict[str, object]]:
    pieces = one.get("tool_calls") or []
    assert isinstance(pieces, list)
    return pieces


@pytest.mark.parametrize(
    ("pieces", "arguments"), [(['{"a":1}', '{"a":1}'], '{"a":1}'), (["{}", '""'], "{}"), (["{}", '{"a":1}'], '{"a":1}')]
)
def test_nothing_follows_complete_arguments(pieces: list[str], arguments: str) -> None:
    begin = event("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}})
    inputs = [
        event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": each}}}) for each in pieces
    ]
    chunks, answer = read(
        START, begin, *inputs, event("messageStop", {"stopReason": "tool_use"}), event("metadata", {})
    )
    assert answer.failure is None
    calls = [call for each in deltas(chunks) for call in each.get("tool_calls", [])]  # type: ignore[attr-defined]
    assert "".join(call["function"]["arguments"] for call in calls) == arguments


def test_later_metadata_that_reports_less_takes_nothing_away() -> None:
    full = {"inputTokens": 100, "outputTokens": 7, "cacheReadInputTokens": 400, "totalTokens": 507}
    zero = {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
    reports = [event("metadata", {"usage": usage}) for usage in (full, zero)]
    chunks, answer = read(START, *reports, event("messageStop", {"stopReason": "end_turn"}))
    assert answer.token_usage == TokenUsage(input=100, cached_read=400, output=7)
    assert chunks[-2]["usage"]["prompt_tokens"] == 500  # type: ignore[index]


def test_cache_counts_that_overlap_stay_inside_the_total() -> None:
    usage = {
        "inputTokens": 2168,
        "outputTokens": 10,
        "totalTokens": 2178,
        "cacheReadInputTokens": 2161,
        "cacheWriteInputTokens": 2161,
    }
    _, answer = read(START, event("messageStop", {"stopReason": "end_turn"}), event("metadata", {"usage": usage}))
    assert answer.token_usage.total == 2178
