"""Properties of Bedrock's and Cohere's readers that hold for every body, however it is cut."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import Adapter, Answer, RefusedByAdapter, UpstreamRequest
from services.provider_worker.adapters.bedrock.adapter import BedrockAdapter
from services.provider_worker.adapters.cohere.adapter import CohereAdapter
from tests.support.providers import aws_event_stream as aws_frames
from tests.support.providers.attempt_runs import attempt_run

ADAPTERS: tuple[Adapter, ...] = (BedrockAdapter(), CohereAdapter())
NAMES = [
    "messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata",
    "throttlingException", "", "message-start", "content-start", "content-delta", "content-end", "tool-plan-delta",
    "tool-call-start", "tool-call-delta", "citation-start", "message-end", "debug",
]  # fmt: skip
FIELDS = st.sampled_from(
    [
        "output", "message", "content", "text", "toolUse", "toolUseId", "name", "input", "reasoningContent", "reasoningText",
        "signature", "redactedContent", "stopReason", "usage", "inputTokens", "outputTokens", "totalTokens", "delta",
        "cacheReadInputTokens", "cacheDetails", "ttl", "contentBlockIndex", "start", "citation", "trace", "serviceTier",
        "type", "index", "id", "tool_plan", "tool_calls", "function", "arguments", "thinking", "finish_reason", "error",
        "tokens", "billed_units", "input_tokens", "cached_tokens", "embeddings", "embedding", "float", "meta", "logprobs",
        "citations", "__type", "originalStatusCode",
    ]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 600),
    st.integers(10**11, 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([*NAMES, "ERROR", "TOOL_CALL", "end_turn", "malformed_tool_use", "server_tool_use"]),
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(FIELDS, inner, max_size=6)),
    max_leaves=25,
)
OBJECTS = st.dictionaries(FIELDS, DOCUMENTS, max_size=6)
TOP = [
    "tools", "tool_choice", "response_format", "stop", "user", "metadata", "reasoning_effort", "max_tokens", "dimensions",
    "additionalModelRequestFields", "requestMetadata", "thinking", "parallel_tool_calls", "service_tier", "encoding_format",
]  # fmt: skip
PART_FIELDS = st.sampled_from(
    [
        "type", "text", "image_url", "url", "detail", "file", "file_data", "filename", "cache_control", "ttl", "function",
        "name", "id", "arguments", "parameters", "strict", "json_schema", "schema", "format", "signature", "data", "input_audio",
    ]
)  # fmt: skip
WORDS = st.sampled_from(
    [
        "text", "image_url", "file", "input_audio", "function", "json_schema", "json_object", "auto", "required", "low", "f",
        "reasoning.text", "reasoning.encrypted", "anthropic-claude-v1", "cohere-thinking-v1", "data:image/png;base64,AA==",
        "data:application/pdf;base64,AA==", "{}", '{"x":', "ephemeral", "\ud800",
    ]
)  # fmt: skip
PARTS = st.recursive(
    st.one_of(SCALARS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(PART_FIELDS, inner, max_size=5)),
    max_leaves=15,
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer"])},
    optional={
        "content": PARTS,
        "tool_calls": PARTS,
        "reasoning_details": PARTS,
        "reasoning_content": PARTS,
        "tool_call_id": st.one_of(WORDS, SCALARS),
        "name": SCALARS,
        "refusal": PARTS,
    },
)
EVENTS = st.lists(st.tuples(st.sampled_from(NAMES), OBJECTS), max_size=6)
CUTS = st.lists(st.integers(0, 10_000), max_size=8)
KINDS = st.sampled_from(list(RequestKind))
STATUSES = st.sampled_from([200, 204, 302, 400, 403, 429, 503])


def attempt(*, stream: bool, kind: RequestKind) -> AttemptRun:
    run = attempt_run(stream=stream and kind is RequestKind.CHAT, include_usage=True)
    return run.model_copy(update={"kind": kind, "key_fields": {"region": "us-east-1"}})


def outcome(
    adapter: Adapter,
    body: bytes,
    cuts: list[int],
    *,
    stream: bool,
    kind: RequestKind = RequestKind.CHAT,
    status: int = 200,
) -> tuple[list[bytes], Answer]:
    request = UpstreamRequest("https://provider.test", {}, b"")
    reader = adapter.reader(attempt(stream=stream, kind=kind), request, status, {"retry-after": "1"})
    bounds = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    chunks = [chunk for start, end in itertools.pairwise(bounds) for chunk in reader.feed(body[start:end])]
    return chunks, reader.close()


def check(chunks: list[bytes], answer: Answer) -> None:
    """Assert what the worker relies on for any input."""
    for chunk in chunks:
        assert b"\n" not in chunk
        assert isinstance(json.loads(chunk)["choices"], list)
    assert answer.token_usage.total >= 0
    if answer.failure is None:
        assert answer.finish_reason or json.loads(answer.body)["object"] == "list"
    else:
        assert answer.failure.message
        assert answer.body == b""


def streams(events: list[tuple[str, dict[str, object]]]) -> tuple[bytes, bytes]:
    """The same events as Bedrock frames them and as Cohere does."""
    frames = b"".join(aws_frames.event(name, document) for name, document in events)
    texts = b"".join(f"data: {json.dumps({**document, 'type': name})}\n\n".encode() for name, document in events)
    return frames, texts


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda one: type(one).__name__)
@given(st.binary(max_size=400), CUTS, st.booleans(), KINDS, STATUSES)
def test_no_bytes_break_a_reader(
    adapter: Adapter, body: bytes, cuts: list[int], stream: bool, kind: RequestKind, status: int
) -> None:
    check(*outcome(adapter, body, cuts, stream=stream, kind=kind, status=status))
    check(*outcome(adapter, aws_frames.frame({":event-type": "contentBlockDelta"}, body), cuts, stream=True))
    check(*outcome(adapter, b"data: " + body + b"\n\n", cuts, stream=True))


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda one: type(one).__name__)
@settings(max_examples=100)
@given(OBJECTS, st.booleans(), KINDS, STATUSES)
def test_no_document_breaks_a_reader(
    adapter: Adapter, document: dict[str, object], stream: bool, kind: RequestKind, status: int
) -> None:
    check(*outcome(adapter, json.dumps(document).encode(), [], stream=stream, kind=kind, status=status))


@settings(max_examples=120)
@given(EVENTS, CUTS)
def test_any_events_however_they_are_cut_give_one_answer(
    events: list[tuple[str, dict[str, object]]], cuts: list[int]
) -> None:
    for adapter, body in zip(ADAPTERS, streams(events), strict=True):
        whole = outcome(adapter, body, [], stream=True)
        check(*whole)
        assert outcome(adapter, body, cuts, stream=True) == whole
        assert outcome(adapter, body, list(range(len(body))), stream=True) == whole


@settings(max_examples=200)
@given(st.lists(MESSAGES, max_size=4), st.dictionaries(st.sampled_from(TOP), PARTS, max_size=4), PARTS)
def test_no_request_breaks_an_adapter(messages: list[object], fields: dict[str, object], given_input: object) -> None:
    document = fields | {"messages": messages, "input": given_input}
    for adapter, kind in itertools.product(ADAPTERS, RequestKind):
        content = content_or_refusal(adapter, kind, json.dumps(document).encode())
        assert isinstance(content, str) or json.loads(content)


def content_or_refusal(adapter: Adapter, kind: RequestKind, body: bytes) -> bytes | str:
    """Return the content to send, or the rejection: the only exception that an adapter may raise."""
    try:
        return adapter.request(attempt(stream=False, kind=kind), body).content
    except RefusedByAdapter as refusal:
        return refusal.failure.message


def test_deep_nesting_breaks_no_reader() -> None:
    for depth in (100, 300, 2000, 100_000):
        deep = '{"a":' * depth + "1" + "}" * depth
        bodies = (
            aws_frames.frame({":event-type": "contentBlockDelta"}, f'{{"delta":{{"citation":{deep}}}}}'.encode()),
            f'data: {{"type":"citation-start","delta":{{"message":{{"citations":[{deep}]}}}}}}\n\n'.encode(),
        )
        whole = f'{{"stopReason":"x","finish_reason":"x","output":{{"message":{{"content":[{{"toolUse":{{"input":{deep}}}}}]}}}},'
        whole += f'"message":{{"citations":[{deep}]}}}}'
        for adapter, body in zip(ADAPTERS, bodies, strict=True):
            check(*outcome(adapter, body, [], stream=True))
            check(*outcome(adapter, whole.encode(), [], stream=False))


def test_a_finished_reader_ignores_more_data() -> None:
    bedrock = aws_frames.START + aws_frames.delta(0, text="x") + aws_frames.ending()
    cohere = b'data: {"type":"message-end","delta":{"finish_reason":"COMPLETE"}}\n\n'
    request = UpstreamRequest("https://provider.test", {}, b"")
    for adapter, body in zip(ADAPTERS, (bedrock, cohere), strict=True):
        reader = adapter.reader(attempt(stream=True, kind=RequestKind.CHAT), request, 200, {})
        assert reader.feed(body)
        assert reader.over
        answer = reader.close()
        assert reader.feed(body + b"more") == []
        assert reader.close() == answer
