"""The built-in provider that returns the user's last message."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.adapter import RefusedByAdapter
from services.provider_worker.adapters.echo import count_tokens, echo_request
from services.provider_worker.adapters.openai_compatible.stream import StreamReader
from tests.support.providers.attempt_runs import attempt_run

NOW = 1_790_000_000


def body(*messages: object, **parameters: object) -> bytes:
    return json.dumps({"model": "echo", "messages": messages, **parameters}).encode()


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def test_the_answer_is_the_last_user_message() -> None:
    request = body(
        {"role": "system", "content": "Be kind."},
        user("first"),
        {"role": "assistant", "content": "x"},
        user("Hello, big world!"),
    )
    made = echo_request(attempt_run(model="echo"), request, NOW)
    completion = json.loads(made.answer.body)
    assert completion["choices"][0]["message"]["content"] == "Hello, big world!"
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert completion["model"] == "echo"
    assert completion["created"] == NOW
    assert completion["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert made.answer.token_usage == TokenUsage(input=10, output=5)
    assert made.answer.usage_source is UsageSource.REPORTED
    assert made.answer.failure is None


def test_text_parts_are_joined_and_others_left_out() -> None:
    parts = [
        {"type": "text", "text": "a b"},
        {"type": "image_url", "image_url": {"url": "data:,"}},
        {"type": "text", "text": " c"},
    ]
    made = echo_request(attempt_run(), body(user(parts)), NOW)
    assert json.loads(made.answer.body)["choices"][0]["message"]["content"] == "a b c"


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_stream_has_one_chunk_per_token(include_usage: bool) -> None:
    made = echo_request(attempt_run(stream=True, include_usage=include_usage), body(user("one two, three")), NOW)
    chunks = [json.loads(chunk) for chunk in made.chunks()]
    usage = chunks.pop() if include_usage else None
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"content": "one"},
        {"content": " two"},
        {"content": ","},
        {"content": " three"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 5 + ["stop"]
    assert made.answer.body == b""
    if usage is not None:
        assert usage["choices"] == []
        assert usage["usage"] == {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_cuts_the_answer(name: str) -> None:
    made = echo_request(attempt_run(), body(user("one two three"), **{name: 2}), NOW)
    choice = json.loads(made.answer.body)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one two", "length")
    assert made.answer.token_usage.output == 2
    assert echo_request(attempt_run(), body(user("one two"), **{name: 2}), NOW).answer.finish_reason == "stop"


@pytest.mark.parametrize(
    ("request_body", "param"),
    [
        (body(user("x"), n=2), "n"),
        (body(user("x"), max_tokens=0), "max_tokens"),
        (body({"role": "system", "content": "x"}), "messages"),
        (body(user("  ")), "messages"),
        (body(user([{"type": "image_url"}])), "messages"),
        (b"{}", "messages"),
        (b"[]", None),
    ],
)
def test_unsupported_requests_are_rejected(request_body: bytes, param: str | None) -> None:
    with pytest.raises(RefusedByAdapter) as caught:
        echo_request(attempt_run(), request_body, NOW)
    failure = caught.value.failure
    assert (failure.failure_class, failure.where, failure.param) == (FailureClass.BAD_REQUEST, Where.NOT_SENT, param)


@given(st.text(min_size=1).filter(lambda text: text.strip() != ""))
def test_every_text_is_echoed_in_full_and_streams_like_openai(text: str) -> None:
    made = echo_request(attempt_run(stream=True, include_usage=True), body(user(text)), NOW)
    chunks = list(made.chunks())
    reader = StreamReader(attempt_run(stream=True, include_usage=True), {})
    passed = [chunk for sent in chunks for chunk in reader.feed(b"data: " + sent + b"\n\n")]
    answer = reader.close()
    assert passed == chunks
    assert answer == made.answer
    deltas = [choice["delta"] for chunk in chunks for choice in json.loads(chunk)["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == text
    assert made.answer.token_usage == TokenUsage(input=count_tokens(text), output=count_tokens(text))
