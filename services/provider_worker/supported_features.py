"""Which request features each provider supports, found by building a request with each one. Nothing is sent. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.usage import KeySource, RequestKind
from services.provider_worker.adapters.adapter import Adapter, RefusedByAdapter

JsonObject = dict[str, object]

_TOOLS: JsonObject = {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}
_SCHEMA: JsonObject = {"name": "a", "strict": True, "schema": {"type": "object", "properties": {}, "required": []}}


def _message_with(part: JsonObject) -> JsonObject:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, part]}]}


CHAT_FEATURES: Mapping[str, JsonObject] = MappingProxyType(
    {
        "tools": _TOOLS,
        "tool_choice": {**_TOOLS, "tool_choice": "required"},
        "parallel_tool_calls": {**_TOOLS, "parallel_tool_calls": False},
        "json_object": {"response_format": {"type": "json_object"}},
        "json_schema": {"response_format": {"type": "json_schema", "json_schema": _SCHEMA}},
        "image (base64)": _message_with(
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
        ),
        "image (link)": _message_with({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
        "audio in": _message_with({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
        "file": _message_with(
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}}
        ),
        "audio out": {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
        "max_completion_tokens": {"max_completion_tokens": 4096},
        "temperature": {"temperature": 0.5},
        "top_p": {"top_p": 0.5},
        "stop": {"stop": ["END"]},
        "n": {"n": 2},
        "seed": {"seed": 7},
        "frequency_penalty": {"frequency_penalty": 0.5},
        "presence_penalty": {"presence_penalty": 0.5},
        "logit_bias": {"logit_bias": {"50256": -100}},
        "logprobs": {"logprobs": True},
        "top_logprobs": {"logprobs": True, "top_logprobs": 2},
        "reasoning_effort": {"reasoning_effort": "low"},
        "user": {"user": "u-1"},
        "metadata": {"metadata": {"a": "b"}},
        "prediction": {"prediction": {"type": "content", "content": "x"}},
        "service_tier": {"service_tier": "flex"},
        "store": {"store": True},
        "unknown fields": {"some_new_field": 1},
    }
)
"""Feature of a chat request -> the fields that ask for it."""

EMBEDDING_FEATURES: Mapping[str, JsonObject] = MappingProxyType(
    {
        "dimensions": {"dimensions": 256},
        "base64": {"encoding_format": "base64"},
        "token ids": {"input": [1, 2, 3]},
        "batches": {"input": ["a", "b"]},
    }
)

_CHAT_MODELS: Mapping[str, tuple[str, ...]] = {
    "bedrock": ("anthropic.claude-3-5-haiku-20241022-v1:0", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    "openai": ("gpt-4o-mini", "gpt-5.2"),
    "xai": ("grok-3", "grok-3-mini"),
    "groq": ("llama-3.1-8b-instant", "openai/gpt-oss-20b"),
}
"""Models that between them show what a provider supports, where one alone does not."""
_EMBEDDING_MODELS: Mapping[str, str] = {
    "bedrock": "amazon.titan-embed-text-v2:0",
    "gemini": "gemini-embedding-001",
    "vertex": "gemini-embedding-001",
    "cohere": "embed-v4.0",
}
_KEY_FIELDS = {"region": "eu-central-1", "project": "example", "location": "europe-west4"}


@dataclass(frozen=True, slots=True)
class SupportedFeatures:
    """Feature -> whether a provider supports it. `embeddings` is empty where it has none."""

    chat: Mapping[str, bool]
    embeddings: Mapping[str, bool]


def find_supported_features(name: str, adapter: Adapter) -> SupportedFeatures:
    """Return what the adapter of the provider `name` accepts."""
    test_model = (PROVIDERS[name].test_model if name in PROVIDERS else None) or "model"
    chats = [_run(name, model, RequestKind.CHAT) for model in _CHAT_MODELS.get(name, (test_model,))]
    embedding = _run(name, _EMBEDDING_MODELS.get(name, "model"), RequestKind.EMBEDDING)
    hello: JsonObject = {"messages": [{"role": "user", "content": "hello"}]}
    text: JsonObject = {"input": "hello"}
    return SupportedFeatures(
        chat={
            feature: any(_accepts(adapter, chat, hello | fields) for chat in chats)
            for feature, fields in CHAT_FEATURES.items()
        },
        embeddings={
            feature: _accepts(adapter, embedding, text | fields) for feature, fields in EMBEDDING_FEATURES.items()
        }
        if _accepts(adapter, embedding, text)
        else {},
    )


def _accepts(adapter: Adapter, run: AttemptRun, body: JsonObject) -> bool:
    try:
        adapter.request(run, json.dumps({"model": run.model, **body}).encode())
    except RefusedByAdapter:
        return False
    return True


def _run(name: str, model: str, kind: RequestKind) -> AttemptRun:
    facts = PROVIDERS.get(name)
    needs_address = facts is None or facts.base_url is None
    return AttemptRun(
        request_id="req_probe",
        kind=kind,
        tenant="probe",
        model=model,
        model_asked=model,
        stream=False,
        deadline_ms=1000,
        start_by_unix_ms=0,
        attempt_id="att_probe",
        attempt_number=1,
        decision_id="dec_probe",
        provider=name,
        base_url="https://example.com/v1" if needs_address else None,
        key_source=KeySource.NONE,
        key_fields=_KEY_FIELDS,
    )
