"""Collects what an attempt was asked and has answered, as far as it is to be stored. Pure."""

import json
from collections.abc import Iterable, Sequence

from keyferry.contracts.content import MAX_CHARACTERS, CallContent
from keyferry.contracts.tenancy import ContentPolicy
from services.provider_worker.content.personal_data import redact

_MAX_CHUNK_BYTES = 4 * 1024 * 1024
"""Of a streamed answer's chunks, which have some hundred bytes around a word."""
_MAX_BODY_BYTES = 8 * 1024 * 1024


class ContentCapture:
    """The content of one attempt while it runs. Every method is cheap until `finish`."""

    def __init__(self, policy: ContentPolicy, days: int, body: bytes) -> None:
        self.policy = policy
        self.days = days
        self._body = body
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, chunks: Sequence[bytes]) -> None:
        """Note chunks of a streamed answer."""
        for chunk in chunks:
            self._size += len(chunk)
            if self._size <= _MAX_CHUNK_BYTES:
                self._chunks.append(chunk)

    def finish(self, answer_body: bytes) -> CallContent:
        """Return the content; `answer_body` is that of an answer that was not streamed."""
        request, request_cut = _cut(self._redacted(_messages_of(self._body)))
        answer = _text_of_body(answer_body) if answer_body else _text_of_chunks(self._chunks)
        answer, answer_cut = _cut(self._redacted(answer))
        return CallContent(
            request=request,
            answer=answer,
            request_cut=request_cut,
            answer_cut=answer_cut or self._size > _MAX_CHUNK_BYTES,
        )

    def _redacted(self, text: str) -> str:
        # Only what can be stored is looked at, and a little more, so that nothing at the cut escapes.
        return redact(text[: MAX_CHARACTERS + 256]) if self.policy is ContentPolicy.REDACTED else text


def _cut(text: str) -> tuple[str, bool]:
    return text[:MAX_CHARACTERS], len(text) > MAX_CHARACTERS


def _messages_of(body: bytes) -> str:
    """Return the messages of a request and its tools' names as JSON; the whole body if it is no chat."""
    document = _parse(body[:_MAX_BODY_BYTES])
    messages = document.get("messages") if isinstance(document, dict) else None
    if not isinstance(messages, list):
        return body[: MAX_CHARACTERS + 1].decode("utf-8", "replace")
    return _write(messages)


def _text_of_body(body: bytes) -> str:
    document = _parse(body[:_MAX_BODY_BYTES])
    choices = document.get("choices") if isinstance(document, dict) else None
    if not isinstance(choices, list):
        return body[: MAX_CHARACTERS + 1].decode("utf-8", "replace")
    return _join(_text_of_message(choice.get("message")) for choice in choices if isinstance(choice, dict))


def _text_of_chunks(chunks: Iterable[bytes]) -> str:
    """Return what the choices of a stream say, one after the other."""
    texts: dict[object, list[str]] = {}
    for chunk in chunks:
        document = _parse(chunk)
        choices = document.get("choices") if isinstance(document, dict) else None
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                texts.setdefault(str(choice.get("index")), []).append(_text_of_delta(choice.get("delta")))
    return _join("".join(parts) for parts in texts.values())


def _text_of_message(message: object) -> str:
    if not isinstance(message, dict):
        return ""
    content = message.get("content")
    text = content if isinstance(content, str) else "" if content is None else _write(content)
    calls = message.get("tool_calls")
    return _join([text, _write(calls) if calls else ""])


def _text_of_delta(delta: object) -> str:
    if not isinstance(delta, dict):
        return ""
    content = delta.get("content")
    text = content if isinstance(content, str) else ""
    calls = delta.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            name, arguments = function.get("name"), function.get("arguments")
            text += f"\n{name}: " if isinstance(name, str) and name else ""
            text += arguments if isinstance(arguments, str) else ""
    return text


def _join(texts: Iterable[str]) -> str:
    return "\n".join(text for text in texts if text)


def _parse(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _write(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
