"""What a change has changed, for the details of its audit event: the former and the new value of each field. Pure."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

from keyferry.contracts.money import plain

ARROW = " → "
NOT_SET = "not set"
MAX_FIELDS = 60
"""Fields of one event; `more` says how many others changed."""
MAX_VALUE = 200
"""Characters of one value."""
_MAX_NAME = 100
_SECRET = re.compile(
    r"secret|password|digest|fingerprint|sealed|pepper|credential|(^|[._])token\Z|api_key", re.IGNORECASE
)
"""Fields whose values are not shown: that they changed is."""
_UNNAMEABLE = re.compile(r"[^\x21-\x7e]")


def describe_changes(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, str]:
    """Return `former → new` for each field that differs, in the order of their names; nested fields are named with dots.

    Both are what a model's `model_dump` returns; a field that one of them lacks is not set there. Values of secret fields are not
    shown, long ones are cut, and after MAX_FIELDS the rest is counted.
    """
    old, new = dict(_flatten(before)), dict(_flatten(after))
    changed = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    found: dict[str, str] = {}
    for name in changed[:MAX_FIELDS]:
        found[_free(_name(name), found)] = _change(name, old.get(name), new.get(name))
    if len(changed) > MAX_FIELDS:
        found["more"] = f"{len(changed) - MAX_FIELDS} other fields"
    return found


def shown(value: object) -> str:
    """Return a value as people read it."""
    if value is None:
        return NOT_SET
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Mapping):
        value = [f"{name} {shown(item)}" for name, item in value.items() if item is not None]
    text = ", ".join(map(shown, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _change(name: str, old: object, new: object) -> str:
    if _SECRET.search(name):
        return "changed"
    return f"{shown(old)}{ARROW}{shown(new)}"


def _name(name: str) -> str:
    return _UNNAMEABLE.sub("?", name)[:_MAX_NAME]


def _free(name: str, taken: Mapping[str, str]) -> str:
    """Return the name, numbered where two look the same: rules may be named in any script, and no change must hide another."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name[: _MAX_NAME - 3]}~{number}", number + 1
    return free


def _flatten(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten({str(key): item for key, item in value.items()}, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value
