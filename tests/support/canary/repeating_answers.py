"""Answers of a provider that repeats the key it is called with: in every text and header, in every form, split over a stream."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from tests.support.canary.provider_documents import RESPONSES, Document, Path, Response, one_json, text_paths, with_text
from tests.support.canary.written_forms import WRITTEN_FORMS
from tests.support.providers.upstream import Reply, pieces_of

_STRUCTURE = frozenset({"object", "role", "type", "finish_reason"})
"""Members whose text decides what an answer is."""
_SPLIT_CHARACTERS = 5


def repeating_documents(response: Response, key: str) -> list[Document]:
    """Return the documents of a response with the key in each text and as a member of each object, each in another form."""
    forms = itertools.cycle(WRITTEN_FORMS.values())
    documents = list(response.documents)
    for path in [path for path in text_paths(documents) if len(path) > 1]:
        if path[-1] not in _STRUCTURE:
            documents = with_text(documents, path, f"<{next(forms)(key)}>")
    return documents


def _headers_of(key: str, content_type: str) -> dict[str, str]:
    names = (
        "x-request-id",
        "retry-after",
        "openai-organization",
        "x-ratelimit-limit-requests",
        "location",
        "set-cookie",
        "server",
    )
    encoded = {name: write(key) for name, write in zip(names, WRITTEN_FORMS.values(), strict=False)}
    return {**encoded, f"x-{quote(key, safe='')}": key, "content-type": f"{content_type}; key={quote(key)}"}


def everywhere(key: str, stream: bool) -> Reply:
    """Return a whole answer that repeats the key in every field, header and line."""
    name = "stream" if stream else "chat"
    response = next(one for one in RESPONSES if one.provider == "custom" and one.name == name)
    body = response.encode(repeating_documents(response, key))
    if stream:
        body = f": {key}\n\n: {quote(key)}\nid: {key}\nretry: {key}\n".encode() + body
    halves = (body[: len(body) // 2], body[len(body) // 2 :])
    return Reply(200, _headers_of(key, response.content_type), pieces_of(*halves), reason=key)


def split(key: str, stream: bool) -> Reply:
    """Return a stream that spells the key over several events in each of its texts, in a form of its own."""
    if not stream:
        return everywhere(key, stream)
    response = next(one for one in RESPONSES if one.provider == "custom" and one.name == "stream")
    forms = itertools.cycle(WRITTEN_FORMS.values())
    events: list[Document] = []
    for event in response.documents:
        for path in [path for path in text_paths([event]) if path[-1:] in _SPLIT_TEXTS and _text_at([event], path)]:
            written = f"it is {next(forms)(key)}, is it not"
            events += (with_text([event], path, piece)[0] for piece in _pieces(written))
        events.append(event)
    return Reply(200, {"content-type": response.content_type}, pieces_of(response.encode(events)))


def error_everywhere(key: str, stream: bool) -> Reply:
    """Return an error that repeats the key in every field and header."""
    name = "error in a stream" if stream else "error"
    response = next(one for one in RESPONSES if one.provider == "custom" and one.name == name)
    body = response.encode(repeating_documents(response, key))
    return Reply(response.status, _headers_of(key, response.content_type), pieces_of(body), reason=key)


def embeddings(key: str) -> Reply:
    """Return embeddings that repeat the key in every field and header."""
    response = next(one for one in RESPONSES if one.provider == "custom" and one.name == "embeddings")
    documents = repeating_documents(response, key)
    return Reply(200, _headers_of(key, response.content_type), pieces_of(one_json(documents)))


def model_list(key: str, names: tuple[str, ...]) -> Reply:
    """Return a list of models, some of which are named after the key."""
    named = [*names, *(write(key) for write in WRITTEN_FORMS.values())]
    rows = [{"id": name, "object": "model", "created": 1, "owned_by": key} for name in named]
    body = json.dumps({"object": "list", "data": rows, key: key}).encode()
    return Reply(200, _headers_of(key, "application/json"), pieces_of(body))


ANSWERS: Mapping[str, Callable[[str, bool], Reply]] = MappingProxyType(
    {"o3": everywhere, "gpt-5.1": split, "gpt-5.2": error_everywhere}
)
"""Model -> how the provider repeats the key in an answer, or an error, to it. The second argument asks for a stream."""

_SPLIT_TEXTS = {("content",), ("reasoning",), ("refusal",), ("arguments",)}


def _text_at(documents: list[Document], path: Path) -> bool:
    value: Any = documents
    for step in path:
        value = value[step]
    return isinstance(value, str) and value != ""


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + _SPLIT_CHARACTERS] for at in range(0, len(text), _SPLIT_CHARACTERS))
