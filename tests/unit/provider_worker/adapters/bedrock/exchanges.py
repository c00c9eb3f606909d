"""Requests and hand-made answers of Bedrock for tests."""

import json

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import Answer, UpstreamRequest
from services.provider_worker.adapters.bedrock.adapter import BedrockAdapter
from tests.support.providers.attempt_runs import attempt_run

JsonObject = dict[str, object]

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-lite-v1:0"
ADAPTER = BedrockAdapter()
HELLO: list[JsonObject] = [{"role": "user", "content": "Hello"}]


def bedrock_run(
    *,
    model: str = CLAUDE,
    stream: bool = False,
    embedding: bool = False,
    drop: bool = False,
    include_usage: bool = True,
    region: str | None = "eu-central-1",
    base_url: str | None = None,
) -> AttemptRun:
    """An attempt at Bedrock."""
    run = attempt_run(stream=stream, include_usage=include_usage, model=model, base_url=base_url)
    fields = {} if region is None else {"region": region}
    kind = RequestKind.EMBEDDING if embedding else RequestKind.CHAT
    return run.model_copy(update={"key_fields": fields, "drop_unsupported": drop, "kind": kind})


def sent_body(run: AttemptRun | None = None, /, **fields: object) -> JsonObject:
    """The body that goes to Bedrock for a caller's body with these fields; `messages` default to a greeting."""
    request = ADAPTER.request(run or bedrock_run(), json.dumps({"messages": HELLO} | fields).encode())
    document = json.loads(request.content)
    assert isinstance(document, dict)
    return document


def read(
    *pieces: bytes, run: AttemptRun | None = None, status: int = 200, headers: JsonObject | None = None
) -> tuple[list[JsonObject], Answer]:
    """The chunks and the answer of a response that comes in these pieces; a stream by default."""
    known = {name: str(value) for name, value in (headers or {}).items()}
    request = UpstreamRequest("https://provider.test", {}, b"")
    reader = ADAPTER.reader(run or bedrock_run(stream=True), request, status, known)
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return [json.loads(chunk) for chunk in chunks], reader.close()


def deltas(chunks: list[JsonObject]) -> list[JsonObject]:
    """The deltas of all chunks that have one."""
    found: list[JsonObject] = []
    for chunk in chunks:
        choices = chunk["choices"]
        assert isinstance(choices, list)
        found += [choice["delta"] for choice in choices]
    return found
