"""The provider of the canary suite gives keys away in all that it sends, and the worker's redactor alone keeps them back."""

import asyncio
from collections.abc import Callable

import pytest

from keyferry.contracts.secret import Secret
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.redaction.reader import ResponseRedactor
from services.provider_worker.redaction.secret_forms import NO_SECRETS, SecretForms
from tests.support.canary.joined_texts import joined_texts
from tests.support.canary.repeating_answers import ANSWERS, embeddings
from tests.support.canary.searcher import Canary, Searcher
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.upstream import Reply

KEY = "correct-4fJ0q2LxWzP8aZ7_horse-9sD1mKtYbV3aZ7"
SEARCHER = Searcher([Canary("key", KEY)])
REPLIES: dict[str, Callable[[bool], Reply]] = {
    **{model: lambda stream, model=model: ANSWERS[model](KEY, stream) for model in ANSWERS},  # type: ignore[misc]
    "embeddings": lambda _: embeddings(KEY),
}


async def received(reply: Reply, *, stream: bool, kind: RequestKind, forms: SecretForms) -> bytes:
    """Return all that a worker makes of a reply."""
    run, adapter = attempt_run(stream=stream, include_usage=True, kind=kind), ADAPTERS["custom"]
    body = b'{"input":"Hi"}' if kind is RequestKind.EMBEDDING else b'{"messages":[{"role":"user","content":"Hi"}]}'
    redactor = ResponseRedactor(forms)
    headers = redactor.redact_headers({name.lower(): value for name, value in reply.headers.items()})
    reader = redactor.guard(adapter.reader(run, adapter.request(run, body), reply.status, headers), reply.status)
    chunks = [chunk async for piece in reply.pieces for chunk in reader.feed(piece)]
    answer = reader.close()
    chunks += answer.late
    return "\n".join((*joined_texts(chunks), repr((chunks, answer, headers)))).encode()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", REPLIES)
def test_only_the_redactor_keeps_the_key_back(name: str, stream: bool) -> None:
    kind = RequestKind.EMBEDDING if name == "embeddings" else RequestKind.CHAT
    reply = REPLIES[name]
    bare = asyncio.run(received(reply(stream), stream=stream, kind=kind, forms=NO_SECRETS))
    clean = asyncio.run(received(reply(stream), stream=stream, kind=kind, forms=SecretForms([Secret(KEY)])))
    assert SEARCHER.found(bare)
    assert not SEARCHER.found(clean)
    assert b"[redacted]" in clean
