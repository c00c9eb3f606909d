"""In every adapter: an answer that is complete is read, whatever stands around its JSON document."""

import json
from collections.abc import Mapping

import pytest

from services.provider_worker.adapters.adapter import Answer, UpstreamRequest
from services.provider_worker.adapters.registry import ADAPTERS
from tests.support.providers.attempt_runs import attempt_run

ANSWERS: Mapping[str, object] = {
    "openai": {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]
    },
    "bedrock": {"output": {"message": {"content": [{"text": "hello"}]}}, "stopReason": "end_turn"},
    "cohere": {"message": {"content": [{"type": "text", "text": "hello"}]}, "finish_reason": "COMPLETE"},
    "gemini": {"candidates": [{"content": {"parts": [{"text": "hello"}]}, "finishReason": "STOP"}]},
    "anthropic": {"type": "message", "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn"},
}
BOM = "\ufeff".encode()


def read(provider: str, body: bytes, status: int = 200) -> Answer:
    reader = ADAPTERS[provider].reader(attempt_run(), UpstreamRequest("https://provider.test", {}, b""), status, {})
    reader.feed(body)
    return reader.close()


@pytest.mark.parametrize("provider", ANSWERS)
@pytest.mark.parametrize("before", [b"", BOM, b"\r\n\r\n", b"\0", b" \n" + BOM + b"\n"])
@pytest.mark.parametrize(
    "behind", [b"", b"\n\n", b"\0\0", b"[DONE]", b"\ndata: [DONE]\n\n", b'{"error":"late"}', b"}", b"\xff"]
)
def test_a_complete_document_is_read_whatever_is_around_it(provider: str, before: bytes, behind: bytes) -> None:
    answer = read(provider, before + json.dumps(ANSWERS[provider]).encode() + behind)
    assert answer.failure is None
    completion = json.loads(answer.body)
    assert completion["choices"][0]["message"]["content"] == "hello"


@pytest.mark.parametrize("provider", ANSWERS)
def test_a_document_that_is_cut_off_is_not_read(provider: str) -> None:
    text = json.dumps(ANSWERS[provider]).encode()
    for end in range(len(text)):
        assert read(provider, text[:end]).failure is not None


@pytest.mark.parametrize("provider", ANSWERS)
def test_an_error_is_read_whatever_is_around_it(provider: str) -> None:
    error = json.dumps({"message": "no such thing", "error": {"message": "no such thing"}}).encode()
    failure = read(provider, BOM + error + b"\0\n", 400).failure
    assert failure is not None
    assert failure.message == "no such thing"
