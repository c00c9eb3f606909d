"""JSON as providers send it: read leniently, written strictly.

orjson is tried first because it is an order of magnitude faster. It refuses lone surrogates, NaN and infinities that the standard
library takes, and providers do send those (an emoji cut in two across tokens, a log probability of minus infinity). Integers
of more than 64 bits lose their last digits; no field of these APIs has any.
"""

import codecs
import json
import math

import orjson

JsonObject = dict[str, object]

MAX_PARTS = 500_000
"""Objects, lists, members and every fourth item in one document: each takes about a hundred bytes of memory, and two of text."""
_MAX_STRINGS = MAX_PARTS
"""Besides, for strings cost half of that."""
_STEP_BYTES = 64 * 1024
_NO_PARTS = bytes(set(range(256)) - set(b'{[:"'))


class RepairedObject(dict[str, object]):
    """An object whose text is no JSON that others read: it must not go on as it came, only written anew."""


def parse_object(data: bytes) -> JsonObject | None:
    """The JSON object in `data`, or null where it holds anything else, or more than MAX_PARTS.

    NaN and infinities, which are not JSON, become null, and half characters escapes: such an object is `Mended`.
    """
    if len(data) > MAX_PARTS and _has_too_many_parts(data):
        return None
    try:
        document: object = orjson.loads(data)
    except ValueError:
        return _parse_leniently(data)
    return document if isinstance(document, dict) else None


def _parse_leniently(data: bytes) -> JsonObject | None:
    constants: list[str] = []
    try:
        document = json.loads(data, parse_constant=constants.append, parse_float=_parse_finite)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    return RepairedObject(document) if constants or not _is_plain_utf8(data) else document


def _is_plain_utf8(data: bytes) -> bool:
    if data.startswith(codecs.BOM_UTF8):
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_first_object(data: bytes) -> JsonObject | None:
    """The JSON object in `data`, or the first of a list: Google wraps errors in one. Null where there is none."""
    text = data.strip()
    if not text.startswith(b"["):
        return parse_object(text)
    wrapped = parse_object(b'{"items":' + text + b"}")
    return next(iter(as_objects(as_object(wrapped).get("items"))), None)


def _has_too_many_parts(data: bytes) -> bool:
    """Whether building the document would take far more memory than its text. In small steps, so that looking takes none."""
    at_most = sum(_count_parts(data[start : start + _STEP_BYTES]) for start in range(0, len(data), _STEP_BYTES))
    return at_most > MAX_PARTS and _has_too_many_outside_strings(data)


def _has_too_many_outside_strings(data: bytes) -> bool:
    """The same for a text whose strings may hold braces and commas of their own, as code and quoted JSON do."""
    parts = strings = 0
    in_string, half_escape = False, b""
    for start in range(0, len(data), _STEP_BYTES):
        step = half_escape + data[start : start + _STEP_BYTES]
        half_escape = b"\\" if (len(step) - len(step.rstrip(b"\\"))) % 2 else b""
        step = step.removesuffix(half_escape).replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = step.split(b'"')
        parts += _count_parts(b"".join(pieces[in_string::2]))
        strings += len(pieces) // 2
        if parts > MAX_PARTS or strings > _MAX_STRINGS:
            return True
        in_string ^= len(pieces) % 2 == 0
    return False


def _count_parts(text: bytes) -> int:
    return len(text.translate(None, _NO_PARTS)) + text.count(b",") // 4


def _parse_finite(text: str) -> float | None:
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


def to_one_line(data: bytes) -> bytes:
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
