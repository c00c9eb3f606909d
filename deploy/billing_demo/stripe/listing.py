"""Pages of lists, simple searches, and fields expanded to whole objects."""

import copy
import re
from collections.abc import Callable, Iterable
from typing import Any

from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError, invalid_parameter
from deploy.billing_demo.stripe.state import StripeState

MAX_PAGE = 100
_DEFAULT_PAGE = 10
_MAX_EXPANSIONS = 4
_CLAUSE = re.compile(
    r"""(-?)([a-z_]+)(?:\[["']([^"']+)["']\])?\s*(:|~|>=|<=|>|<)\s*(?:["']([^"']*)["']|([0-9]+|null))"""
)
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
}
_SIGNS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}

Includable = Callable[[StripeState, JsonObject], Any]


def list_page(found: Iterable[JsonObject], params: JsonObject, url: str) -> JsonObject:
    """Return a page of objects, the newest first, by `limit`, `starting_after`, `ending_before` and `created`."""
    limit = params.get("limit", _DEFAULT_PAGE)
    if not 1 <= limit <= MAX_PAGE:
        raise invalid_parameter(
            "limit", f"Invalid limit: must be between 1 and {MAX_PAGE}", "parameter_invalid_integer"
        )
    rows = [row for row in reversed(list(found)) if _is_within(row.get("created", 0), params.get("created"))]
    ids = [row["id"] for row in rows]
    if (after := params.get("starting_after")) is not None:
        rows = rows[_position(ids, after, "starting_after") + 1 :]
    elif (before := params.get("ending_before")) is not None:
        rows = rows[: _position(ids, before, "ending_before")]
        return _list(rows[-limit:], len(rows) > limit, url)
    return _list(rows[:limit], len(rows) > limit, url)


def whole_list(rows: list[JsonObject], url: str) -> JsonObject:
    """Return a list object with all of its rows."""
    return _list(rows, False, url)


def _list(rows: list[JsonObject], has_more: bool, url: str) -> JsonObject:
    return {"object": "list", "data": rows, "has_more": has_more, "url": url}


def _position(ids: list[str], object_id: str, param: str) -> int:
    if object_id not in ids:
        raise invalid_parameter(param, f"No such object: '{object_id}'", "resource_missing")
    return ids.index(object_id)


def _is_within(created: int, bounds: Any) -> bool:
    if bounds is None or bounds == "":
        return True
    if isinstance(bounds, int):
        return created == bounds
    return all(_COMPARE[name](created, bound) for name, bound in bounds.items())


def search_page(found: Iterable[JsonObject], params: JsonObject, url: str) -> JsonObject:
    """Return what a query in Stripe's search language finds; its clauses are joined by AND."""
    query = params["query"]
    clauses = list(_CLAUSE.finditer(query))
    if not clauses or re.sub(r"(?i)\band\b|\s", "", _CLAUSE.sub("", query)):
        raise invalid_parameter("query", f"We were unable to parse your search query: {query[:100]}")
    rows = [row for row in reversed(list(found)) if all(_matches(row, clause) for clause in clauses)]
    limit, offset = params.get("limit", _DEFAULT_PAGE), int(params.get("page") or 0)
    more = len(rows) > offset + limit
    return {
        "object": "search_result",
        "data": rows[offset : offset + limit],
        "has_more": more,
        "next_page": str(offset + limit) if more else None,
        "url": url,
    }


def _matches(row: JsonObject, clause: re.Match[str]) -> bool:
    negated, name, key, sign, text, number = clause.groups()
    value = row.get(name)
    if key is not None:
        value = (value or {}).get(key)
    if sign in _SIGNS:
        return _COMPARE[_SIGNS[sign]](int(value or 0), int(number or text))
    if sign == "~":
        return (text in str(value or "")) != bool(negated)
    wanted = number if text is None else text
    return (value is None if wanted == "null" else str(value).lower() == wanted.lower()) != bool(negated)


def expand(
    state: StripeState, answer: JsonObject, paths: list[str], includable: dict[tuple[str, str], Includable]
) -> Any:
    """Return a copy of an answer with these fields as whole objects. Raises StripeApiError for a field that is none."""
    whole = copy.deepcopy(answer)
    for path in paths:
        parts = path.split(".")
        if len(parts) - (parts[0] == "data") > _MAX_EXPANSIONS:
            raise invalid_parameter(
                "expand", f"You cannot expand more than {_MAX_EXPANSIONS} levels of a property: {path}"
            )
        _expand_path(state, whole, parts, path, includable)
    return whole


def _expand_path(
    state: StripeState, node: Any, parts: list[str], path: str, includable: dict[tuple[str, str], Includable]
) -> None:
    if not parts or node is None:
        return
    if isinstance(node, list):
        for entry in node:
            _expand_path(state, entry, parts, path, includable)
        return
    name = parts[0]
    if isinstance(node, dict) and (node.get("object", ""), name) in includable and name not in node:
        node[name] = copy.deepcopy(includable[node["object"], name](state, node))
    if not isinstance(node, dict) or name not in node:
        raise StripeApiError(
            f"This property cannot be expanded ({path}). You may want to try expanding 'data.{path}' instead.",
            param="expand",
        )
    node[name] = _expanded(state, node[name])
    _expand_path(state, node[name], parts[1:], path, includable)


def _expanded(state: StripeState, value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(state, entry) for entry in value]
    if isinstance(value, str):
        found = state.find(value)
        return copy.deepcopy(found) if found is not None else value
    return value
