"""Recordings with other values in the same shapes, and their expectations rewritten likewise.

A variation changes JSON objects, or how they are written into the body, or both. Bodies that hold no JSON stay as they are.
"""

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.providers.aws_event_stream import frame

JsonObject = dict[str, object]

_LETTER = "o"
"""A letter of no JSON literal and no escape, so that it can be exchanged also within pieces of JSON text."""
_OTHER = "😀ö"
_TEXTS = frozenset(
    {"content", "text", "reasoning", "reasoning_content", "thinking", "refusal", "arguments", "partial_json", "name"}
)
_INPUTS = frozenset({"args", "input", "arguments"})
"""Fields whose objects are the model's own text."""
_OPEN = frozenset({"delta", "message", "logprobs", "content"})
"""Objects to which an unknown field would be a piece of the answer."""


@dataclass(frozen=True)
class Variation:
    """`document` changes what was sent, and `expected` the expectation alike; the rest is how it is written."""

    document: Callable[[JsonObject], JsonObject] = lambda document: document
    expected: Callable[[JsonObject], JsonObject] = lambda expected: expected
    newline: str = "\n"
    indent: int | None = None
    before: str = ""
    between: str = ""
    gap: str = "\n\n"
    """What ends an event."""
    ends: bool = True
    """Whether the last event is ended at all."""


def shuffled(document: JsonObject) -> JsonObject:
    """Return the same fields in another order, with unknown fields and objects added."""
    source = random.Random(len(document))

    def walk(value: object, name: str) -> object:
        if isinstance(value, list):
            return [walk(item, name) for item in value]
        if not isinstance(value, dict) or name in _INPUTS:
            return value
        fields = [(key, walk(item, key)) for key, item in value.items()]
        source.shuffle(fields)
        return dict(fields) if name in _OPEN else {"x_later": {"a": [1, None]}} | dict(fields)

    return {str(key): item for key, item in _object(walk(document, "")).items()}


def scaled(document: JsonObject) -> JsonObject:
    """Return the document with every token count three times as large."""

    def walk(value: object, name: str) -> object:
        if isinstance(value, list):
            return [walk(item, name) for item in value]
        if isinstance(value, dict):
            return value if name in _INPUTS else {key: walk(item, key) for key, item in value.items()}
        is_count = type(value) in (int, float) and ("token" in name.lower()) and "limit" not in name
        return 3 * value if is_count and isinstance(value, int | float) else value

    return _object(walk(document, ""))


def scaled_expectation(expected: JsonObject) -> JsonObject:
    """Return the expectation of `scaled`."""
    usage = {name: None if count is None else 3 * count for name, count in _object(expected.get("usage")).items()}  # type: ignore[operator]
    return expected | {"usage": usage or None}


def reworded(value: object, name: str = "", *, inside: bool = False) -> object:
    """Return every text of the model with other letters, an emoji and an umlaut among them."""
    if isinstance(value, str):
        return value.replace(_LETTER, _OTHER) if inside or name in _TEXTS else value
    if isinstance(value, list):
        return [reworded(item, name, inside=inside) for item in value]
    if not isinstance(value, dict):
        return value
    made: JsonObject = {}
    for key, item in value.items():
        within = inside or key in _INPUTS
        made[str(reworded(key, inside=inside))] = reworded(item, key, inside=within)
    return made


def reworded_expectation(expected: JsonObject) -> JsonObject:
    """Return the expectation of `reworded`."""
    also = {
        name: reworded(options, inside=name in ("text", "reasoning_text"))
        for name, options in _object(expected.get("accept_also")).items()
    }
    names = ("text", "reasoning_text", "refusal", "tool_calls")
    made = {name: reworded(expected.get(name), inside=True) for name in names}
    calls = [
        {key.replace(_OTHER, _LETTER): item for key, item in _object(call).items()}
        for call in (made["tool_calls"] if isinstance(made["tool_calls"], list) else [])
    ]
    return expected | made | {"accept_also": also, "tool_calls": calls}


VARIATIONS = {
    "other order and unknown fields": Variation(shuffled),
    "other counts": Variation(scaled, scaled_expectation),
    "other texts": Variation(lambda document: _object(reworded(document)), reworded_expectation),
    "carriage returns and newlines": Variation(newline="\r\n", before="\r\n"),
    "bare carriage returns": Variation(newline="\r"),
    "comments and a byte order mark": Variation(
        before="\ufeff: hello\n\n", between=": still here\n\nid: 7\nretry: 1000\n"
    ),
    "wide": Variation(indent=2),
    "no blank lines": Variation(gap="\n"),
    "no blank line at the end": Variation(ends=False),
}


def rewritten(body: bytes, variation: Variation) -> bytes:
    """Return `body`, in whatever format, with the variation."""
    if body[:1] == b"\0":
        return b"".join(_frame(piece, variation) for piece in _frames(body))
    text = body.decode()
    if text.lstrip()[:1] in ("{", "["):
        return _written(json.loads(text), variation).encode()
    if "data:" not in text:
        return body
    events = [block for block in text.replace("\r\n", "\n").split("\n\n") if block.strip()]
    made = variation.gap.join(variation.between + _event(block, variation) for block in events)
    made = variation.before + made + (variation.gap if variation.ends else "")
    return made.replace("\r\n", "\n").replace("\n", variation.newline).encode()


def _event(block: str, variation: Variation) -> str:
    lines: list[str] = []
    for line in block.strip("\n").split("\n"):
        field, _, value = line.partition(":")
        if field == "data" and value.lstrip().startswith("{"):
            lines += [f"data: {part}" for part in _written(json.loads(value), variation).split("\n")]
        else:
            lines.append(line)
    return "\n".join(lines)


def _written(document: object, variation: Variation) -> str:
    if isinstance(document, list):
        return json.dumps([variation.document(_object(item)) for item in document], indent=variation.indent)
    return json.dumps(variation.document(_object(document)), indent=variation.indent, ensure_ascii=False)


def _frames(body: bytes) -> list[bytes]:
    frames: list[bytes] = []
    while body:
        (length,) = struct.unpack(">I", body[:4])
        frames.append(body[:length])
        body = body[length:]
    return frames


def _frame(data: bytes, variation: Variation) -> bytes:
    _, headers_length = struct.unpack(">II", data[:8])
    rest, headers = data[12 : 12 + headers_length], {}
    while rest:
        name, rest = rest[1 : 1 + rest[0]].decode(), rest[1 + rest[0] :]
        length = int.from_bytes(rest[1:3], "big")
        headers[name], rest = rest[3 : 3 + length].decode(), rest[3 + length :]
    payload = json.loads(data[12 + headers_length : -4])
    return frame(headers, _written(payload, variation).encode())


def _object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}
