"""Validation errors as HTTP problems that repeat nothing of the request: any part of it may be a provider key. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from keyferry.contracts.invalid_values import InvalidValue, format_path, invalid_values
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.console.problem import not_found

_NAME = re.compile(r"[a-z][a-z_]{0,39}", re.ASCII)
"""The form of our own field names. Anything else in the place of a name may be a misplaced key, and is not repeated."""
_WITHHELD = "…"
_MAX_FAULTS = 5
_NOT_AN_OBJECT = frozenset({"missing", "model_attributes_type", "model_type", "dict_type"})
_NOT_FOUND = {
    "tenant": "there is no tenant of that name",
    "key_id": "the tenant has no such provider key",
    "token_id": "the tenant has no such client token: the list shows every token's id",
    "name": "the tenant has no endpoint of that name: a name has 1 to 63 of a-z, 0-9 and hyphens",
    "request_id": "the ledger has no record of this request",
}


def problem_from_faults(faults: Iterable[Mapping[str, Any]]) -> HttpProblem:
    """Return the problem for pydantic's `faults`; only their type, location, context and message are read.

    The status is 400 if the request cannot be read or has an unknown field, 404 for an impossible path, else 422.
    """
    found = [_redact(value) for value in invalid_values(faults)]
    first = found[0]
    source, names = first.path[0] if first.path else "", first.path[1:]
    if source == "path":
        return not_found(_NOT_FOUND.get(str(names[0]) if names else "", "there is nothing at this address"))
    if source == "body" and not names and first.kind in _NOT_AN_OBJECT:
        message = "the body must be a JSON object, sent with content-type application/json"
        return HttpProblem(400, INVALID_REQUEST, "invalid_json", message)
    if first.kind == "json_invalid":
        return HttpProblem(400, INVALID_REQUEST, "invalid_json", "the body is not valid JSON")
    status, code = (400, "unknown_field") if first.kind == "extra_forbidden" else (422, "invalid_value")
    message = "; ".join(map(_describe, found[:_MAX_FAULTS]))
    return HttpProblem(status, INVALID_REQUEST, code, message, param=format_path(names) or None)


def _describe(value: InvalidValue) -> str:
    where = format_path(value.path[1:])
    return f"{where}: {value.reason}" if where else value.reason


def _redact(value: InvalidValue) -> InvalidValue:
    """Withhold what may repeat the request: misused names, and the texts of validators that may contain the value."""
    path = tuple(part if isinstance(part, int) or _NAME.fullmatch(part) else _WITHHELD for part in value.path)
    reason = "this is not a valid value" if value.kind in ("value_error", "assertion_error") else value.reason
    return replace(value, path=path, reason=reason)
