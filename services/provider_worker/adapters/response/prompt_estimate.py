"""Estimates how many tokens a request holds, where the provider does not say. Pure.

A token is four characters of text (the rule of thumb in providers' documentation for English); token ids are counted.
"""

import math
from collections.abc import Iterable, Iterator

from services.provider_worker.adapters.response.json_text import as_object, as_objects, as_text

_CHARACTERS_PER_TOKEN = 4


def estimate_tokens(texts: Iterable[str]) -> int:
    """Estimate the tokens of all these texts together."""
    return math.ceil(sum(map(len, texts)) / _CHARACTERS_PER_TOKEN)


def estimate_prompt(document: object) -> int:
    """Estimate the tokens of a request's messages, or of its `input`, in OpenAI's format."""
    fields = as_object(document)
    return estimate_tokens(_prompt_texts(fields.get("messages"), fields.get("input"))) + _count_ids(fields.get("input"))


def content_texts(content: object) -> Iterator[str]:
    """Yield the texts of a message's content, a string or a list of parts."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in as_objects(content):
            yield as_text(part.get("text"))


def _prompt_texts(messages: object, embedded: object) -> Iterator[str]:
    for message in as_objects(messages):
        yield from content_texts(message.get("content"))
    for text in embedded if isinstance(embedded, list) else [embedded]:
        if isinstance(text, str):
            yield text


def _count_ids(embedded: object) -> int:
    if not isinstance(embedded, list):
        return 0
    lists = [item for item in embedded if isinstance(item, list)]
    return sum(type(item) is int for ids in [embedded, *lists] for item in ids)
