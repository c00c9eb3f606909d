"""Shows what would be sent to a provider for a caller's request: the ingress's validation, then the adapter's translation.

Nothing is sent, and no key is needed. Pure.
"""

import json
from dataclasses import dataclass

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import KeySource, RequestKind
from keyferry.runtime.http.openai_body import ParsedBody, read_chat, read_embedding
from keyferry.runtime.http.problem import HttpProblem
from services.provider_worker.adapters.adapter import RefusedByAdapter
from services.provider_worker.adapters.openai_format.placeholders import find_added
from services.provider_worker.adapters.registry import adapter_for
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text


class InvalidCallerRequest(ValueError):
    """The file holds no request of a caller; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class CallerRequest:
    """A caller's body, and what the router would have chosen for it."""

    provider: str
    model: str
    """The provider's name of the model; the body names the caller's."""
    key_fields: dict[str, str]
    base_url: str | None
    drop_unsupported: bool
    body: bytes
    kind: RequestKind


def parse_caller_request(data: bytes) -> CallerRequest:
    """Parse a request file. Raises InvalidCallerRequest."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise InvalidCallerRequest(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidCallerRequest("it holds no JSON object")
    provider = as_text(document.get("provider"))
    if not provider:
        raise InvalidCallerRequest("it names no `provider`")
    if "callers_body" not in document:
        raise InvalidCallerRequest("it has no `callers_body`")
    fields = document.get("key_fields") or {}
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise InvalidCallerRequest("`key_fields` must be an object of texts")
    body = document["callers_body"]
    embeds = "input" in as_object(body) and "messages" not in as_object(body)
    return CallerRequest(
        provider=provider,
        model=as_text(document.get("model")) or as_text(as_object(body).get("model")),
        key_fields=dict(fields),
        base_url=as_text(document.get("base_url")) or None,
        drop_unsupported=document.get("drop_unsupported") is True,
        body=json.dumps(body).encode(),
        kind=RequestKind.EMBEDDING if embeds else RequestKind.CHAT,
    )


def describe_request(asked: CallerRequest) -> JsonObject:
    """Return `url`, `headers`, `body`, `dropped` and `added` of what would be sent, or `refused` and `param`."""
    try:
        parsed = read_embedding(asked.body) if asked.kind is RequestKind.EMBEDDING else read_chat(asked.body)
        request = adapter_for(asked.provider).request(_run(asked, parsed), asked.body)
    except HttpProblem as problem:
        return {"refused": problem.message, "param": problem.param}
    except RefusedByAdapter as refusal:
        return {"refused": refusal.failure.message, "param": refusal.failure.param}
    return {
        "url": request.url,
        "headers": dict(request.headers),
        "body": json.loads(request.content),
        "dropped": list(request.dropped),
        "added": list(find_added(request.content, asked.body)),
    }


def _run(asked: CallerRequest, parsed: ParsedBody) -> AttemptRun:
    return AttemptRun(
        request_id="req_replay",
        kind=asked.kind,
        tenant="replay",
        model=asked.model,
        model_asked=parsed.model,
        stream=parsed.stream,
        include_usage=parsed.include_usage,
        deadline_ms=60_000,
        start_by_unix_ms=0,
        attempt_id="att_replay",
        attempt_number=1,
        decision_id="dec_replay",
        provider=asked.provider,
        base_url=asked.base_url,
        key_source=KeySource.NONE,
        key_fields=asked.key_fields,
        drop_unsupported=asked.drop_unsupported,
    )
