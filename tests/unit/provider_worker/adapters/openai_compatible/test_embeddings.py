"""Embeddings of OpenAI-compatible providers: the request sent, and the caller's list in each encoding."""

import base64
import json
import struct

import hypothesis
import pytest
from hypothesis import strategies as st

from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.usage import RequestKind, TokenUsage, UsageSource
from services.provider_worker.adapters.adapter import Answer, RefusedByAdapter, UpstreamRequest
from services.provider_worker.adapters.openai_compatible.embeddings import encode_vector
from services.provider_worker.adapters.registry import adapter_for
from tests.support.providers.attempt_runs import attempt_run

JsonObject = dict[str, object]
USAGE = {"prompt_tokens": 4, "total_tokens": 4}


def ask(provider: str = "custom", *, drop: bool = False, **body: object) -> UpstreamRequest:
    run = attempt_run(
        provider=provider,
        model="e",
        base_url="https://own.example/v1",
        kind=RequestKind.EMBEDDING,
        drop_unsupported=drop,
    )
    return adapter_for(provider).request(run, json.dumps({"model": "e", "input": "hi", **body}).encode())


def read_response(content: bytes, *, status: int = 200, value: object = "hi", encoding_format: object = None) -> Answer:
    run = attempt_run(model="e", kind=RequestKind.EMBEDDING)
    reader = adapter_for("custom").reader(run, ask(input=value, encoding_format=encoding_format), status, {})
    for at in range(0, len(content), 7):
        assert reader.feed(content[at : at + 7]) == []
    return reader.close()


def embedding_list(*vectors: object, **more: object) -> bytes:
    rows = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    return json.dumps({"object": "list", "data": rows, "model": "e-1", "usage": USAGE, **more}).encode()


def encode_base64(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def first(answer: Answer) -> object:
    return json.loads(answer.body)["data"][0]["embedding"]


def test_the_request_goes_out_byte_for_byte() -> None:
    body = b'{"input": ["a", "b"],  "model": "e", "encoding_format": "base64", "dimensions": 8}'
    run = attempt_run(model="e", base_url="https://own.example/v1", kind=RequestKind.EMBEDDING)
    request = adapter_for("custom").request(run, body)
    assert request.content is body
    assert request.url == "https://own.example/v1/embeddings"


@pytest.mark.parametrize("value", ["hi", ["a", "b"], [1, 2, 3], [[1, 2], [3]]])
def test_text_and_tokens_pass(value: object) -> None:
    assert json.loads(ask(input=value).content)["input"] == value


@pytest.mark.parametrize("value", ["", [], None, 3, [1, "a"], [[]], [[1], "a"], [1.5], [True], {"a": 1}])
def test_other_input_is_rejected(value: object) -> None:
    with pytest.raises(RefusedByAdapter) as caught:
        ask(input=value)
    assert caught.value.failure.param == "input"


def test_parameters_get_each_providers_names() -> None:
    assert json.loads(ask("mistral", dimensions=8).content) == {"model": "e", "input": "hi", "output_dimension": 8}
    assert json.loads(ask("together", encoding_format="base64").content) == {"model": "e", "input": "hi"}
    with pytest.raises(RefusedByAdapter) as caught:
        ask("together", dimensions=8)
    assert caught.value.failure.param == "dimensions"
    assert ask("together", dimensions=8, drop=True).dropped == ("dimensions",)
    with pytest.raises(RefusedByAdapter) as caught:
        ask("mistral", input=[1, 2])
    assert caught.value.failure.param == "input"


@pytest.mark.parametrize("provider", ["groq", "xai", "deepseek", "perplexity", "huggingface"])
def test_a_provider_without_embeddings_rejects_them(provider: str) -> None:
    with pytest.raises(RefusedByAdapter) as caught:
        ask(provider)
    assert caught.value.failure.param == "model"
    assert "no embeddings" in caught.value.failure.message


def test_azure_has_its_own_url() -> None:
    assert ask("azure").url == "https://own.example/openai/v1/embeddings"


def test_an_unknown_encoding_is_rejected() -> None:
    with pytest.raises(RefusedByAdapter) as caught:
        ask(encoding_format="hex")
    assert caught.value.failure.param == "encoding_format"


def test_a_matching_response_is_passed_on_byte_for_byte() -> None:
    content = embedding_list([0.1, -0.25])
    answer = read_response(content)
    assert answer.failure is None
    assert answer.body == content
    assert answer.token_usage == TokenUsage(input=4)
    assert answer.usage_source is UsageSource.REPORTED
    assert answer.model_served == "e-1"
    as_text = embedding_list(encode_base64(0.5, -2.0))
    assert read_response(as_text, encoding_format="base64").body == as_text


def test_numbers_become_base64_and_back() -> None:
    assert first(read_response(embedding_list([0.5, -2.0]), encoding_format="base64")) == encode_base64(0.5, -2.0)
    assert first(read_response(embedding_list(encode_base64(0.5, -2.0)))) == [0.5, -2.0]


@hypothesis.given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_both_encodings_hold_the_same_vector(numbers: list[float]) -> None:
    text = encode_vector(numbers, "base64")
    assert text == encode_base64(*numbers)
    assert encode_vector(text, "float") == numbers


def test_rows_are_in_the_order_of_the_inputs() -> None:
    document = json.loads(embedding_list([1.0], [2.0], [3.0]))
    document["data"].reverse()
    answer = read_response(json.dumps(document).encode(), value=["a", "b", "c"])
    rows = json.loads(answer.body)["data"]
    assert [(row["index"], row["embedding"]) for row in rows] == [(0, [1.0]), (1, [2.0]), (2, [3.0])]


def test_missing_indices_objects_and_usage_are_filled_in() -> None:
    answer = read_response(b'{"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]}', value=["a", "b"])
    assert json.loads(answer.body) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [1.0]},
            {"object": "embedding", "index": 1, "embedding": [2.0]},
        ],
        "usage": {
            "prompt_tokens": 1,
            "total_tokens": 1,
            "usage_note": "estimated: the provider reported no usage",
        },
    }
    assert answer.usage_source is UsageSource.NONE


@pytest.mark.parametrize(
    ("content", "failure_class"),
    [
        (b'{"error": {"message": "slow down", "code": 429}}', FailureClass.RATE_LIMIT),
        (b'{"object": "list", "data": [], "usage": {}}', FailureClass.SERVER),
        (b'{"object": "list"}', FailureClass.SERVER),
        (embedding_list([1.0], [2.0]), FailureClass.SERVER),
        (embedding_list([]), FailureClass.SERVER),
        (embedding_list([None, 1.0]), FailureClass.SERVER),
        (embedding_list("not base64!"), FailureClass.SERVER),
        (embedding_list("AAA="), FailureClass.SERVER),
        (embedding_list([[1.0], [2.0]]), FailureClass.SERVER),
        (b'{"data": [{"embedding": [1.0', FailureClass.TRUNCATED),
        (b"<html>", FailureClass.SERVER),
        (b"", FailureClass.SERVER),
    ],
)
def test_a_list_with_another_number_of_embeddings_is_a_failure(content: bytes, failure_class: FailureClass) -> None:
    answer = read_response(content)
    assert answer.failure is not None
    assert answer.failure.failure_class is failure_class
    assert answer.failure.where is Where.HTTP_200_BODY
    assert answer.body == b""


def test_an_error_status_is_read_as_for_chats() -> None:
    answer = read_response(b'{"error": {"message": "no such model"}}', status=404)
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.NOT_FOUND
    assert answer.failure.where is Where.HTTP_STATUS


@pytest.mark.parametrize("name", ["prompt_tokens", "total_tokens"])
def test_embeddings_have_no_completion_that_could_be_unknown(name: str) -> None:
    body = {"data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "usage": {name: 4}}
    answer = read_response(json.dumps(body).encode())
    assert answer.usage.exact
    assert answer.token_usage == TokenUsage(input=4)
