"""Token meters where the provider reported none: an estimate, always marked as one. Pure.

The rule: a token is four characters of text (the provider documentations' own rule of thumb for English), and a delivered
delta that carries something is one token, which is how providers cut their streams. Good enough to see what a cancelled
stream cost, and no more.
"""

import math
from collections.abc import Iterator
from typing import Any

import orjson

from keyferry.contracts.usage import TokenUsage

_CHARACTERS_PER_TOKEN = 4


def estimate(request_body: bytes, *, deltas: int, answer_body: bytes = b"") -> TokenUsage:
    """Meters of a call that was made: its prompt, and what came back as deltas or as a whole body."""
    output = deltas or _tokens(_answer_texts(_parsed(answer_body)))
    return TokenUsage(input=_tokens(_prompt_texts(_parsed(request_body))), output=output)


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _tokens(texts: Iterator[str]) -> int:
    return math.ceil(sum(map(len, texts)) / _CHARACTERS_PER_TOKEN)


def _prompt_texts(document: Any) -> Iterator[str]:
    messages = document.get("messages") if isinstance(document, dict) else None
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            yield from _content_texts(message.get("content"))
    given = document.get("input") if isinstance(document, dict) else None
    for text in given if isinstance(given, list) else (given,):
        if isinstance(text, str):
            yield text


def _answer_texts(document: Any) -> Iterator[str]:
    choices = document.get("choices") if isinstance(document, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(message, dict):
            for part in ("content", "reasoning_content", "refusal"):
                yield from _content_texts(message.get(part))


def _content_texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"]
