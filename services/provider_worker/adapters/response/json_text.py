"""JSON as providers send it: parsed leniently, written strictly.

orjson is tried first because it is an order of magnitude faster. It rejects lone surrogates, NaN and infinities that
the standard library accepts, and providers do send those (an emoji split across two tokens, a log probability of minus
infinity). Integers of more than 64 bits lose their last digits; no field of these APIs has any.
"""

import codecs
import json
import math

import orjson

JsonObject = dict[str, object]

MAX_PARTS = 500_000
"""Objects, lists, members and every fourth item in one document: each takes about a hundred bytes of memory, and two of
text."""
_MAX_STRINGS = MAX_PARTS
"""In addition to the parts, because strings cost half of that."""
_STEP_BYTES = 64 * 1024
_WHITE_SPACE = " \t\r\n"
_BEFORE_OBJECT = _WHITE_SPACE + "\ufeff"
_BEFORE_DOCUMENT = _BEFORE_OBJECT + "\0"
_NO_PARTS = bytes(set(range(256)) - set(b'{[:"'))


class RepairedObject(dict[str, object]):
    """An object whose text is not valid JSON for other parsers: it must be rendered again, never forwarded as received."""


def parse_object(data: bytes) -> JsonObject | None:
    """Return the JSON object in `data`, or null if it holds anything else, or more than MAX_PARTS.

    NaN and infinities, which are not JSON, become null, and lone surrogates escapes: such an object is a
    `RepairedObject`.
    """
    return _parse(data, leading=False)


def parse_leading_object(data: bytes) -> JsonObject | None:
    """Return the JSON object in `data`, or the one that `data` begins with if something follows it; null if there is none.

    Servers append white space, NULs, a second document, or the end mark of a stream, and put NULs or a byte order mark in
    front. Such an object is a `RepairedObject`, too.
    """
    return _parse(data, leading=True)


def _parse(data: bytes, *, leading: bool) -> JsonObject | None:
    if len(data) > MAX_PARTS and _has_too_many_parts(data):
        return None
    try:
        document: object = orjson.loads(data)
    except ValueError:
        return _parse_leniently(data, leading=leading)
    return document if isinstance(document, dict) else None


def _parse_leniently(data: bytes, *, leading: bool) -> JsonObject | None:
    constants: list[str] = []
    decoder = json.JSONDecoder(parse_constant=constants.append, parse_float=_parse_finite)
    is_plain = _is_plain_utf8(data)
    try:
        text = data.decode("utf-8", "surrogatepass") if is_plain or not leading else data.decode("utf-8", "replace")
        begun = text.lstrip(_BEFORE_DOCUMENT if leading else _BEFORE_OBJECT)
        document, end = decoder.raw_decode(begun)
    except (ValueError, RecursionError):
        return None
    front = text[: len(text) - len(begun)].strip(_WHITE_SPACE)
    behind = begun[end:].strip(_WHITE_SPACE)
    if not isinstance(document, dict) or (behind and not leading):
        return None
    return RepairedObject(document) if constants or not is_plain or front or behind else document


def _is_plain_utf8(data: bytes) -> bool:
    if data.startswith(codecs.BOM_UTF8):
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_first_object(data: bytes) -> JsonObject | None:
    """Return the JSON object in `data`, or the first of a list, as Google wraps errors in one; null if there is none."""
    text = data.strip()
    if not text.startswith(b"["):
        return parse_leading_object(text)
    wrapped = parse_object(b'{"items":' + text + b"}")
    return next(iter(as_objects(as_object(wrapped).get("items"))), None)


def _has_too_many_parts(data: bytes) -> bool:
    """Return whether the document would take far more memory than its text.

    Works in small steps, to take none itself.
    """
    at_most = sum(_count_parts(data[start : start + _STEP_BYTES]) for start in range(0, len(data), _STEP_BYTES))
    return at_most > MAX_PARTS and _has_too_many_outside_strings(data)


def _has_too_many_outside_strings(data: bytes) -> bool:
    """Count again for a text whose strings hold braces and commas of their own, as code and quoted JSON do."""
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
    """Render `document` as JSON on one line. Raises ValueError if it is nested too deeply."""
    try:
        return orjson.dumps(document)
    except TypeError:
        try:
            return json.dumps(document, separators=(",", ":")).encode("ascii")
        except RecursionError:
            raise ValueError("the document is nested too deeply") from None


def to_one_line(data: bytes) -> bytes:
    """Remove line breaks from valid JSON text: raw ones are allowed only between tokens, where a space does as well."""
    if b"\n" in data or b"\r" in data:
        return data.replace(b"\r", b" ").replace(b"\n", b" ")
    return data


def as_object(value: object) -> JsonObject:
    """Return `value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_objects(value: object) -> list[JsonObject]:
    """Return the objects of a list, or the single object in place of a list."""
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: object) -> str:
    """Return `value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""
