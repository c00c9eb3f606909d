"""Validation errors as HTTP problems that repeat nothing of the request: any part of it may be a provider key. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from typing import Any, get_origin, get_type_hints
from urllib.parse import unquote_to_bytes

from pydantic.fields import FieldInfo

from keyferry.contracts.invalid_values import InvalidValue, format_path, invalid_values
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.console.bodies import Body, QueryParameters
from services.console.problem import not_found

_NAME = re.compile(r"[a-z][a-z_]{0,39}", re.ASCII)
"""The form of our own field names. Anything else in the place of a name may be a misplaced key, and is not repeated."""
_WITHHELD = "…"
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MAX_FAULTS = 5
_NOT_AN_OBJECT = frozenset({"missing", "model_attributes_type", "model_type", "dict_type"})
NOT_FOUND = {
    "tenant": "there is no tenant of that name",
    "key_id": "the tenant has no such provider key",
    "token_id": "the tenant has no such client token: the list shows every token's id",
    "session_id": "there is no such session, or it has ended: list the sessions to see their ids",
    "name": "the tenant has no endpoint of that name: a name has 1 to 63 of a-z, 0-9 and hyphens",
    "request_id": "the ledger has no record of this request",
    "subject": "there is no such command: docs/architecture/subjects.md lists the management requests",
}
"""What is said of an impossible value in the path, by the parameter's name."""


def problem_from_faults(faults: Iterable[Mapping[str, Any]]) -> HttpProblem:
    """Return the problem for pydantic's `faults`; only their type, location, context and message are read.

    The status is 400 if the request cannot be read or has an unknown field, 404 for an impossible path, else 422.
    """
    found = [_redact(value) for value in invalid_values(faults)]
    first = found[0]
    source, names = first.path[0] if first.path else "", first.path[1:]
    if source == "path":
        return not_found(NOT_FOUND.get(str(names[0]) if names else "", "there is nothing at this address"))
    if source == "body" and not names and first.kind in _NOT_AN_OBJECT:
        message = "the body must be a JSON object, sent with content-type application/json"
        return HttpProblem(400, INVALID_REQUEST, "invalid_json", message)
    if first.kind == "json_invalid":
        return HttpProblem(400, INVALID_REQUEST, "invalid_json", "the body is not valid JSON")
    status, code = (400, "unknown_field") if first.kind == "extra_forbidden" else (422, "invalid_value")
    message = "; ".join(map(_describe, found[:_MAX_FAULTS]))
    return HttpProblem(status, INVALID_REQUEST, code, message, param=format_path(names) or None)


def query_parameters(handler: Callable[..., object]) -> tuple[str, ...]:
    """Return the names of the query parameters of a route's handler: the fields of its `QueryParameters`, if it has any."""
    return tuple(name for name, _ in _query_fields(handler))


def repeatable_parameters(handler: Callable[..., object]) -> frozenset[str]:
    """Return the names of the query parameters that may be given several times: those that are lists."""
    return frozenset(name for name, field in _query_fields(handler) if _is_list(field.annotation))


def takes_body(handler: Callable[..., object]) -> bool:
    """Return whether a route's handler reads a body."""
    return any(isinstance(hint, type) and issubclass(hint, Body) for hint in get_type_hints(handler).values())


def check_no_body(body: bytes) -> None:
    """Check the body of a request to a route that reads none. Raises HttpProblem 400; `{}`, which some clients send, is none."""
    if body.strip() not in (b"", b"{}"):
        raise HttpProblem(400, INVALID_REQUEST, "unknown_field", "this address takes no body")


def check_query(query: bytes, known: tuple[str, ...], repeatable: Set[str] = frozenset()) -> None:
    """Check the query of a URL. Raises HttpProblem 400 for what is no parameter of the route, is repeated or cannot be read."""
    seen: set[str] = set()
    for pair in query.split(b"&") if query else ():
        name = _decode(pair.partition(b"=")[0])
        _decode(pair.partition(b"=")[2])
        if name not in known:
            takes = f"the parameters here are {', '.join(known)}" if known else "this address takes no parameters"
            param = name if _NAME.fullmatch(name) else _WITHHELD
            raise HttpProblem(400, INVALID_REQUEST, "unknown_field", f"{param}: unknown; {takes}", param=param)
        if name in seen - repeatable:
            raise HttpProblem(400, INVALID_REQUEST, "invalid_value", f"{name}: give it only once", param=name)
        seen.add(name)


def _query_fields(handler: Callable[..., object]) -> list[tuple[str, FieldInfo]]:
    hints = get_type_hints(handler).values()
    models = [hint for hint in hints if isinstance(hint, type) and issubclass(hint, QueryParameters)]
    return [(field.alias or name, field) for model in models for name, field in model.model_fields.items()]


def _is_list(annotation: object) -> bool:
    return get_origin(annotation) is list


def _decode(quoted: bytes) -> str:
    try:
        if _BROKEN_ESCAPE.search(quoted):
            raise ValueError
        return unquote_to_bytes(quoted.replace(b"+", b" ")).decode()
    except ValueError:
        message = "the query of the URL cannot be read: it must be UTF-8 with percent-encoding (RFC 3986, section 2.1)"
        raise HttpProblem(400, INVALID_REQUEST, "invalid_value", message) from None


def _describe(value: InvalidValue) -> str:
    where = format_path(value.path[1:])
    return f"{where}: {value.reason}" if where else value.reason


def _redact(value: InvalidValue) -> InvalidValue:
    """Withhold what may repeat the request: misused names, and the texts of validators that may contain the value."""
    path = tuple(part if isinstance(part, int) or _NAME.fullmatch(part) else _WITHHELD for part in value.path)
    reason = "this is not a valid value" if value.kind in ("value_error", "assertion_error") else value.reason
    return replace(value, path=path, reason=reason)
