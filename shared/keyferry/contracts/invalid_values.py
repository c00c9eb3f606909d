"""pydantic's validation errors in plain English, one for each wrong field, and without the values. Pure.

pydantic reports a value that fits no branch of a union once for each branch. Here the branch that accepts most of the value
decides; if none accepts any of it, all are named.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, get_args

from pydantic_core.core_schema import ErrorType

Path = tuple[int | str, ...]

_BRANCH = re.compile(
    r"str|int|float|bool|none|(constrained|nullable|strict|lax|json|is-instance|function|chain|model|tagged)[-\[(].*"
    r"|(list|dict|tuple|set|frozenset|literal|enum)\[.*"
)
"""How pydantic names a branch of a union in the location of an error."""
_NAME_OF_ENTRY = "[key]"
"""The last step of the location of an error in the name of an object's entry."""
_MOMENT = "a date and time with its time zone, such as 2027-01-31T00:00:00Z"
_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("string_type", "string_sub_type"), "a string"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "an integer"),
    **dict.fromkeys(("float_type", "float_parsing", "decimal_type", "decimal_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"), "an array"),
    **dict.fromkeys(
        ("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"), "an object"
    ),
    **dict.fromkeys(
        ("datetime_type", "datetime_parsing", "datetime_from_date_parsing", "datetime_object_invalid"), _MOMENT
    ),
    "timezone_aware": _MOMENT,
    "none_required": "null",
}
"""What a value of the wrong type should be."""
_BOUNDS: Mapping[str, str] = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "string_pattern_mismatch": "a string that matches {pattern}",
    "finite_number": "a finite number",
}
_FIXED: Mapping[str, str] = {
    "missing": "this is required",
    "extra_forbidden": "there is no such field",
}
_MOST = 100
"""Errors that are looked at: more would be work without use."""
_LENGTHS = {"too_short": ("at least", "min_length"), "too_long": ("at most", "max_length")}
_PYDANTICS = frozenset[str](get_args(ErrorType))


@dataclass(frozen=True, slots=True)
class InvalidValue:
    """What is wrong at one place: `kind` is pydantic's type of the error, `reason` a clause without a full stop."""

    path: Path
    kind: str
    reason: str
    is_custom: bool = False
    """Whether the text is a validator's, which may repeat the value."""
    given: object = field(default=None, repr=False)
    """The value, if the errors included it."""


def invalid_values(faults: Iterable[Mapping[str, Any]]) -> list[InvalidValue]:
    """Return what is wrong, from `ValidationError.errors()`, in the same order; of very many errors the first."""
    groups: dict[Path, list[Mapping[str, Any]]] = {}
    for fault in islice(faults, _MOST):
        groups.setdefault(_union_of(fault["loc"]), []).append(fault)
    return [value for place, group in groups.items() for value in _merge(place, group)]


def format_path(path: Sequence[int | str]) -> str:
    """Return a path in OpenAI's notation: `messages[0].content`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def is_branch(part: int | str) -> bool:
    """Return whether a step of an error's location names a branch of a union, not a field."""
    return isinstance(part, str) and _BRANCH.fullmatch(part) is not None


def _without_branches(location: Sequence[int | str]) -> Path:
    return tuple(part for part in location if part != _NAME_OF_ENTRY and not is_branch(part))


def _union_of(location: Sequence[int | str]) -> Path:
    """Return what the errors of one union have in common: the location up to its first branch."""
    for index, part in enumerate(location):
        if is_branch(part):
            return tuple(location[:index])
    return tuple(location)


def _merge(place: Path, faults: Sequence[Mapping[str, Any]]) -> list[InvalidValue]:
    """Return the errors of one place; of a union, those of the branch that accepts most."""
    if not any(map(is_branch, (part for fault in faults for part in fault["loc"]))):
        return [_explain(fault) for fault in faults]
    reached = max(faults, key=_acceptance)
    kinds = [fault for fault in faults if _acceptance(fault) == _acceptance(reached)]
    path = _without_branches(reached["loc"])
    if reached["type"] not in _TYPES or len(kinds) == 1:
        return [_explain(reached)]
    return [InvalidValue(path, str(reached["type"]), f"it should be {_any_of(_TYPES[str(f['type'])] for f in kinds)}")]


def _acceptance(fault: Mapping[str, Any]) -> tuple[int, tuple[int, ...], bool]:
    """Return how much of the value a branch accepts: its depth, the items before the error, and whether the type fits."""
    path = _without_branches(fault["loc"])
    if fault["type"] == "too_long":
        path = (*path, int(fault["ctx"]["max_length"]))
    return len(path), tuple(part for part in path if isinstance(part, int)), fault["type"] not in _TYPES


def _any_of(forms: Iterable[str]) -> str:
    found = list(dict.fromkeys(forms))
    if "a number" in found and "an integer" in found:
        found.remove("an integer")
    return " or ".join(filter(None, (", ".join(found[:-1]), found[-1])))


def _explain(fault: Mapping[str, Any]) -> InvalidValue:
    found = _explain_value(fault)
    if _NAME_OF_ENTRY in fault["loc"]:
        return replace(found, reason=found.reason.replace("it should", "its name should", 1))
    return found


def _explain_value(fault: Mapping[str, Any]) -> InvalidValue:
    kind, context = str(fault["type"]), fault.get("ctx") or {}
    path = _without_branches(fault["loc"])
    if kind in _FIXED:
        return InvalidValue(path, kind, _FIXED[kind])
    if kind in _TYPES:
        return InvalidValue(path, kind, f"it should be {_TYPES[kind]}")
    form = _BOUNDS.get(kind)
    if form is not None and context:
        return InvalidValue(
            path, kind, f"it should be {form.format_map({name: _plain(value) for name, value in context.items()})}"
        )
    if kind in _LENGTHS and context:
        return InvalidValue(path, kind, f"it should be {_length(kind, context)}")
    if kind.startswith("string_too_") and context:
        return InvalidValue(path, kind, f"it should be {_string_length(kind, context)}")
    text = str(fault["msg"])
    if kind in ("value_error", "assertion_error") or kind not in _PYDANTICS:
        return InvalidValue(path, kind, _in_our_style(text.removeprefix("Value error, ")), True, fault.get("input"))
    return InvalidValue(path, kind, _in_our_style(text))


def _plain(value: object) -> object:
    """Return a whole number without a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _length(kind: str, context: Mapping[str, Any]) -> str:
    words, name = _LENGTHS[kind]
    number = int(context[name])
    container = "an object" if context.get("field_type") == "Dictionary" else "an array"
    return f"{container} with {words} {number} {'item' if number == 1 else 'items'}"


def _string_length(kind: str, context: Mapping[str, Any]) -> str:
    if kind == "string_too_long":
        return f"a string of at most {context['max_length']} characters"
    least = int(context["min_length"])
    return "a string that is not empty" if least == 1 else f"a string of at least {least} characters"


def _in_our_style(text: str) -> str:
    """Return pydantic's own text as a clause: `Input should be …` becomes `it should be …`."""
    if text.startswith("Input should "):
        return f"it should {text.removeprefix('Input should ')}"
    return text
