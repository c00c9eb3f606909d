"""Read the form encoding of Stripe's API: `a[b][0][c]=x` is nested, `a[]=x` appends. Pure."""

import re
from typing import Any
from urllib.parse import parse_qsl

from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError
from keyferry.contracts.text import parse_digits

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")


def parse_form(text: str) -> JsonObject:
    """Return the nested values of a query or of a form: objects, lists and strings. Raises StripeApiError."""
    root: JsonObject = {}
    for name, value in parse_qsl(text, keep_blank_values=True, strict_parsing=False):
        found = _NAME.fullmatch(name)
        if found is None:
            raise StripeApiError(f"Invalid request (check that the parameter name {name[:100]!r} is well-formed)")
        _set(root, [found[1], *_PART.findall(found[2])], value, name)
    settled = _lists(root)
    assert isinstance(settled, dict), "the outermost value has names"
    return settled


def _set(target: JsonObject, path: list[str], value: str, name: str) -> None:
    for part in path[:-1]:
        key = part or str(len(target))
        found = target.setdefault(key, {})
        if not isinstance(found, dict):
            raise StripeApiError(f"Invalid request: {name[:100]!r} is both a value and an object", param=path[0])
        target = found
    target[path[-1] or str(len(target))] = value


def _lists(value: JsonObject | str) -> JsonObject | list[Any] | str:
    """Turn objects whose names are 0, 1, 2… into lists."""
    if isinstance(value, str):
        return value
    entries = {key: _lists(inner) for key, inner in value.items()}
    numbers = [parse_digits(key) for key in entries]
    if entries and all(number is not None for number in numbers):
        return [entries[key] for key in sorted(entries, key=int)]
    return entries
