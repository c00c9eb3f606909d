"""What is wrong with a request, in words that repeat nothing of it: it may hold a provider key in any of its places. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence

from services.console.problem import INVALID_REQUEST, Problem, not_found

_NAME = re.compile(r"[a-z][a-z_]{0,39}", re.ASCII)
"""What a name of ours looks like. Anything else in its place may be a key that slipped, and is not repeated."""
_UNTOLD = "…"
_MOST_FAULTS = 5
_NO_OBJECT = frozenset({"missing", "model_attributes_type", "model_type", "dict_type"})
_WORDS = {
    "extra_forbidden": "there is no such field",
    "missing": "this is required",
    "value_error": "this is not a valid value",
    "assertion_error": "this is not a valid value",
}
"""In place of the library's words: these two errors carry whatever a check has said, the value included."""
_THINGS = {"tenant": "there is no tenant of that name", "key_id": "the tenant has no such provider key"}


def from_faults(faults: Iterable[Mapping[str, object]]) -> Problem:
    """The problem that a failed validation is. `faults` are pydantic's; of each only type, place and words are read.

    400 where the request cannot be read or names what does not exist, 404 for an impossible path, else 422.
    """
    found = [(str(fault["type"]), _place(fault["loc"]), str(fault["msg"])) for fault in faults]
    kind, (source, names), _ = found[0]
    if source == "path":
        return not_found(_THINGS.get(names[0] if names else "", "there is nothing at this address"))
    if source == "body" and not names and kind in _NO_OBJECT:
        message = "the body must be a JSON object, sent with content-type application/json"
        return Problem(400, INVALID_REQUEST, "invalid_json", message)
    if kind == "json_invalid":
        return Problem(400, INVALID_REQUEST, "invalid_json", "the body is not valid JSON")
    status, code = (400, "unknown_field") if kind == "extra_forbidden" else (422, "invalid_value")
    told = [_told(*fault) for fault in found[:_MOST_FAULTS]]
    return Problem(status, INVALID_REQUEST, code, "; ".join(told), param=".".join(names) or None)


def _told(kind: str, place: tuple[str, list[str]], detail: str) -> str:
    _, names = place
    said = _WORDS.get(kind, detail)
    return f"{'.'.join(names)}: {said}" if names else said


def _place(where: object) -> tuple[str, list[str]]:
    """Where a fault is: `body`, `query` or `path`, and the names on the way down."""
    parts = list(where) if isinstance(where, Sequence) else []
    source = str(parts[0]) if parts else ""
    return source, [_safe(part) for part in parts[1:]]


def _safe(part: object) -> str:
    if isinstance(part, int):
        return str(part)
    text = str(part)
    return text if _NAME.fullmatch(text) else _UNTOLD
