"""Validation errors as HTTP problems that repeat nothing of the request: any part of it may be a provider key. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence

from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.console.problem import not_found

_NAME = re.compile(r"[a-z][a-z_]{0,39}", re.ASCII)
"""The form of our own field names. Anything else in the place of a name may be a misplaced key, and is not repeated."""
_WITHHELD = "…"
_MAX_FAULTS = 5
_NOT_AN_OBJECT = frozenset({"missing", "model_attributes_type", "model_type", "dict_type"})
_MESSAGES = {
    "extra_forbidden": "there is no such field",
    "missing": "this is required",
    "value_error": "this is not a valid value",
    "assertion_error": "this is not a valid value",
}
"""Replaces pydantic's texts: the last two contain whatever a validator raised, including the value."""
_NOT_FOUND = {
    "tenant": "there is no tenant of that name",
    "key_id": "the tenant has no such provider key",
    "token_id": "the tenant has no such client token: the list shows every token's id",
    "name": "the tenant has no endpoint of that name: a name has 1 to 63 of a-z, 0-9 and hyphens",
    "request_id": "the ledger has no record of this request",
}


def problem_from_faults(faults: Iterable[Mapping[str, object]]) -> HttpProblem:
    """Return the problem for pydantic's `faults`; only their type, location and message are read.

    The status is 400 if the request cannot be read or has an unknown field, 404 for an impossible path, else 422.
    """
    found = [(str(fault["type"]), _locate(fault["loc"]), str(fault["msg"])) for fault in faults]
    kind, (source, names), _ = found[0]
    if source == "path":
        return not_found(_NOT_FOUND.get(names[0] if names else "", "there is nothing at this address"))
    if source == "body" and not names and kind in _NOT_AN_OBJECT:
        message = "the body must be a JSON object, sent with content-type application/json"
        return HttpProblem(400, INVALID_REQUEST, "invalid_json", message)
    if kind == "json_invalid":
        return HttpProblem(400, INVALID_REQUEST, "invalid_json", "the body is not valid JSON")
    status, code = (400, "unknown_field") if kind == "extra_forbidden" else (422, "invalid_value")
    messages = [_describe(*fault) for fault in found[:_MAX_FAULTS]]
    return HttpProblem(status, INVALID_REQUEST, code, "; ".join(messages), param=".".join(names) or None)


def _describe(kind: str, location: tuple[str, list[str]], detail: str) -> str:
    _, names = location
    message = _MESSAGES.get(kind, detail)
    return f"{'.'.join(names)}: {message}" if names else message


def _locate(location: object) -> tuple[str, list[str]]:
    """Return where a fault is: `body`, `query` or `path`, and the names that lead to it."""
    parts = list(location) if isinstance(location, Sequence) else []
    source = str(parts[0]) if parts else ""
    return source, [_redact(part) for part in parts[1:]]


def _redact(part: object) -> str:
    if isinstance(part, int):
        return str(part)
    text = str(part)
    return text if _NAME.fullmatch(text) else _WITHHELD
