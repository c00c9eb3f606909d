"""What the double of Lago knows, in memory, and pages of it."""

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from deploy.billing_demo.lago.problem import JsonObject, invalid, not_found

_PER_PAGE = 20
_MAX_PER_PAGE = 1000
MAX_BATCH = 100


@dataclass
class LagoAccount:
    """The objects of one organisation: tables of objects by what a path names them by."""

    now_seconds: Callable[[], float] = time.time
    tables: dict[str, dict[str, JsonObject]] = field(default_factory=dict)
    event_keys: set[tuple[str, str]] = field(default_factory=set)
    """Subscription and transaction of each event: both together are unique."""
    numbers: int = 0

    def table(self, name: str) -> dict[str, JsonObject]:
        """Return the objects of a kind."""
        return self.tables.setdefault(name, {})

    def get(self, name: str, key: str) -> JsonObject:
        """Return an object of a kind, such as `customer`. Raises LagoApiProblem if there is none."""
        found = self.table(name).get(key)
        if found is None:
            raise not_found(name)
        return found

    def now(self) -> str:
        """Return the time as Lago writes it."""
        return format_time(self.now_seconds())


def format_time(unix_seconds: float) -> str:
    """Return a time in whole seconds, in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_id() -> str:
    """Return an id as Lago gives its objects."""
    return str(uuid.uuid4())


def require(given: JsonObject, *names: str) -> None:
    """Raise LagoApiProblem unless all of these fields have a value."""
    missing = {name: ["value_is_mandatory"] for name in names if given.get(name) in (None, "")}
    if missing:
        raise invalid(missing)


def decimal_of(given: JsonObject, name: str) -> Decimal:
    """Return an amount of credits, 0 if it is not given. Raises LagoApiProblem if it is no number or below 0."""
    value = given.get(name)
    if value in (None, ""):
        return Decimal(0)
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise invalid({name: [f"invalid_{name}"]})
    return amount


def page_of(rows: Iterable[JsonObject], query: dict[str, str], root: str) -> JsonObject:
    """Return a page of objects, the newest first, and where it is in all of them."""
    found = list(rows)[::-1]
    page, per_page = _number(query, "page", 1), min(_number(query, "per_page", _PER_PAGE), _MAX_PER_PAGE)
    pages = max(1, -(-len(found) // per_page))
    meta = {
        "current_page": page,
        "next_page": page + 1 if page < pages else None,
        "prev_page": page - 1 if page > 1 else None,
        "total_pages": pages,
        "total_count": len(found),
    }
    return {root: found[(page - 1) * per_page : page * per_page], "meta": meta}


def _number(query: dict[str, str], name: str, default: int) -> int:
    try:
        return max(1, int(query.get(name, default)))
    except ValueError:
        return default


def given_object(body: Any, root: str) -> JsonObject:
    """Return the object of a request's body. Raises LagoApiProblem if there is none."""
    found = body.get(root) if isinstance(body, dict) else None
    if not isinstance(found, dict):
        raise invalid({root: ["value_is_mandatory"]})
    return found
