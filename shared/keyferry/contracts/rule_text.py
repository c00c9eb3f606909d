"""A rule set as the text of a YAML file, always written alike, so that differences are those of the rules. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from keyferry.contracts.rules import RuleSet

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./*-]*", re.ASCII)
"""Scalars that need no quotes: no reader takes them for anything but a text."""
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What YAML 1.1 reads as true, false or null, in lower case."""


def format_rule_set(rule_set: RuleSet) -> list[str]:
    """Return the lines of the file. What has its default value is left out."""
    document = rule_set.model_dump(mode="json", exclude_defaults=True)
    return list(_mapping(document)) if document["rules"] else ["rules: []"]


def format_rule(rule: Mapping[str, object]) -> list[str]:
    """Return the lines of one rule."""
    return list(_mapping(rule))


def _mapping(values: Mapping[str, object]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield f"{name}:"
            yield from (f"  {line}" for line in _mapping(value))
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield f"{name}:"
            for item in value:
                yield from (f"  {line}" for line in _item(item))
        else:
            yield f"{name}: {_value(value)}"


def _item(values: Mapping[str, object]) -> Iterator[str]:
    for number, line in enumerate(_mapping(values)):
        yield f"{'- ' if number == 0 else '  '}{line}"


def _value(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False)
