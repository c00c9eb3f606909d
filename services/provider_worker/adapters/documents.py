"""JSON as providers send it: read leniently, written strictly.

orjson is tried first because it is an order of magnitude faster. It refuses lone surrogates, NaN and infinities that the standard
library takes, and providers do send those (an emoji cut in two across tokens, a log probability of minus infinity). Integers
of more than 64 bits lose their last digits; no field of these APIs has any.
"""

import json
import math

import orjson

JsonObject = dict[str, object]


def parse_object(data: bytes) -> JsonObject | None:
    """The JSON object in `data`, or null where it holds anything else. NaN and infinities, which are not JSON, become null."""
    try:
        document: object = orjson.loads(data)
    except ValueError:
        try:
            document = json.loads(data, parse_constant=lambda _: None, parse_float=_finite)
        except (ValueError, RecursionError):
            return None
    return document if isinstance(document, dict) else None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def render(document: JsonObject) -> bytes:
    """`document` as JSON on one line. Raises ValueError where it is nested too deeply to be written."""
    try:
        return orjson.dumps(document)
    except TypeError:
        try:
            return json.dumps(document, separators=(",", ":")).encode("ascii")
        except RecursionError:
            raise ValueError("the document is nested too deeply") from None


def one_line(data: bytes) -> bytes:
    """Valid JSON text without line breaks: JSON allows raw ones only between tokens, where a space does as well."""
    if b"\n" in data or b"\r" in data:
        return data.replace(b"\r", b" ").replace(b"\n", b" ")
    return data


def as_object(value: object) -> JsonObject:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_objects(value: object) -> list[JsonObject]:
    """The objects of a list, or the one object that stands where a list belongs."""
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: object) -> str:
    """`value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""
