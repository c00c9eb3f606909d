"""The texts of a stream as a client joins them: what is split over its chunks can be found in them."""

import json
from collections.abc import Iterable, Iterator
from typing import Any


def joined_texts(chunks: Iterable[bytes]) -> list[str]:
    """Return each text of each choice, joined over the chunks, which are JSON."""
    texts: dict[str, str] = {}
    for chunk in chunks:
        for name, text in _texts(json.loads(chunk).get("choices"), ""):
            texts[name] = texts.get(name, "") + text
    return list(texts.values())


def chunks_of(event_stream: bytes) -> list[bytes]:
    """Return the chunks of the gateway's event stream."""
    lines = (line.removeprefix(b"data: ") for line in event_stream.splitlines() if line.startswith(b"data: {"))
    return list(lines)


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f"{name}.{key}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _texts(inner, f"{name}[{inner.get('index', place) if isinstance(inner, dict) else place}]")
    elif isinstance(value, str):
        yield name, value
