"""Embeddings as OpenAI answers them. The answers are hand-made after Google's API reference; one is recorded elsewhere."""

import base64
import json
import struct
from typing import Any

import pytest

from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.usage import RequestKind, TokenUsage, UsageSource
from services.provider_worker.adapters.adapter import Answer
from tests.support.providers.attempt_runs import attempt_run
from tests.unit.provider_worker.adapters.gemini.request_building import GEMINI, GEMINI_ON_VERTEX, build_request

BATCH = {"embeddings": [{"values": [0.5, -0.25]}, {"values": [1, 0.1]}], "usageMetadata": {"promptTokenCount": 8}}
PREDICTED = {
    "predictions": [
        {"embeddings": {"values": [0.5, -0.25], "statistics": {"token_count": 3, "truncated": False}}},
        {"embeddings": {"values": [1, 0.1], "statistics": {"token_count": 5, "truncated": False}}},
    ],
    "metadata": {"billableCharacterCount": 20},
}


def read_embeddings(document: object, body: dict[str, Any], *, vertex: bool = False) -> Answer:
    """What `document` answers to the embeddings request `body`."""
    request = build_request(body, model="text-embedding-005", vertex=vertex, kind=RequestKind.EMBEDDING)
    run = attempt_run(model="text-embedding-005", kind=RequestKind.EMBEDDING)
    reader = (GEMINI_ON_VERTEX if vertex else GEMINI).reader(run, request, 200, {})
    assert reader.feed(json.dumps(document).encode()) == []
    return reader.close()


@pytest.mark.parametrize(("document", "vertex"), [(BATCH, False), (PREDICTED, True)], ids=["batch", "predict"])
def test_both_response_forms_become_openais_list(document: dict[str, Any], vertex: bool) -> None:
    answer = read_embeddings(document, {"input": ["a", "b"]}, vertex=vertex)
    assert answer.failure is None
    assert json.loads(answer.body) == {
        "object": "list",
        "model": "text-embedding-005",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -0.25]},
            {"object": "embedding", "index": 1, "embedding": [1, 0.1]},
        ],
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }
    assert (answer.token_usage, answer.usage_source) == (TokenUsage(input=8), UsageSource.REPORTED)


def test_one_text_has_one_vector() -> None:
    answer = read_embeddings({"embedding": {"values": [0.5]}}, {"input": "a", "encoding_format": "float"})
    assert [row["embedding"] for row in json.loads(answer.body)["data"]] == [[0.5]]
    assert (answer.token_usage, answer.usage_source) == (TokenUsage(), UsageSource.NONE)


def test_base64_is_32_bit_floats_low_byte_first() -> None:
    answer = read_embeddings(BATCH, {"input": ["a", "b"], "encoding_format": "base64"})
    rows = [base64.b64decode(row["embedding"]) for row in json.loads(answer.body)["data"]]
    assert rows == [struct.pack("<2f", 0.5, -0.25), struct.pack("<2f", 1, 0.1)]


@pytest.mark.parametrize(
    ("document", "failure_class"),
    [
        ({"embeddings": []}, FailureClass.SERVER),
        ({"embeddings": [{"values": [1]}, {"values": []}]}, FailureClass.SERVER),
        ({"embeddings": [{"values": [1]}, {"values": ["x"]}]}, FailureClass.SERVER),
        ({"embeddings": [{"values": [1]}, {"values": [1e300]}]}, FailureClass.SERVER),
        ({"embeddings": [{"values": [1]}]}, FailureClass.SERVER),
        ({"error": {"code": 429, "message": "slow"}}, FailureClass.RATE_LIMIT),
        ([1], FailureClass.SERVER),
    ],
)
def test_an_answer_without_a_vector_for_every_text_is_a_failure(document: object, failure_class: FailureClass) -> None:
    answer = read_embeddings(document, {"input": ["a", "b"], "encoding_format": "base64"})
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.where) == (failure_class, Where.HTTP_200_BODY)
    assert answer.body == b""
