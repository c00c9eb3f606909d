"""The providers of the demo system: one server, a path for each of them, and keys that each of them knows."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.providers.openai_double import (
    Denial,
    ProviderDouble,
    crashed,
    good_reply,
    key_of,
    unknown_key,
)
from tests.support.providers.upstream import (
    Pieces,
    ProviderRequest,
    Reply,
    chunk,
    completion,
    event,
    failing,
    pieces_of,
    running_upstream,
    usage,
)

MODELS: Mapping[str, tuple[str, ...]] = {
    "openai": ("gpt-4o-mini", "gpt-4o", "gpt-5", "gpt-5-mini", "text-embedding-3-small"),
    "mistral": ("mistral-small-latest", "mistral-medium-latest", "mistral-large-2512", "mistral-embed"),
    "groq": ("llama-3.1-8b-instant", "llama-3.3-70b-versatile", "openai/gpt-oss-120b"),
    "deepseek": ("deepseek-chat",),
    "anthropic": ("claude-haiku-4-5", "claude-sonnet-4-5"),
}
"""Provider -> the models that its keys list. All but Anthropic have OpenAI's dialect."""
KEY_PREFIXES = {"openai": "sk-proj-", "groq": "gsk_", "deepseek": "sk-", "anthropic": "sk-ant-api03-"}
_OWN_DIALECT = frozenset({"anthropic"})
_ANSWER = (
    "The customer asks for a refund of the second invoice. The amount was charged twice on the same day,"
    " and support has confirmed it. A refund within three days is appropriate."
)


@dataclass
class DemoProviders(ProviderDouble):
    """The running server. A provider in `outages` replies so to everybody."""

    outages: dict[str, Denial] = field(default_factory=dict)

    @property
    def urls(self) -> str:
        """The value of KEYFERRY_PROVIDER_URLS."""
        base = f"http://127.0.0.1:{self.upstream.port}"
        return ",".join(f"{name}={base}/{name}{'' if name in _OWN_DIALECT else '/v1'}" for name in MODELS)

    def issue_for(self, provider: str, denial: Denial | None = None, *, seed: str = "") -> str:
        """Return a new key of a provider, which knows it from now on; the same for the same seed."""
        drawn = random.Random(seed) if seed else random.SystemRandom()
        alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        key = KEY_PREFIXES.get(provider, "") + "".join(drawn.choice(alphabet) for _ in range(40))
        self.known[key] = denial
        return key

    def answer(self, request: ProviderRequest) -> Reply:
        """Return the reply to this request."""
        provider = request.path.split("/")[1]
        if provider in self.outages:
            return self.outages[provider]()
        key = key_of(request) or request.headers.get("x-api-key", "")
        if key not in self.known:
            return unknown_key()
        if (denial := self.known[key]) is not None:
            return denial()
        if request.path.endswith("/models"):
            return _model_list(provider)
        if request.path.endswith("/chat/completions"):
            return _chat(request)
        if request.path.endswith("/messages"):
            return _message(request)
        if request.path.endswith("/embeddings"):
            return good_reply(request)
        return failing(404, {"message": f"no such path: {request.path}", "type": "not_found", "code": "not_found"})


def _model_list(provider: str) -> Reply:
    listed = [{"id": name, "object": "model", "created": 1, "owned_by": provider} for name in MODELS[provider]]
    body = {"object": "list", "data": listed, "has_more": False}
    return Reply(200, {"content-type": "application/json"}, pieces_of(json.dumps(body).encode()))


def _drawn(request: ProviderRequest) -> tuple[list[str], int, Callable[[], Awaitable[None]]]:
    """Return the words of an answer, the tokens of its prompt, and a delay, which depend on nothing but the request."""
    text = " ".join(str(message.get("content")) for message in request.body.get("messages", ()))
    drawn = random.Random(text)
    limit = request.body.get("max_tokens") or request.body.get("max_completion_tokens") or 200
    words = (_ANSWER.split() * 4)[: min(int(limit), drawn.randint(8, 60))]
    return words, max(1, len(text) // 4), _after(drawn.uniform(0.02, 0.12))


def _chat(request: ProviderRequest) -> Reply:
    words, prompt, delay = _drawn(request)
    model = str(request.body.get("model"))
    if not request.body.get("stream"):
        reply = completion(" ".join(words), model, prompt, len(words))
        return Reply(reply.status, reply.headers, reply.pieces, before=delay)
    return Reply(200, {"content-type": "text/event-stream"}, _streamed(words, model, prompt), before=delay)


def _after(seconds: float) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        await asyncio.sleep(seconds)

    return wait


async def _streamed(words: list[str], model: str, prompt_tokens: int) -> Pieces:
    yield chunk({"role": "assistant", "content": ""}, model=model)
    for number, word in enumerate(words):
        await asyncio.sleep(0.004)
        yield chunk({"content": word if number == 0 else f" {word}"}, model=model)
    yield chunk({}, "stop", model=model)
    counts = usage(prompt_tokens, len(words))
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": []}
    yield event(head | {"usage": counts})
    yield b"data: [DONE]\n\n"


def _message(request: ProviderRequest) -> Reply:
    words, prompt, delay = _drawn(request)
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": request.body.get("model")}
    if request.body.get("stream"):
        pieces = _streamed_message(words, message, prompt)
        return Reply(200, {"content-type": "text/event-stream"}, pieces, before=delay)
    whole = message | {
        "content": [{"type": "text", "text": " ".join(words)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": prompt, "output_tokens": len(words)},
    }
    return Reply(200, {"content-type": "application/json"}, pieces_of(json.dumps(whole).encode()), before=delay)


async def _streamed_message(words: list[str], message: dict[str, object], prompt_tokens: int) -> Pieces:
    def named(name: str, **fields: object) -> bytes:
        return f"event: {name}\n".encode() + event({"type": name, **fields})

    counts = {"input_tokens": prompt_tokens, "output_tokens": 1}
    begun = message | {"content": [], "stop_reason": None, "stop_sequence": None, "usage": counts}
    yield named("message_start", message=begun)
    yield named("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for number, word in enumerate(words):
        await asyncio.sleep(0.004)
        delta = {"type": "text_delta", "text": word if number == 0 else f" {word}"}
        yield named("content_block_delta", index=0, delta=delta)
    yield named("content_block_stop", index=0)
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    yield named("message_delta", delta=ended, usage={"output_tokens": len(words)})
    yield named("message_stop")


@contextmanager
def running_providers() -> Iterator[DemoProviders]:
    """Run the server; no provider knows a key yet."""
    started: list[DemoProviders] = []
    with running_upstream(lambda request: started[0].answer(request)) as upstream:
        started.append(DemoProviders(upstream))
        yield started[0]


OUTAGE = crashed
"""The reply of a provider that is down."""
