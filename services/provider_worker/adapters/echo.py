"""The built-in `echo` provider: returns the user's last message, without a network and without a key.

It lets a new installation prove itself and gives tests a provider with exact token counts. A token is a run of letters,
digits and underscores, or any other single character that is not space; the prompt's tokens are those of all texts of
all messages.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import RequestKind, TokenUsage
from services.provider_worker.adapters.adapter import Answer, bad_request
from services.provider_worker.adapters.response.json_text import JsonObject, as_objects, parse_object, render
from services.provider_worker.adapters.usage_report import UsageReport

_TOKEN = re.compile(r"\w+|[^\w\s]")
_PIECE = re.compile(r"\s*(?:\w+|[^\w\s])(?:\s+\Z)?")
"""A token with the space before it, and the last one with the space after it: the pieces of a text join to the text."""


def count_tokens(text: str) -> int:
    """Count the tokens of `text` by this provider's rule."""
    return sum(1 for _ in _TOKEN.finditer(text))


@dataclass(frozen=True, slots=True)
class EchoAnswer:
    """One answer: `chunks()` for a stream, `answer` for its end or, with its body, for a non-streamed request."""

    run: AttemptRun
    created_unix_seconds: int
    pieces: tuple[str, ...]
    answer: Answer

    def chunks(self) -> Iterator[bytes]:
        """Yield the `chat.completion.chunk` JSON texts: role, one per token, finish, and usage if requested."""
        yield self._chunk({"role": "assistant", "content": ""})
        for piece in self.pieces:
            yield self._chunk({"content": piece})
        yield self._chunk({}, self.answer.finish_reason)
        if self.run.include_usage:
            envelope = _envelope(self.run, self.created_unix_seconds, "chat.completion.chunk")
            yield render(envelope | {"choices": [], "usage": _usage(self.answer.token_usage)})

    def _chunk(self, delta: JsonObject, finish_reason: str | None = None) -> bytes:
        envelope = _envelope(self.run, self.created_unix_seconds, "chat.completion.chunk")
        return render(envelope | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


def echo_request(run: AttemptRun, body: bytes, created_unix_seconds: int) -> EchoAnswer:
    """Answer the caller's body.

    Raises RefusedByAdapter for what echo does not support: no user text, several choices, embeddings.
    """
    if run.kind is RequestKind.EMBEDDING:
        raise bad_request("The echo provider has no embeddings; choose another model.", "model")
    document = parse_object(body)
    if document is None:
        raise bad_request("The request body is not a JSON object.", None)
    if document.get("n") not in (None, 1):
        raise bad_request("The echo provider returns one choice only; leave `n` out or set it to 1.", "n")
    messages = as_objects(document.get("messages"))
    text = next((_text(message) for message in reversed(messages) if message.get("role") == "user"), "")
    if not text.strip():
        raise bad_request("The echo provider needs a user message with text to echo.", "messages")
    pieces = _PIECE.findall(text)
    kept = pieces[: _max_tokens(document)]
    finish_reason = "stop" if len(kept) == len(pieces) else "length"
    token_usage = TokenUsage(input=sum(count_tokens(_text(message)) for message in messages), output=len(kept))
    answer = Answer(
        body=b"" if run.stream else _completion(run, created_unix_seconds, "".join(kept), finish_reason, token_usage),
        finish_reason=finish_reason,
        model_served=run.model,
        usage=UsageReport(token_usage, prompt_known=True, completion_known=True),
    )
    return EchoAnswer(run, created_unix_seconds, tuple(kept), answer)


def _max_tokens(document: JsonObject) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = document.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise bad_request(f"`{name}` must be at least 1.", name)
            return value
    return None


def _text(message: JsonObject) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(str(part["text"]) for part in as_objects(content) if isinstance(part.get("text"), str))


def _envelope(run: AttemptRun, created_unix_seconds: int, kind: str) -> JsonObject:
    return {
        "id": f"chatcmpl-{run.attempt_id}",
        "object": kind,
        "created": created_unix_seconds,
        "model": run.model,
    }


def _completion(
    run: AttemptRun, created_unix_seconds: int, text: str, finish_reason: str, token_usage: TokenUsage
) -> bytes:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    envelope = _envelope(run, created_unix_seconds, "chat.completion")
    return render(envelope | {"choices": [choice], "usage": _usage(token_usage)})


def _usage(token_usage: TokenUsage) -> JsonObject:
    return {
        "prompt_tokens": token_usage.input,
        "completion_tokens": token_usage.output,
        "total_tokens": token_usage.total,
    }
