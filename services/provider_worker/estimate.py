"""Estimated token usage where the provider reported none; always marked as an estimate.

A token is four characters of text (the rule of thumb in providers' documentation for English), and a delivered delta with
content is one token, which is how providers split their streams. Good enough to see what a cancelled stream cost. Pure.
"""

import math
from collections.abc import Iterator
from typing import Any

import orjson

from keyferry.contracts.usage import TokenUsage

_CHARACTERS_PER_TOKEN = 4


def estimate(request_body: bytes, *, deltas: int, answer_body: bytes = b"") -> TokenUsage:
    """Estimate the usage of a call from its prompt and what came back, as deltas or as a whole body."""
    output = deltas or _tokens(_answer_texts(_parse(answer_body)))
    return TokenUsage(input=_tokens(_prompt_texts(_parse(request_body))), output=output)


def _parse(body: bytes) -> Any:
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
    texts = document.get("input") if isinstance(document, dict) else None
    for text in texts if isinstance(texts, list) else (texts,):
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
