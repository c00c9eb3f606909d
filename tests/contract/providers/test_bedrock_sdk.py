"""The adapter's requests to Bedrock compared with boto3's, and hand-made streams read by both."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.validate import ParamValidator
from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import UpstreamRequest
from services.provider_worker.adapters.bedrock.adapter import BedrockAdapter
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.aws_event_stream import START, delta, ending, event, stop
from tests.support.providers.upstream import ProviderRequest, Reply, Upstream, pieces_of, running_upstream

JsonObject = dict[str, object]

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PNG = "iVBORw0KGgo="
STREAM = b"".join(
    [
        START,
        delta(0, text="Hel"),
        delta(0, text="lo"),
        stop(0),
        event("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}),
        delta(1, toolUse={"input": '{"x":'}),
        delta(1, toolUse={"input": "1}"}),
        stop(1),
        ending("tool_use"),
    ]
)


def answer(received: ProviderRequest) -> Reply:
    if received.path.endswith("/converse-stream"):
        return Reply(200, {"content-type": "application/vnd.amazon.eventstream"}, pieces_of(STREAM))
    message = {"role": "assistant", "content": [{"text": "Hi"}]}
    counts = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
    body = {"output": {"message": message}, "stopReason": "end_turn", "usage": counts, "metrics": {"latencyMs": 1}}
    return Reply(200, {"content-type": "application/json"}, pieces_of(json.dumps(body).encode()))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream(answer) as running:
        yield running


@pytest.fixture(scope="module")
def client(upstream: Upstream) -> Iterator[BedrockRuntimeClient]:
    bedrock = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{upstream.port}",
        aws_access_key_id="access",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield bedrock
    bedrock.close()


def build_request(upstream: Upstream, stream: bool = False, **fields: object) -> UpstreamRequest:
    run = attempt_run(model=MODEL, stream=stream, base_url=f"http://127.0.0.1:{upstream.port}")
    run = run.model_copy(update={"key_fields": {"region": "us-east-1"}, "kind": RequestKind.CHAT})
    return BedrockAdapter().request(run, json.dumps(fields).encode())


def compare(upstream: Upstream, request: UpstreamRequest) -> None:
    received = upstream.calls[-1].request
    assert json.loads(request.content) == received.body
    assert unquote(urlsplit(request.url).path) == unquote(received.path)
    assert received.headers["Content-Type"] == request.headers["content-type"]


def validate(client: BedrockRuntimeClient, request: UpstreamRequest) -> None:
    shape = client.meta.service_model.operation_model("Converse").input_shape
    assert shape is not None
    report = ParamValidator().validate(json.loads(request.content) | {"modelId": MODEL}, shape)
    assert not report.has_errors(), report.generate_report()


LOOK_SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}}
REASONING = [{"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1"}]
LOOK_CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"x": 1.5, "y": [null, true]}'}}
FULL_CONVERSE: dict[str, Any] = {
    "system": [{"text": "Be brief."}, {"text": "In English."}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"text": "What is this?"},
                {"image": {"format": "png", "source": {"bytes": b"\x89PNG\r\n\x1a\n"}}},
                {"document": {"format": "pdf", "name": "paper", "source": {"bytes": b"%PDF-"}}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
                {"text": "Let me see."},
                {"toolUse": {"toolUseId": "c1", "name": "look", "input": {"x": 1.5, "y": [None, True]}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "toolResult": {
                        "toolUseId": "c1",
                        "content": [
                            {"text": "a cat"},
                            {"image": {"format": "jpeg", "source": {"bytes": b"\xff\xd8"}}},
                        ],
                    }
                },
                {"text": "Sure?"},
            ],
        },
    ],
    "inferenceConfig": {"maxTokens": 100, "temperature": 0.5, "stopSequences": ["END", "."]},
    "toolConfig": {
        "tools": [
            {
                "toolSpec": {
                    "name": "look",
                    "description": "Looks.",
                    "inputSchema": {"json": LOOK_SCHEMA | {"additionalProperties": False}},
                    "strict": True,
                }
            },
            {"toolSpec": {"name": "wait", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
        ],
        "toolChoice": {"tool": {"name": "look"}},
    },
    "outputConfig": {
        "textFormat": {
            "type": "json_schema",
            "structure": {
                "jsonSchema": {
                    "schema": '{"type":"object","properties":{},"additionalProperties":false}',
                    "name": "cat",
                    "description": "A cat.",
                }
            },
        }
    },
    "requestMetadata": {"team": "a", "user": "u1"},
    "serviceTier": {"type": "flex"},
    "additionalModelRequestFields": {"top_k": 4},
}
FULL_CHAT: dict[str, Any] = {
    "model": "anything",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "auto"}},
                {
                    "type": "file",
                    "file": {"filename": "paper.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
                },
            ],
        },
        {"role": "developer", "content": [{"type": "text", "text": "In English."}]},
        {"role": "assistant", "content": "Let me see.", "reasoning_details": REASONING, "tool_calls": [LOOK_CALL]},
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": [
                {"type": "text", "text": "a cat"},
                {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,/9g="}},
            ],
        },
        {"role": "user", "content": "Sure?"},
    ],
    "max_completion_tokens": 100,
    "temperature": 0.5,
    "stop": ["END", "."],
    "tools": [
        {
            "type": "function",
            "function": {"name": "look", "description": "Looks.", "parameters": LOOK_SCHEMA, "strict": True},
        },
        {"type": "function", "function": {"name": "wait"}},
    ],
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "cat",
            "description": "A cat.",
            "schema": {"type": "object", "properties": {}},
            "strict": True,
        },
    },
    "metadata": {"team": "a"},
    "user": "u1",
    "service_tier": "flex",
    "top_k": 4,
    "n": 1,
    "seed": None,
}


def test_a_request_with_every_field(upstream: Upstream, client: BedrockRuntimeClient) -> None:
    client.converse(modelId=MODEL, **FULL_CONVERSE)
    request = build_request(upstream, **FULL_CHAT)
    compare(upstream, request)
    validate(client, request)


def test_the_smallest_request_and_a_required_call(upstream: Upstream, client: BedrockRuntimeClient) -> None:
    client.converse(modelId=MODEL, messages=[{"role": "user", "content": [{"text": "Hi"}]}])
    request = build_request(upstream, messages=[{"role": "user", "content": "Hi"}])
    compare(upstream, request)
    client.converse(
        modelId=MODEL,
        messages=[{"role": "user", "content": [{"text": "Hi"}]}],
        inferenceConfig={"stopSequences": ["."]},
        toolConfig={
            "tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}}}],
            "toolChoice": {"any": {}},
        },
    )
    request = build_request(
        upstream,
        messages=[{"role": "user", "content": "Hi"}],
        stop=".",
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        tool_choice="required",
    )
    compare(upstream, request)
    validate(client, request)


def test_an_effort(upstream: Upstream, client: BedrockRuntimeClient) -> None:
    client.converse(
        modelId=MODEL,
        messages=[{"role": "user", "content": [{"text": "Hi"}]}],
        additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 2048}},
    )
    request = build_request(upstream, messages=[{"role": "user", "content": "Hi"}], reasoning_effort="low")
    compare(upstream, request)
    validate(client, request)


def test_audio(upstream: Upstream, client: BedrockRuntimeClient) -> None:
    client.converse(
        modelId=MODEL,
        messages=[{"role": "user", "content": [{"audio": {"format": "wav", "source": {"bytes": b"RIFF"}}}]}],
    )
    part = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    request = build_request(upstream, messages=[{"role": "user", "content": [part]}])
    compare(upstream, request)
    validate(client, request)


def test_a_stream_is_requested_and_read_as_by_boto3(upstream: Upstream, client: BedrockRuntimeClient) -> None:
    """Read a hand-made stream; that boto3 accepts it proves that its frames are like Bedrock's."""
    streamed = client.converse_stream(modelId=MODEL, messages=[{"role": "user", "content": [{"text": "Hi"}]}])
    text, arguments = "", ""
    for one in streamed["stream"]:
        piece = one.get("contentBlockDelta", {}).get("delta", {})
        text += piece.get("text", "")
        arguments += piece.get("toolUse", {}).get("input", "")
    request = build_request(upstream, stream=True, messages=[{"role": "user", "content": "Hi"}])
    compare(upstream, request)
    run = attempt_run(model=MODEL, stream=True)
    reader = BedrockAdapter().reader(run, request, 200, {})
    deltas = [choice["delta"] for chunk in reader.feed(STREAM) for choice in json.loads(chunk)["choices"]]
    assert "".join(one.get("content") or "" for one in deltas) == text == "Hello"
    pieces = [piece["function"]["arguments"] for one in deltas for piece in one.get("tool_calls", [])]
    assert "".join(pieces) == arguments == '{"x":1}'


def test_an_embedding_request(upstream: Upstream, client: BedrockRuntimeClient) -> None:
    body = {"texts": ["a"], "input_type": "search_document", "embedding_types": ["float"]}
    response = client.invoke_model(modelId="cohere.embed-v4:0", body=json.dumps(body), contentType="application/json")
    response["body"].read()
    run = attempt_run(model="cohere.embed-v4:0", base_url=f"http://127.0.0.1:{upstream.port}")
    run = run.model_copy(update={"key_fields": {"region": "us-east-1"}, "kind": RequestKind.EMBEDDING})
    compare(upstream, BedrockAdapter().request(run, b'{"input":"a"}'))
