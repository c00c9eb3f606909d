"""Properties that hold for every body, however it is cut."""

import itertools
import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.provider_worker.adapters.adapter import Answer, AnswerReader, UpstreamRequest
from services.provider_worker.adapters.registry import adapter_for
from tests.support.providers.attempt_runs import attempt_run
from tests.unit.provider_worker.adapters.openai_compatible.stream_bodies import DONE, delta, event, tool

EVENTS = st.sampled_from(
    [
        DONE,
        b": OPENROUTER PROCESSING\n\n",
        b"event: error\ndata: {}\n\n",
        b"data: {\n\n",
        b"\r\n",
        delta(None, role="assistant", content=""),
        delta(None, content="grün"),
        delta(None, reasoning="hm"),
        delta("stop"),
        delta("length", content=[{"type": "text", "text": "x"}]),
        tool(0, "a", "f", ""),
        tool(0, "b", "g", '{"x":1}'),
        tool(None, None, None, "}"),
        event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 9}}),
        event({"error": {"code": 500}}),
    ]
)

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 600), st.floats(), st.text(max_size=8))
FIELDS = st.sampled_from(
    [
        "choices", "delta", "message", "index", "finish_reason", "content", "reasoning", "tool_calls", "id", "function",
        "name", "arguments", "usage", "prompt_tokens", "completion_tokens", "total_tokens", "error", "code", "metadata",
        "raw", "x_groq", "model", "type", "thinking", "text", "cost",
    ]
)  # fmt: skip
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(FIELDS, inner, max_size=6)),
    max_leaves=25,
)
CHOICES = st.fixed_dictionaries(
    {"choices": st.lists(st.dictionaries(FIELDS, DOCUMENTS, max_size=5), max_size=3)},
    optional={"usage": DOCUMENTS, "error": SCALARS, "model": SCALARS, "x_groq": DOCUMENTS},
)


def reader(*, stream: bool, include_usage: bool = True, status: int = 200) -> AnswerReader:
    return adapter_for("custom").reader(
        attempt_run(stream=stream, include_usage=include_usage),
        UpstreamRequest("https://provider.test", {}, b""),
        status,
        {"retry-after": "1"},
    )


def run(
    body: bytes, cuts: list[int], *, stream: bool, include_usage: bool = True, status: int = 200
) -> tuple[list[bytes], Answer]:
    one = reader(stream=stream, include_usage=include_usage, status=status)
    bounds = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    chunks = [chunk for start, end in itertools.pairwise(bounds) for chunk in one.feed(body[start:end])]
    return chunks, one.close()


def check(body: bytes, chunks: list[bytes], answer: Answer) -> None:
    """Assert what the worker relies on for any input."""
    for chunk in chunks:
        assert b"\n" not in chunk
        document = json.loads(chunk)
        assert isinstance(document["choices"], list)
        assert not document.get("error")
    if answer.body:
        assert json.loads(answer.body)["choices"]
    assert answer.token_usage.total >= 0
    if answer.failure is not None:
        assert answer.failure.message
        assert answer.body == b""


@given(st.lists(EVENTS, max_size=12), st.lists(st.integers(0, 10_000), max_size=20), st.booleans())
def test_any_cutting_gives_the_same_chunks_and_the_same_answer(
    events: list[bytes], cuts: list[int], include_usage: bool
) -> None:
    body = b"".join(events)
    whole = run(body, [], stream=True, include_usage=include_usage)
    assert run(body, cuts, stream=True, include_usage=include_usage) == whole
    assert run(body, list(range(len(body))), stream=True, include_usage=include_usage) == whole
    check(body, *whole)


@given(
    st.binary(max_size=400),
    st.lists(st.integers(0, 400), max_size=5),
    st.booleans(),
    st.sampled_from([200, 204, 302, 400, 503]),
)
def test_no_bytes_break_a_reader(body: bytes, cuts: list[int], stream: bool, status: int) -> None:
    check(body, *run(body, cuts, stream=stream, status=status))
    check(body, *run(b"data: " + body + b"\n\n", cuts, stream=True))


@settings(max_examples=300)
@given(st.lists(st.one_of(DOCUMENTS, CHOICES), min_size=1, max_size=4), st.booleans())
def test_no_json_breaks_a_reader(documents: list[object], include_usage: bool) -> None:
    body = b"".join(event(document) for document in documents) + DONE
    check(body, *run(body, [], stream=True, include_usage=include_usage))
    whole = json.dumps(documents[0]).encode()
    check(whole, *run(whole, [], stream=False))


def test_deep_nesting_breaks_no_reader() -> None:
    for depth in (100, 300, 900, 2000, 100_000):
        for opening, closing in (("[", "]"), ('{"delta":', "}")):
            inner = opening * depth + "1" + closing * depth
            body = f'{{"choices":[{{"index":"x","delta":{{"content":"a"}},"extra":{inner}}}]}}'.encode()
            for stream in (True, False):
                text = b"data: " + body + b"\n\n" if stream else body
                check(text, *run(text, [], stream=stream))


def test_a_finished_reader_ignores_more_data() -> None:
    source = random.Random(7)
    one = reader(stream=True)
    one.feed(delta("stop", content="x") + DONE)
    answer = one.close()
    assert [chunk for _ in range(50) for chunk in one.feed(source.randbytes(20) + delta(None, content="late"))] == []
    assert one.close() == answer
