"""Properties that hold for every body, however it is cut."""

import itertools
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.contracts.failure import Failure
from services.provider_worker.adapters.adapter import Answer, UpstreamRequest
from tests.support.providers.attempt_runs import attempt_run
from tests.unit.provider_worker.adapters.anthropic.message_events import (
    ADAPTER,
    STOP,
    block,
    end,
    event,
    outcome_of,
    start,
    text,
    tool,
)

EVENTS = st.sampled_from(
    [
        start(input_tokens=3, output_tokens=1),
        text(0, "grün", "e"),
        block(1, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "hm"}),
        block(2, {"type": "redacted_thinking", "data": "x"}),
        tool(3, "f", '{"a"', ":1}"),
        tool(4, "json_answer", '{"b"', ":1}"),
        block(5, {"type": "server_tool_use", "name": "web_search"}),
        event({"type": "ping"}),
        b": keep-alive\n\n",
        b"\r\n",
        b"data: {\n\n",
        event({"type": "error", "error": {"type": "overloaded_error"}}),
        end("tool_use"),
        end("max_tokens"),
        event(STOP),
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 600),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["text", "thinking", "tool_use", "error", "message_start", "text_delta", "input_json_delta"]),
)
FIELDS = st.sampled_from(
    [
        "type", "message", "content", "content_block", "delta", "index", "text", "thinking", "signature", "partial_json",
        "input", "name", "id", "usage", "input_tokens", "output_tokens", "cache_creation", "output_tokens_details",
        "thinking_tokens", "stop_reason", "stop_details", "explanation", "citation", "citations", "url", "error", "model",
        "role", "tool_calls", "function", "arguments", "reasoning_details", "content_parts", "tools", "tool_choice",
        "response_format", "json_schema", "schema", "image_url", "file", "file_data", "metadata", "cache_control",
    ]
)  # fmt: skip
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(FIELDS, inner, max_size=6)),
    max_leaves=25,
)
TYPED = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "error"]
        )
    },
    optional={
        "index": st.integers(0, 2),
        "message": DOCUMENTS,
        "content_block": st.fixed_dictionaries(
            {"type": st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "other"])},
            optional={"text": DOCUMENTS, "input": DOCUMENTS, "citations": DOCUMENTS, "caller": DOCUMENTS, "name": DOCUMENTS},
        ),
        "delta": st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(
                    ["text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta"]
                ),
                "text": DOCUMENTS,
                "partial_json": st.text(max_size=5),
                "citation": DOCUMENTS,
                "stop_reason": DOCUMENTS,
                "stop_details": DOCUMENTS,
            },
        ),
        "usage": DOCUMENTS,
        "error": DOCUMENTS,
    },
)  # fmt: skip


def run(body: bytes, cuts: list[int], *, stream: bool, status: int = 200) -> tuple[list[bytes], Answer]:
    request = UpstreamRequest("https://provider.test", {}, b"", notes={"json_tool": "json_answer"})
    headers = {"retry-after": "1"}
    one = ADAPTER.reader(attempt_run(stream=stream, include_usage=True), request, status, headers)
    bounds = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    chunks = [chunk for first, last in itertools.pairwise(bounds) for chunk in one.feed(body[first:last])]
    answer = one.close()
    assert one.close() == answer
    return chunks, answer


def check(chunks: list[bytes], answer: Answer) -> None:
    """Assert what the worker relies on for any input."""
    for position, chunk in enumerate(chunks):
        assert b"\n" not in chunk
        document = json.loads(chunk)
        assert document["object"] == "chat.completion.chunk"
        assert isinstance(document["choices"], list)
        assert (position == 0) == any("role" in choice["delta"] for choice in document["choices"])
    if answer.body:
        assert json.loads(answer.body)["choices"]
    if answer.failure is None:
        assert answer.finish_reason in ("stop", "length", "tool_calls", "content_filter")
    else:
        assert answer.failure.message
        assert answer.body == b""


@given(st.lists(EVENTS, max_size=12), st.lists(st.integers(0, 10_000), max_size=20))
def test_any_cutting_gives_the_same_chunks_and_the_same_answer(events: list[bytes], cuts: list[int]) -> None:
    body = b"".join(events)
    whole = run(body, [], stream=True)
    assert run(body, cuts, stream=True) == whole
    assert run(body, list(range(len(body))), stream=True) == whole
    check(*whole)


@given(
    st.binary(max_size=400),
    st.lists(st.integers(0, 400), max_size=5),
    st.booleans(),
    st.sampled_from([200, 204, 302, 400, 429, 503]),
)
def test_no_bytes_break_a_reader(body: bytes, cuts: list[int], stream: bool, status: int) -> None:
    check(*run(body, cuts, stream=stream, status=status))
    check(*run(b"data: " + body + b"\n\n", cuts, stream=True))


@settings(max_examples=300)
@given(st.lists(st.one_of(DOCUMENTS, TYPED), min_size=1, max_size=5), st.sampled_from([200, 400, 429, 529]))
def test_no_json_breaks_a_reader(documents: list[object], status: int) -> None:
    body = b"".join(b"data: " + json.dumps(document).encode() + b"\n\n" for document in documents) + end()
    check(*run(body, [], stream=True))
    check(*run(json.dumps(documents[0]).encode(), [], stream=False, status=status))


@settings(max_examples=300)
@given(st.dictionaries(FIELDS, DOCUMENTS, max_size=6), st.lists(DOCUMENTS, max_size=4), st.booleans())
def test_no_request_breaks_the_adapter(document: dict[str, object], messages: list[object], drop: bool) -> None:
    """Assert that any request is translated, or rejected with a message."""
    hello = {"role": "user", "content": "hi"}
    body = json.dumps(document | {"messages": [hello, *messages]}).encode()
    outcome = outcome_of(attempt_run(model="claude-haiku-4-5", drop_unsupported=drop), body)
    if isinstance(outcome, Failure):
        assert outcome.message
        assert outcome.status == 400
    else:
        assert json.loads(outcome.content)["messages"]
        assert drop or outcome.dropped == ()


def test_deep_nesting_breaks_no_reader() -> None:
    for depth in (100, 300, 900, 2000, 100_000):
        inner = '{"a":' * depth + "1" + "}" * depth
        use = f'{{"type":"tool_use","id":"t","name":"f","input":{inner}}}'
        begin = f'data: {{"type":"content_block_start","index":0,"content_block":{use}}}\n\n'.encode()
        check(*run(begin + end("tool_use"), [], stream=True))
        other = begin.replace(b'"tool_use"', b'"other"')
        check(*run(other + end(), [], stream=True))
        check(*run(f'{{"content":[{use}],"stop_reason":"tool_use"}}'.encode(), [], stream=False))
