"""Parses one recorded exchange, and finds its adapter. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import Adapter
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text

_CONNECTION = frozenset(
    {"content-length", "content-encoding", "transfer-encoding", "connection", "keep-alive", "trailer", "upgrade", "te"}
)
"""Headers of the recorded connection: the body is stored decoded, and the replay uses a connection of its own."""

_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
"""Valid HTTP/1.1 header names; HTTP/2 pseudo-headers such as `:status` are not."""


class InvalidRecording(ValueError):
    """The file holds no recorded exchange; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One exchange. `headers` have names in lower case; `body` is everything the provider sent."""

    case: str
    provider: str
    dialect: str
    """The provider whose API it follows, if the recording says so; else empty."""
    kind: RequestKind
    stream: bool
    model: str
    inputs: int
    """How many texts were embedded; 1 if unknown."""
    status: int
    headers: Mapping[str, str]
    body: bytes


def parse_recording(data: bytes, name: str) -> Recording:
    """Parse the exchange in a file of that name. Raises InvalidRecording."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise InvalidRecording(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidRecording("it holds no JSON object")
    response = document.get("response")
    if not isinstance(response, dict):
        raise InvalidRecording("it has no `response` object")
    status = response.get("status")
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise InvalidRecording("`response.status` is no HTTP status from 200 to 599")
    return Recording(
        case=as_text(document.get("case")) or name,
        provider=as_text(document.get("provider")) or "custom",
        dialect=as_text(document.get("adapter")),
        kind=_kind(document),
        stream=document.get("stream") is True,
        model=as_text(document.get("model")) or "recorded",
        inputs=_inputs(as_object(as_object(document.get("request")).get("body"))),
        status=status,
        headers=_headers(response.get("headers")),
        body=_body(response),
    )


def caller_body(recorded: Recording) -> bytes:
    """Return the shortest OpenAI request that this could answer."""
    if recorded.kind is RequestKind.EMBEDDING:
        return json.dumps({"model": recorded.model, "input": ["replay"] * recorded.inputs}).encode()
    body: JsonObject = {"model": recorded.model, "messages": [{"role": "user", "content": "replay"}]}
    if recorded.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body).encode()


def _kind(document: JsonObject) -> RequestKind:
    embeds = document.get("kind") == "embeddings" or "embed" in as_text(document.get("endpoint")).lower()
    return RequestKind.EMBEDDING if embeds else RequestKind.CHAT


def _inputs(body: JsonObject) -> int:
    """Count the texts in a request for embeddings, under any provider's field name."""
    for name in ("input", "texts", "requests", "inputs", "instances"):
        value = body.get(name)
        if isinstance(value, list) and value:
            return 1 if all(isinstance(item, int) for item in value) else len(value)
    return 1


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InvalidRecording("`response.headers` is no object")
    names = (name for name in value if _NAME.fullmatch(name) and name.lower() not in _CONNECTION)
    return {name.lower(): str(value[name]) for name in names}


def _body(response: JsonObject) -> bytes:
    if response.get("body_b64") is not None:
        try:
            return base64.b64decode(as_text(response["body_b64"]), validate=True)
        except binascii.Error as error:
            raise InvalidRecording(f"`response.body_b64` is not base64: {error}") from None
    if response.get("body_text") is not None:
        # A lone surrogate is recorded as such; it is sent as the bytes that were misread.
        return as_text(response["body_text"]).encode("utf-8", "surrogatepass")
    if "body" not in response:
        raise InvalidRecording("`response` has none of `body`, `body_text` and `body_b64`")
    return json.dumps(response["body"]).encode()


CUSTOM = "custom"


_ALIASES: Mapping[str, str] = {
    "openai_compatible": CUSTOM,
    "azure_openai": "azure",
    "aws_bedrock": "bedrock",
    "google": "gemini",
    "google_ai_studio": "gemini",
    "google_vertex": "vertex",
    "vertex_ai": "vertex",
    "mistralai": "mistral",
    "x_ai": "xai",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "hugging_face": "huggingface",
    "llama_cpp": "llamacpp",
}
"""Other names of the providers in recordings."""


def find_provider(recorded: Recording, adapters: Mapping[str, Adapter]) -> str | None:
    """Return the provider whose adapter reads the recording: its own, or that of its `adapter`; null if neither is known."""
    for name in (recorded.provider, recorded.dialect):
        known = name.lower().replace("-", "_").replace(".", "_")
        known = _ALIASES.get(known, known)
        if known in adapters:
            return known
    return None
