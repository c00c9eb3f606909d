"""Embeddings through InvokeModel. The answers are hand-made in the shapes that AWS documents."""

import base64
import json
import struct

import pytest

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.usage import UsageSource
from services.provider_worker.adapters.adapter import Answer, RefusedByAdapter, UpstreamRequest
from tests.unit.provider_worker.adapters.bedrock.exchanges import ADAPTER, bedrock_run

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-v4:0"


def build_request(model: str, /, **fields: object) -> tuple[UpstreamRequest, dict[str, object]]:
    request = ADAPTER.request(bedrock_run(model=model, embedding=True), json.dumps(fields).encode())
    return request, json.loads(request.content)


def read_response(model: str, document: object, headers: dict[str, str], **fields: object) -> Answer:
    request, _ = build_request(model, **{"input": "x"} | fields)
    reader = ADAPTER.reader(bedrock_run(model=model, embedding=True), request, 200, headers)
    for piece in (json.dumps(document).encode()[:9], json.dumps(document).encode()[9:]):
        assert reader.feed(piece) == []
    return reader.close()


def test_titan() -> None:
    request, body = build_request(TITAN, input=["Hello"], dimensions=256, normalize=True)
    assert request.url.endswith("/model/amazon.titan-embed-text-v2%3A0/invoke")
    assert body == {"inputText": "Hello", "dimensions": 256, "normalize": True}
    document = {"embedding": [0.5, -1.25], "embeddingsByType": {"float": [0.5, -1.25]}, "inputTextTokenCount": 3}
    answer = read_response(TITAN, document, {})
    assert json.loads(answer.body) == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.25]}],
        "model": TITAN,
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert (answer.token_usage.input, answer.token_usage.total, answer.usage_source) == (3, 3, UsageSource.REPORTED)


def test_cohere_and_its_usage_in_a_header() -> None:
    _, body = build_request(COHERE, input=["a", "b"], dimensions=512, input_type="search_query", truncate="END")
    assert body == {
        "texts": ["a", "b"],
        "input_type": "search_query",
        "embedding_types": ["float"],
        "output_dimension": 512,
        "truncate": "END",
    }
    document = {"embeddings": {"float": [[1.0, 2.0], [3.0, 4.5]]}, "response_type": "embeddings_by_type"}
    answer = read_response(COHERE, document, {"x-amzn-bedrock-input-token-count": "7"}, encoding_format="base64")
    rows = [base64.b64decode(row["embedding"]) for row in json.loads(answer.body)["data"]]
    assert [struct.unpack("<2f", row) for row in rows] == [(1.0, 2.0), (3.0, 4.5)]
    assert answer.token_usage.input == 7


def test_coheres_older_shape_and_missing_usage() -> None:
    answer = read_response("cohere.embed-english-v3", {"embeddings": [[1.0]], "response_type": "embeddings_floats"}, {})
    assert json.loads(answer.body)["data"][0]["embedding"] == [1.0]
    assert answer.usage_source is UsageSource.NONE


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        (TITAN, {"input": ["a", "b"]}, "input"),
        (TITAN, {"input": [1, 2]}, "input"),
        (TITAN, {"input": ""}, "input"),
        (TITAN, {"input": "a", "encoding_format": "int8"}, "encoding_format"),
        (TITAN, {"input": "a", "dimensions": "many"}, "dimensions"),
        (TITAN, {"input": "a", "user": "u"}, "user"),
        ("amazon.titan-embed-text-v1", {"input": "a", "dimensions": 256}, "dimensions"),
        ("cohere.embed-multilingual-v3", {"input": "a", "dimensions": 256}, "dimensions"),
        ("amazon.nova-lite-v1:0", {"input": "a"}, "model"),
    ],
)
def test_unsupported_embedding_fields_are_rejected_by_name(model: str, fields: dict[str, object], param: str) -> None:
    with pytest.raises(RefusedByAdapter) as caught:
        build_request(model, **fields)
    assert caught.value.failure.param == param


def test_a_field_may_be_dropped() -> None:
    run = bedrock_run(model=TITAN, embedding=True, drop=True)
    request = ADAPTER.request(run, b'{"input":"a","user":"u"}')
    assert request.dropped == ("user",)
    assert json.loads(request.content) == {"inputText": "a"}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"embedding": []},
        {"embedding": ["x"]},
        {"embeddings": [[1.0], [1.0, 2.0]]},
        {"embeddings": {"int8": [[1]]}},
        [],
    ],
)
def test_an_answer_without_embeddings_is_a_failure(document: object) -> None:
    answer = read_response(COHERE, document, {})
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.SERVER


def test_a_number_beyond_32_bit_floats_is_a_failure() -> None:
    answer = read_response(COHERE, {"embeddings": [[1e300]]}, {}, encoding_format="base64")
    assert answer.failure is not None
