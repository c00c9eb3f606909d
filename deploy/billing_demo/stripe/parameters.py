"""Check a request's parameters against the types of the installed `stripe` package, which Stripe generates from its OpenAPI.

An unknown parameter, a missing one and a value of another type get the errors that Stripe gives.
"""

import functools
import importlib
import sys
import types
import typing
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Union

import typing_extensions

from deploy.billing_demo.stripe.problem import (
    JsonObject,
    StripeApiError,
    invalid_parameter,
    missing_parameter,
)

_WRAPPERS = (typing.NotRequired, typing.Required, typing_extensions.NotRequired, typing_extensions.Required)
_MAX_TEXT = 5000


@dataclass(frozen=True, slots=True)
class ParameterTable:
    """The parameters of one object of a request: their types by name, and which it must have."""

    types: dict[str, Any]
    required: frozenset[str]


def check_parameters(class_path: str, given: JsonObject) -> JsonObject:
    """Return the parameters with their types, for `checkout.SessionCreateParams` or the like. Raises StripeApiError."""
    return _check_object(_find_class(class_path), given, "")


@functools.cache
def _find_class(class_path: str) -> Any:
    *modules, name = class_path.split(".")
    return getattr(importlib.import_module(".".join(["stripe.params", *modules])), name)


@functools.cache
def parameter_table(cls: Any) -> ParameterTable:
    """Return the parameters that a TypedDict of the package describes, without the package's own request options."""
    from stripe._request_options import RequestOptions

    own = cls.__annotations__.keys() - RequestOptions.__annotations__.keys()
    names = {**vars(sys.modules[cls.__module__]), "StripeContext": object}
    evaluated = {name: _evaluate(cls.__annotations__[name], names) for name in own}
    needed = {name for name in own if typing.get_origin(evaluated[name]) not in _WRAPPERS and cls.__total__}
    return ParameterTable({name: _strip(value) for name, value in evaluated.items()}, frozenset(needed))


def _evaluate(annotation: Any, names: dict[str, Any]) -> Any:
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        return _evaluate(_evaluate_text(annotation, names), names)
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if not arguments or origin in (typing.Literal, typing_extensions.Literal):
        return annotation
    inner = tuple(_evaluate(argument, names) for argument in arguments)
    if origin in (types.UnionType, Union):
        return Union[inner]  # noqa: UP007 - built from a tuple
    return annotation.copy_with(inner) if hasattr(annotation, "copy_with") else origin[inner]


def _evaluate_text(text: str, names: dict[str, Any]) -> Any:
    """Evaluate `'A|B'`: a union of names that are not defined yet is no operation of Python's."""
    return Union[tuple(eval(part, names) for part in _split_union(text))]  # noqa: S307, UP007 - the package's own text


def _split_union(text: str) -> list[str]:
    parts, depth, quoted = [""], 0, ""
    for character in text:
        if quoted or character in "'\"":
            quoted = "" if character == quoted else (quoted or character)
        else:
            depth += (character == "[") - (character == "]")
        if character == "|" and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _strip(annotation: Any) -> Any:
    while typing.get_origin(annotation) in _WRAPPERS:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _check_object(cls: Any, given: Any, path: str) -> JsonObject:
    if not isinstance(given, dict):
        raise invalid_parameter(path, f"Invalid object: {path} must be an object")
    table = parameter_table(cls)
    for name in given:
        if name not in table.types:
            where = _join(path, name)
            raise StripeApiError(f"Received unknown parameter: {where}", code="parameter_unknown", param=where)
    for name in sorted(table.required - given.keys()):
        raise missing_parameter(_join(path, name))
    return {name: _check(table.types[name], value, _join(path, name)) for name, value in given.items()}


def _join(path: str, name: str) -> str:
    return f"{path}[{name}]" if path else name


def _check(annotation: Any, value: Any, path: str) -> Any:
    annotation = _strip(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return _check_union(arguments, value, path)
    if origin in (typing.Literal, typing_extensions.Literal):
        return _check_choice(arguments, value, path)
    if origin is list:
        if not isinstance(value, list):
            raise invalid_parameter(path, "Invalid array")
        return [_check(arguments[0], entry, f"{path}[{index}]") for index, entry in enumerate(value)]
    if origin is dict or _is_untyped(origin or annotation):
        return _check_dictionary(arguments, value, path)
    if typing_extensions.is_typeddict(annotation):
        return _check_object(annotation, value, path)
    return _check_scalar(annotation, value, path)


def _is_untyped(annotation: Any) -> bool:
    return getattr(annotation, "__name__", "") == "UntypedStripeObject"


def _check_dictionary(arguments: tuple[Any, ...], value: Any, path: str) -> JsonObject:
    if not isinstance(value, dict):
        raise invalid_parameter(path, f"Invalid object: {path} must be an object")
    return {
        name: _check(arguments[-1] if arguments else str, entry, _join(path, name)) for name, entry in value.items()
    }


def _check_choice(choices: tuple[Any, ...], value: Any, path: str) -> Any:
    if value in choices:
        return value
    listed = ", ".join(str(choice) for choice in choices if choice != "")
    raise invalid_parameter(path, f"Invalid {path}: must be one of {listed}")


def _check_union(options: tuple[Any, ...], value: Any, path: str) -> Any:
    """Return the value as the first of the types that it has; an open list of choices is closed here, as at Stripe."""
    choices = [choice for option in options for choice in _choices(option)]
    if value == "" and "" in choices:
        return ""
    closed = [choice for choice in choices if choice != ""]
    rest = [option for option in options if not _choices(option) and option is not type(None)]
    if closed:
        rest = [typing.Literal[tuple(closed)], *(option for option in rest if option is not str)]
    failure: StripeApiError | None = None
    for option in sorted(rest, key=lambda option: option is str):
        try:
            return _check(option, value, path)
        except StripeApiError as problem:
            deeper = problem.to_json()["error"].get("code") == "parameter_unknown"
            failure = problem if failure is None or deeper else failure
    assert failure is not None, "a union has types"
    raise failure


def _choices(option: Any) -> tuple[Any, ...]:
    option = _strip(option)
    if typing.get_origin(option) in (typing.Literal, typing_extensions.Literal):
        return typing.get_args(option)
    return ()


def _check_scalar(annotation: Any, value: Any, path: str) -> Any:
    if not isinstance(value, str):
        raise invalid_parameter(path, f"Invalid string: {path} is an object or an array")
    if annotation is bool:
        if value not in ("true", "false"):
            raise invalid_parameter(path, f"Invalid boolean: {value[:50]}", "parameter_invalid_boolean")
        return value == "true"
    if annotation is int:
        try:
            return int(value)
        except ValueError:
            raise invalid_parameter(path, f"Invalid integer: {value[:50]}", "parameter_invalid_integer") from None
    if annotation in (float, Decimal):
        try:
            return Decimal(value)
        except InvalidOperation:
            raise invalid_parameter(path, f"Invalid decimal: {value[:50]}") from None
    if len(value) > _MAX_TEXT:
        message = f"Invalid string: {value[:10]}...; must be at most {_MAX_TEXT} characters"
        raise invalid_parameter(path, message, "parameter_invalid_string_length")
    return value
