"""Finds a name that one object of a JSON body has several times: parsers take the first value or the last. Pure."""

import json
from typing import Any


def find_repeated_name(body: bytes) -> list[str | int]:
    """Return the path of the first name that its object has several times; an empty one if there is none.

    Raises ValueError for a body that is not JSON, and RecursionError for one with many hundreds of levels.
    """
    return _find(json.loads(body, object_pairs_hook=_read_object))


class _RepeatingObject(dict[str, Any]):
    """An object of a body that has one name several times."""

    repeated: str


def _read_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(members)
    if len(document) == len(members):
        return document
    seen: set[str] = set()
    marked = _RepeatingObject(document)
    marked.repeated = next(name for name, _ in members if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return marked


def _find(value: object) -> list[str | int]:
    if isinstance(value, _RepeatingObject):
        return [value.repeated]
    members: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        if isinstance(member, dict | list) and (path := _find(member)):
            return [name, *path]
    return []
