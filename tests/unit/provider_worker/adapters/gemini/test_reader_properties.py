"""Properties that hold for every body, however it is cut."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import Answer, RefusedByAdapter
from tests.support.providers.attempt_runs import attempt_run
from tests.unit.provider_worker.adapters.gemini.request_building import GEMINI, GEMINI_ON_VERTEX
from tests.unit.provider_worker.adapters.gemini.response_reading import answer_of, event, read

USAGE = {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 9}
EVENTS = st.sampled_from(
    [
        b": comment\r\n\r\n",
        b"data: {\r\n\r\n",
        b"data: [DONE]\n\n",
        event(answer_of({"text": "grün"}, finish=None)),
        event(answer_of({"text": "hm", "thought": True}, finish=None)),
        event(answer_of({"text": "", "thoughtSignature": "AA"}, finish=None, usageMetadata=USAGE)),
        event(answer_of({"functionCall": {"name": "f"}, "thoughtSignature": "AA"}, finish=None)),
        event(answer_of(usageMetadata=USAGE)),
        event(answer_of({"text": "x"}, finish="SAFETY")),
        event({"promptFeedback": {"blockReason": "OTHER"}}),
        event({"error": {"code": 503}}),
        b'{"error": {"code": 429}}\n',
        b'[{"candidates": [{"content": {"parts": [{"text": "]}"}]}}]}, {}',
        b"]",
    ]
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 600), st.floats(), st.text(max_size=8))
FIELDS = st.sampled_from(
    [
        "candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "name", "args", "id", "index",
        "finishReason", "usageMetadata", "promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount",
        "toolUsePromptTokenCount", "cachedContentTokenCount", "promptTokensDetails", "modality", "tokenCount", "serviceTier",
        "promptFeedback", "blockReason", "error", "code", "status", "message", "details", "reason", "retryDelay", "violations",
        "quotaId", "inlineData", "mimeType", "data", "logprobsResult", "chosenCandidates", "topCandidates", "token",
        "logProbability", "modelVersion", "responseId", "createTime", "embeddings", "embedding", "values", "predictions",
        "statistics", "token_count", "groundingMetadata", "fieldViolations", "field",
    ]
)  # fmt: skip
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(FIELDS, inner, max_size=6)),
    max_leaves=25,
)
ANSWERS = st.fixed_dictionaries(
    {"candidates": st.lists(st.fixed_dictionaries(
        {"content": st.fixed_dictionaries({"parts": st.lists(st.dictionaries(FIELDS, DOCUMENTS, max_size=4), max_size=3)})},
        optional={
            "finishReason": st.sampled_from(["STOP", "SAFETY", "", None, 3]), "index": SCALARS, "logprobsResult": DOCUMENTS,
        },
    ), max_size=3)},
    optional={"usageMetadata": DOCUMENTS, "error": DOCUMENTS, "modelVersion": SCALARS, "promptFeedback": DOCUMENTS},
)  # fmt: skip


def check(chunks: list[bytes], answer: Answer) -> None:
    for chunk in chunks:
        assert b"\n" not in chunk
        document = json.loads(chunk)
        assert document["object"] == "chat.completion.chunk"
        assert document["choices"] or document["usage"]
    if answer.failure is None:
        assert answer.body or answer.finish_reason in ("stop", "length", "tool_calls", "content_filter")
    else:
        assert answer.failure.message
        assert answer.body == b""
    if answer.body:
        json.loads(answer.body)


@given(st.lists(EVENTS, max_size=10), st.lists(st.integers(0, 10_000), max_size=20), st.booleans())
def test_any_cutting_gives_the_same_chunks_and_the_same_answer(
    events: list[bytes], cuts: list[int], include_usage: bool
) -> None:
    body = b"".join(events)
    whole = read(body, stream=True, include_usage=include_usage)
    assert read(body, cuts=cuts, stream=True, include_usage=include_usage) == whole
    assert read(body, cuts=range(len(body)), stream=True, include_usage=include_usage) == whole
    check(*whole)


@given(
    st.binary(max_size=400),
    st.lists(st.integers(0, 400), max_size=5),
    st.booleans(),
    st.sampled_from([200, 204, 302, 400, 429, 503]),
    st.sampled_from(list(RequestKind)),
)
def test_no_bytes_break_a_reader(body: bytes, cuts: list[int], stream: bool, status: int, kind: RequestKind) -> None:
    for text in (body, b"data: " + body + b"\n\n", b"[" + body, b"{" + body):
        check(*read(text, cuts=cuts, stream=stream, status=status, kind=kind))


@settings(max_examples=200)
@given(st.lists(st.one_of(DOCUMENTS, ANSWERS), min_size=1, max_size=4), st.sampled_from([200, 400, 429]))
def test_no_json_breaks_a_reader(documents: list[object], status: int) -> None:
    check(*read(b"".join(map(event, documents)), stream=True, status=status))
    check(*read(json.dumps(documents).encode(), stream=True, status=status))
    for kind in RequestKind:
        check(*read(json.dumps(documents[0]).encode(), stream=False, status=status, kind=kind))


def test_deep_nesting_breaks_no_reader() -> None:
    for depth in (100, 300, 900, 2000, 100_000):
        for opening, closing in (("[", "]"), ('{"parts":', "}")):
            inner = opening * depth + "1" + closing * depth
            for part in (f'{{"functionCall": {{"name": "f", "args": {{"a": {inner}}}}}}}', f'{{"odd": {inner}}}'):
                body = f'{{"candidates": [{{"content": {{"parts": [{part}]}}, "finishReason": "STOP"}}]}}'.encode()
                check(*read(body, stream=False))
                check(*read(body, stream=True))
                check(*read(b"data: " + body + b"\n\n", stream=True))


BODY_FIELDS = st.sampled_from(
    [
        "messages", "role", "content", "type", "text", "image_url", "url", "input_audio", "format", "file", "file_id",
        "tool_calls", "function", "name", "arguments", "tool_call_id", "tools", "tool_choice", "parameters", "properties",
        "response_format", "json_schema", "schema", "reasoning_effort", "stop", "n", "logprobs", "top_logprobs", "input",
        "dimensions", "encoding_format", "extra_body", "google", "metadata", "reasoning_details", "content_start",
        "content_end", "data", "modalities", "service_tier", "anyOf", "$ref", "$defs", "extra_content", "detail",
    ]
)  # fmt: skip
VALUES = st.one_of(
    SCALARS,
    st.sampled_from(
        ["user", "assistant", "tool", "system", "text", "image_url", "function", "json_schema", "object", "low"]
    ),
)
BODIES = st.dictionaries(
    BODY_FIELDS,
    st.recursive(
        VALUES,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(BODY_FIELDS, inner, max_size=6)),
        max_leaves=30,
    ),
    max_size=6,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool", "developer"])},
        optional={"content": VALUES, "tool_calls": st.lists(BODIES, max_size=2), "reasoning_details": st.lists(BODIES)},
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=100)
@given(
    BODIES,
    MESSAGES,
    st.booleans(),
    st.sampled_from(["gemini-2.0-flash", "gemini-3-pro"]),
    st.sampled_from(list(RequestKind)),
)
def test_any_body_is_translated_or_rejected(
    body: dict[str, object], messages: list[object], drop: bool, model: str, kind: RequestKind
) -> None:
    text = json.dumps({"messages": messages, "input": "x"} | body).encode()
    for adapter in (GEMINI, GEMINI_ON_VERTEX):
        run = attempt_run(model=model, drop_unsupported=drop, kind=kind, key_fields={"project": "p1"})
        refusal = None
        try:
            assert isinstance(json.loads(adapter.request(run, text).content), dict)
        except RefusedByAdapter as refused:
            refusal = refused.failure
        assert refusal is None or (refusal.param and refusal.status == 400)
