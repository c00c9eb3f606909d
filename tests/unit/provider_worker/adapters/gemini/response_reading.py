"""Reads hand-made generateContent responses with the adapter, for tests."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import Answer, UpstreamRequest
from tests.support.providers.attempt_runs import attempt_run
from tests.unit.provider_worker.adapters.gemini.request_building import GEMINI

REQUEST = UpstreamRequest("https://provider.test", {}, b"")


def answer_of(*parts: dict[str, Any], finish: str | None = "STOP", **fields: Any) -> dict[str, Any]:
    """A response with one candidate of these parts; `fields` are added beside the candidates."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}} if parts else {}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **fields}


def event(document: object) -> bytes:
    """One event, with the line ends that Google sends."""
    return b"data: " + json.dumps(document).encode() + b"\r\n\r\n"


def read(
    body: bytes,
    *,
    stream: bool,
    cuts: Sequence[int] = (),
    status: int = 200,
    kind: RequestKind = RequestKind.CHAT,
    include_usage: bool = True,
) -> tuple[list[bytes], Answer]:
    """Chunks and answer of `body`, fed in pieces that end at `cuts`."""
    run = attempt_run(stream=stream, include_usage=include_usage, kind=kind, model="gemini-2.5-flash")
    reader = GEMINI.reader(run, REQUEST, status, {"date": "Sun, 06 Nov 1994 08:49:37 GMT"})
    bounds = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    chunks: list[bytes] = []
    for start, end in itertools.pairwise(bounds):
        chunks += reader.feed(body[start:end])
    return chunks, reader.close()


def read_complete(document: object) -> tuple[dict[str, Any], Answer]:
    """The completion and the answer of a response that is not streamed; no completion where it failed."""
    _, answer = read(json.dumps(document).encode(), stream=False)
    return (json.loads(answer.body) if answer.body else {}), answer


def read_stream(*documents: object, include_usage: bool = False) -> tuple[list[dict[str, Any]], Answer]:
    """The chunks and the answer of a stream of these pieces."""
    chunks, answer = read(b"".join(map(event, documents)), stream=True, include_usage=include_usage)
    return [json.loads(chunk) for chunk in chunks], answer
