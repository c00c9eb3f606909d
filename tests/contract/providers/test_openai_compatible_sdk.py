"""Requests to OpenAI-compatible providers compared with those of the vendors' own SDKs.

Both are sent to a server on loopback: the SDK with the vendor's parameters, the adapter with OpenAI's. Paths, key headers and
bodies have to be the same, but for fields that SDKs add to say nothing.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import groq
import openai
import pytest
import together
from mistralai.client import Mistral

from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import HeaderAuth, UpstreamRequest
from services.provider_worker.adapters.registry import adapter_for
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.upstream import (
    ProviderRequest,
    Reply,
    Upstream,
    completion,
    pieces_of,
    running_upstream,
    stream_of,
)

JsonObject = dict[str, Any]
KEY = "a-key"
TOOL: JsonObject = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}
CONVERSATION: list[JsonObject] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How is the weather in Oslo?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "call00001", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Oslo"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call00001", "content": "rain"},
]
IMAGE: JsonObject = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SCHEMA: JsonObject = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    },
}


def sdk_response(received: ProviderRequest) -> Reply:
    if received.path.endswith("/embeddings"):
        rows = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
        usage = {"prompt_tokens": 1, "total_tokens": 1, "completion_tokens": 0}
        body = {"id": "e", "object": "list", "data": rows, "model": "m", "usage": usage}
        return Reply(200, {"content-type": "application/json"}, pieces_of(json.dumps(body).encode()))
    return stream_of(["hi"]) if received.body.get("stream") else completion("hi")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream(sdk_response) as running:
        yield running


def adapter_request(
    provider: str, body: JsonObject, base_url: str, *, kind: RequestKind = RequestKind.CHAT, **fields: str
) -> UpstreamRequest:
    stream = body.get("stream") is True
    run = attempt_run(
        provider=provider, model=body["model"], stream=stream, base_url=base_url, kind=kind, key_fields=fields
    )
    return adapter_for(provider).request(run, json.dumps(body).encode())


def assert_same(request: UpstreamRequest, received: ProviderRequest, *, neutral: JsonObject | None = None) -> None:
    """`neutral` are fields of the SDK's body that ask for the default."""
    url = urlsplit(request.url)
    assert (url.path, url.query) == (received.path, received.query)
    assert isinstance(request.auth, HeaderAuth)
    headers = {name.lower(): value for name, value in received.headers.items()}
    assert headers[request.auth.name] == request.auth.prefix + KEY
    assert request.headers["content-type"] == headers["content-type"]
    theirs = {name: value for name, value in received.body.items() if (neutral or {}).get(name, ...) != value}
    assert json.loads(request.content) == theirs


FULL: JsonObject = {
    "model": "m",
    "messages": CONVERSATION,
    "tools": [TOOL],
    "tool_choice": "auto",
    "temperature": 0.2,
    "top_p": 0.9,
    "max_tokens": 50,
}
SPOKEN_THROUGH_OPENAI = [
    ("openai", FULL | {"seed": 3, "stop": ["x"], "n": 2, "logprobs": True, "top_logprobs": 2, "user": "u"}),
    ("openrouter", FULL | {"seed": 3, "stop": ["x"], "reasoning_effort": "low"}),
    ("xai", FULL | {"seed": 3, "n": 2, "reasoning_effort": "low", "response_format": SCHEMA}),
    ("fireworks", FULL | {"n": 2, "response_format": SCHEMA}),
    ("deepinfra", FULL | {"seed": 3, "stop": ["x"]}),
    ("deepseek", FULL | {"stop": ["x"], "response_format": {"type": "json_object"}, "logprobs": True}),
    ("perplexity", {"model": "m", "messages": CONVERSATION[:2], "max_tokens": 9, "response_format": SCHEMA}),
    ("huggingface", FULL | {"seed": 3}),
    ("vllm", FULL | {"seed": 3, "n": 2, "logprobs": True, "response_format": SCHEMA}),
    ("ollama", {**FULL, "tool_choice": "auto", "seed": 3, "response_format": SCHEMA}),
    ("llamacpp", FULL | {"seed": 3, "response_format": SCHEMA}),
]
"""Vendors that recommend OpenAI's SDK."""


@pytest.mark.parametrize(("provider", "body"), SPOKEN_THROUGH_OPENAI)
def test_chat_matches_openais_sdk(upstream: Upstream, provider: str, body: JsonObject) -> None:
    with openai.OpenAI(base_url=upstream.base_url, api_key=KEY, max_retries=0) as client:
        client.chat.completions.create(**body)
    # Ollama behaves as with `auto` and has no field for it.
    neutral = {"tool_choice": "auto"} if provider == "ollama" else {}
    received = upstream.calls[-1].request
    for message in received.body["messages"] if provider == "xai" else ():
        # xAI wants a content that is not empty, or none.
        message["content"] = message["content"] or None
    assert_same(adapter_request(provider, body, upstream.base_url), received, neutral=neutral)


@pytest.mark.parametrize("provider", ["openai", "vllm", "ollama", "llamacpp", "openrouter"])
def test_embeddings_match_openais_sdk(upstream: Upstream, provider: str) -> None:
    with openai.OpenAI(base_url=upstream.base_url, api_key=KEY, max_retries=0) as client:
        client.embeddings.create(model="m", input=["hello"])
    body = {"model": "m", "input": ["hello"], "encoding_format": "base64"}
    assert_same(
        adapter_request(provider, body, upstream.base_url, kind=RequestKind.EMBEDDING), upstream.calls[-1].request
    )


@pytest.mark.parametrize("stream", [False, True])
def test_azures_older_form(upstream: Upstream, stream: bool) -> None:
    endpoint = upstream.base_url.removesuffix("/v1")
    body = {**FULL, "model": "deployed", "stream": stream}
    detail = body | ({"stream_options": {"include_usage": True}} if stream else {})
    with openai.AzureOpenAI(azure_endpoint=endpoint, api_key=KEY, api_version="2024-10-21", max_retries=0) as client:
        answer = client.chat.completions.create(**detail)
        if stream:
            assert list(answer)
    request = adapter_request("azure", body, endpoint, api_version="2024-10-21")
    assert_same(request, upstream.calls[-1].request)


def test_azures_newer_form(upstream: Upstream) -> None:
    endpoint = upstream.base_url.removesuffix("/v1")
    with openai.OpenAI(
        base_url=f"{endpoint}/openai/v1", api_key="unused", default_headers={"api-key": KEY}, max_retries=0
    ) as client:
        client.chat.completions.create(**FULL)
    assert_same(adapter_request("azure", FULL, endpoint), upstream.calls[-1].request)


@pytest.mark.parametrize("stream", [False, True])
def test_groq(upstream: Upstream, stream: bool) -> None:
    base_url = upstream.base_url.removesuffix("/v1") + "/openai/v1"
    detail: JsonObject = {**FULL, "seed": 3, "stop": ["x"], "reasoning_effort": "low", "response_format": SCHEMA}
    detail |= {"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [IMAGE]}]}
    with groq.Groq(base_url=base_url.removesuffix("/openai/v1"), api_key=KEY, max_retries=0) as client:
        extra: JsonObject = {"extra_body": {"stream_options": {"include_usage": True}}} if stream else {}
        answer = client.chat.completions.create(**detail, stream=stream, **extra)
        if stream:
            assert list(answer)
    body = {**detail, "stream": stream}
    assert_same(adapter_request("groq", body, base_url), upstream.calls[-1].request)


def test_together(upstream: Upstream) -> None:
    said = {**FULL, "seed": 3, "stop": ["x"], "n": 2, "logit_bias": {"1": 2.0}, "response_format": SCHEMA}
    with together.Together(base_url=upstream.base_url.removesuffix("/v1"), api_key=KEY, max_retries=0) as client:
        client.chat.completions.create(**said, logprobs=2)
    body = said | {"logprobs": True, "top_logprobs": 2, "max_completion_tokens": 50, "parallel_tool_calls": True}
    del body["max_tokens"]
    assert_same(adapter_request("together", body, upstream.base_url), upstream.calls[-1].request)


def test_togethers_embeddings(upstream: Upstream) -> None:
    with together.Together(base_url=upstream.base_url.removesuffix("/v1"), api_key=KEY, max_retries=0) as client:
        client.embeddings.create(model="m", input=["hello"])
    body = {"model": "m", "input": ["hello"], "encoding_format": "base64"}
    assert_same(
        adapter_request("together", body, upstream.base_url, kind=RequestKind.EMBEDDING), upstream.calls[-1].request
    )


@pytest.mark.parametrize("stream", [False, True])
def test_mistral(upstream: Upstream, stream: bool) -> None:
    audio = {"type": "input_audio", "input_audio": "AAAA"}
    between = {"role": "assistant", "content": "It rains."}
    messages = [*CONVERSATION, between, {"role": "user", "content": [IMAGE, audio]}]
    said = {**FULL, "messages": messages, "random_seed": 3, "stop": ["x"], "n": 2, "parallel_tool_calls": False}
    with Mistral(api_key=KEY, server_url=upstream.base_url.removesuffix("/v1")) as client:
        if stream:
            with client.chat.stream(**said) as events:
                assert list(events)
        else:
            client.chat.complete(**said)
    openai_audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    conversation = [{**CONVERSATION[0], "role": "developer"}, *CONVERSATION[1:]]
    body = {**said, "messages": [*conversation, between, {"role": "user", "content": [IMAGE, openai_audio]}], "seed": 3}
    body |= {"max_completion_tokens": 50, "stream": stream, "stream_options": {"include_usage": True}}
    del body["random_seed"], body["max_tokens"]
    theirs = upstream.calls[-1].request
    for message in theirs.body["messages"]:
        assert message.pop("prefix", False) is False
        for call in message.get("tool_calls", ()):
            assert call.pop("index", 0) == 0
    request = adapter_request("mistral", body, upstream.base_url)
    assert_same(request, theirs)


def test_mistrals_embeddings(upstream: Upstream) -> None:
    with Mistral(api_key=KEY, server_url=upstream.base_url.removesuffix("/v1")) as client:
        client.embeddings.create(model="m", inputs=["hello"], output_dimension=8, encoding_format="float")
    body = {"model": "m", "input": ["hello"], "dimensions": 8, "encoding_format": "float"}
    assert_same(
        adapter_request("mistral", body, upstream.base_url, kind=RequestKind.EMBEDDING), upstream.calls[-1].request
    )


def test_the_comparison_finds_a_difference(upstream: Upstream) -> None:
    with openai.OpenAI(base_url=upstream.base_url, api_key=KEY, max_retries=0) as client:
        client.chat.completions.create(**FULL)
    with pytest.raises(AssertionError):
        assert_same(
            adapter_request("openai", {**FULL, "max_tokens": 51}, upstream.base_url), upstream.calls[-1].request
        )
