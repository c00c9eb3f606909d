"""Frames of AWS's binary event stream, written by hand for tests. Source of the format: AWS, "Event stream encoding"."""

import json
import struct
import zlib
from collections.abc import Mapping


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return one frame whose headers are strings."""
    encoded = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    checked = prelude + struct.pack(">I", zlib.crc32(prelude)) + encoded + payload
    return checked + struct.pack(">I", zlib.crc32(checked))


def event(name: str, document: object) -> bytes:
    """Return an event frame of ConverseStream, padded as Bedrock pads."""
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    padded = {**document, "p": "abcdefgh"} if isinstance(document, dict) else document
    return frame(headers, json.dumps(padded).encode())


def exception(name: str, document: object) -> bytes:
    """Return an exception frame."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps(document).encode())


def delta(index: int, **fields: object) -> bytes:
    """Return a `contentBlockDelta` with these fields."""
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": fields})


def stop(index: int) -> bytes:
    """Return a `contentBlockStop`."""
    return event("contentBlockStop", {"contentBlockIndex": index})


def ending(reason: str = "end_turn", **usage: object) -> bytes:
    """Return `messageStop` and `metadata`."""
    counts = usage or {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
    return event("messageStop", {"stopReason": reason}) + event("metadata", {"usage": counts, "metrics": {}})


START = event("messageStart", {"role": "assistant"})
