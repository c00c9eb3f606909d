"""Builds the adapter's requests from OpenAI bodies, for tests."""

import json
from collections.abc import Mapping
from typing import Any

from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import UpstreamRequest
from services.provider_worker.adapters.gemini.adapter import AI_STUDIO, VERTEX, GeminiAdapter
from tests.support.providers.attempt_runs import attempt_run

GEMINI = GeminiAdapter(AI_STUDIO)
GEMINI_ON_VERTEX = GeminiAdapter(VERTEX)
PROJECT = {"project": "acme-1", "location": "europe-west4"}
QUESTION: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]


def build_request(
    body: Mapping[str, Any],
    *,
    model: str = "gemini-2.5-flash",
    vertex: bool = False,
    stream: bool = False,
    drop_unsupported: bool = False,
    kind: RequestKind = RequestKind.CHAT,
    base_url: str | None = None,
    key_fields: Mapping[str, str] = PROJECT,
) -> UpstreamRequest:
    """The request for `body`, to which `model`, and for chats a question, is added where it has none."""
    default: dict[str, Any] = {} if kind is RequestKind.EMBEDDING else {"messages": QUESTION}
    run = attempt_run(
        model=model,
        stream=stream,
        base_url=base_url,
        kind=kind,
        drop_unsupported=drop_unsupported,
        key_fields=key_fields,
    )
    adapter = GEMINI_ON_VERTEX if vertex else GEMINI
    return adapter.request(run, json.dumps({"model": "asked", **default, **body}).encode())


def content(body: Mapping[str, Any], *, model: str = "gemini-2.5-flash", **options: Any) -> dict[str, Any]:
    """The body of that request."""
    document: dict[str, Any] = json.loads(build_request(body, model=model, **options).content)
    return document
