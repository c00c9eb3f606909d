"""Compatibility of a message with builds of an earlier version, by comparison of its two JSON Schemas.

During an upgrade two versions share one bus, and each reads what the other writes. So a message changes only by optional
additions: a property may be added if it is not required; everything else stays as it is. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_REMARKS = frozenset({"title", "description", "examples", "$defs"})
"""Keywords that add no constraint."""
_LISTS_WITHOUT_ORDER = frozenset({"required", "enum"})


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """Return the changes in `new` beyond optional additions to `old`, as sentences; none if both can share a bus."""
    return list(dict.fromkeys(_Comparison(old, new).differences()))


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str, str]] = set()

    def differences(self) -> Iterator[str]:
        return self._schemas(self._old, self._new, "the message")

    def _schemas(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        references = (old.get("$ref", ""), new.get("$ref", ""))
        if any(references):
            if references in self._seen:
                return
            self._seen.add(references)
            old, new = _resolve(old, self._old), _resolve(new, self._new)
        for keyword in sorted((old.keys() | new.keys()) - _REMARKS):
            yield from self._keyword(keyword, old.get(keyword), new.get(keyword), where)

    def _keyword(self, keyword: str, old: Any, new: Any, where: str) -> Iterator[str]:
        if keyword == "properties":
            yield from self._properties(old or {}, new or {}, where)
        elif keyword in _LISTS_WITHOUT_ORDER:
            yield from _compare_members(keyword, set(old or ()), set(new or ()), where)
        elif isinstance(old, Mapping) and isinstance(new, Mapping) and keyword != "default":
            yield from self._schemas(old, new, f"{where}, {keyword}")
        elif _schema_lists(old, new):
            for index, (left, right) in enumerate(zip(old, new, strict=True)):
                yield from self._schemas(left, right, f"{where}, {keyword}[{index}]")
        elif old != new:
            yield f"{where}: {keyword} was {old!r} and is {new!r}"

    def _properties(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        for name in sorted(old):
            if name not in new:
                yield f"{where}: the property {name} is gone"
            else:
                yield from self._schemas(old[name], new[name], f"{where}.{name}")


def _compare_members(keyword: str, old: set[object], new: set[object], where: str) -> Iterator[str]:
    added, gone = sorted(map(str, new - old)), sorted(map(str, old - new))
    if keyword == "required":
        if added:
            yield f"{where}: {', '.join(added)} became required; a message of the older build lacks it"
        if gone:
            yield f"{where}: {', '.join(gone)} became optional; the older build refuses a message without it"
        return
    if added:
        yield f"{where}: the values {', '.join(added)} are new; the older build refuses them"
    if gone:
        yield f"{where}: the values {', '.join(gone)} are gone; the older build still sends them"


def _schema_lists(old: Any, new: Any) -> bool:
    both = isinstance(old, list) and isinstance(new, list) and len(old) == len(new)
    return both and all(isinstance(item, Mapping) for item in [*old, *new])


def _resolve(schema: Schema, root: Schema) -> Schema:
    """Return `schema` with its reference, if any, replaced by the definition in `root`."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    target: Schema = root["$defs"][reference.rpartition("/")[2]]
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
