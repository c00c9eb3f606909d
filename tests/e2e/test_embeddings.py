"""Embeddings through the running system with the official SDK: an endpoint gives numbers or base64, callers get either."""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.support.providers.upstream import ProviderRequest, Reply, Upstream, failing, pieces_of, running_upstream
from tests.support.system.keyferry_system import KeyferrySystem

MODELS = ("floats", "as-asked", "empty", "busy")


def vector_of(text: str) -> list[float]:
    return [float(len(text)), 0.5, -2.25]


def reply_with_embeddings(request: ProviderRequest) -> Reply:
    assert request.path == "/v1/embeddings"
    model = request.body["model"]
    if model == "busy":
        return failing(429, {"message": "slow down", "type": "rate_limit"}, {"retry-after": "40"})
    given = request.body["input"]
    texts = [given] if isinstance(given, str) else given
    packed = model == "as-asked" and request.body.get("encoding_format") == "base64"
    rows = [
        {"object": "embedding", "index": at, "embedding": as_text(vector_of(text)) if packed else vector_of(text)}
        for at, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    body = {"object": "list", "data": [] if model == "empty" else rows, "model": model, "usage": usage}
    return Reply(200, {"content-type": "application/json"}, pieces_of(json.dumps(body).encode()))


def as_text(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


@pytest.fixture(scope="module")
def provider(system: KeyferrySystem) -> Iterator[Upstream]:
    with running_upstream(reply_with_embeddings) as upstream:
        system.add_endpoint("vectors", upstream.base_url, *MODELS)
        yield upstream


@pytest.mark.parametrize("model", ["floats", "as-asked"])
def test_the_sdk_gets_its_vectors_in_the_encoding_it_asks_for_by_itself(
    system: KeyferrySystem, provider: Upstream, model: str
) -> None:
    raw = system.openai().embeddings.with_raw_response.create(model=model, input=["one", "three"])
    answer = raw.parse()
    assert provider.calls[-1].request.body["encoding_format"] == "base64"
    assert [row.embedding for row in answer.data] == [vector_of("one"), vector_of("three")]
    assert [row.index for row in answer.data] == [0, 1]
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (4, 4)
    assert raw.headers["x-keyferry-provider"] == "vectors"


def test_numbers_are_given_where_numbers_are_asked_for(system: KeyferrySystem, provider: Upstream) -> None:
    answer = system.openai().embeddings.create(model="as-asked", input="one", encoding_format="float", dimensions=3)
    assert answer.data[0].embedding == vector_of("one")
    assert provider.calls[-1].request.body["dimensions"] == 3


def test_the_ledger_counts_an_embedding_as_one(system: KeyferrySystem, provider: Upstream) -> None:
    raw = system.openai().embeddings.with_raw_response.create(
        model="floats", input="one", extra_headers={"X-Operation": "index", "x-keyferry-tags": "team=blue"}
    )
    [row] = system.attempts(raw.headers["x-request-id"])
    record: dict[str, Any] = row["record"]
    assert record["kind"] == "embedding"
    assert (record["outcome"], record["usage_source"]) == ("completed", "reported")
    assert (record["token_usage"]["input"], record["token_usage"]["output"]) == (4, 0)
    assert (record["operation"], record["tags"]) == ("index", {"team": "blue"})


def test_an_answer_without_embeddings_is_a_failure(system: KeyferrySystem, provider: Upstream) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        system.openai().embeddings.create(model="empty", input="one")
    assert caught.value.status_code == 502
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_provider_rate_limit_includes_its_delay(system: KeyferrySystem, provider: Upstream) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        system.openai().embeddings.create(model="busy", input="one")
    assert caught.value.response.headers["retry-after"] == "40"


def test_the_echo_model_reports_that_it_has_no_embeddings(system: KeyferrySystem) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        system.openai().embeddings.create(model="echo", input="one")
    assert caught.value.param == "model"
    assert "embeddings" in caught.value.message


def test_without_a_token_nothing_is_embedded(system: KeyferrySystem) -> None:
    client = openai.OpenAI(base_url=f"{system.http_url}/v1", api_key="kf_live_wrong", max_retries=0)
    with client, pytest.raises(openai.AuthenticationError):
        client.embeddings.create(model="echo", input="one")
