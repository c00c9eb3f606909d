"""What is wrong with an answer of the double of Stripe, by the types that the installed `stripe` package gives its objects.

Stripe generates them from its OpenAPI, for the very version of the API that the package and so the double speak.
"""

import ast
import functools
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Union

import stripe
import typing_extensions
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import StripeObject

_IGNORED = {"OBJECT_NAME"}
_PLAIN = (str, int, bool, float)


def mistakes(answer: Any, path: str = "") -> Iterator[str]:
    """Yield what is wrong with an object of an answer and with the objects in it."""
    kind = answer.get("object") if isinstance(answer, dict) else None
    if kind in ("list", "search_result"):
        for index, row in enumerate(answer["data"]):
            yield from mistakes(row, f"{path}data[{index}].")
    elif kind not in OBJECT_CLASSES:
        yield f"{path}object: {kind!r} is no object of Stripe's"
    elif not answer.get("deleted"):
        module, name = OBJECT_CLASSES[kind]
        yield from _of_class(getattr(importlib.import_module(module), name), answer, path)


def _of_class(cls: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    known = {name: note for name, note in annotations(cls).items() if name not in _IGNORED}
    for name in value.keys() - known.keys():
        yield f"{path}{name}: {cls.__qualname__} has no such field"
    for name, annotation in known.items():
        if name in value:
            yield from _of_type(annotation, value[name], f"{path}{name}")
        elif not _is_optional(annotation):
            yield f"{path}{name}: {cls.__qualname__} always has this field"


@functools.cache
def annotations(cls: Any) -> dict[str, Any]:
    """Return the fields of a class of the package, with names in their types resolved."""
    module = sys.modules[cls.__module__]
    names: dict[str, Any] = {**_names_of(module.__name__), **vars(module), **vars(cls)}
    for outer in _outer_classes(cls, module):
        names |= {name: value for name, value in vars(outer).items() if inspect.isclass(value)}
    found = vars(cls).get("__annotations__", {})
    return {name: _resolve(note, names) for name, note in found.items()}


def _outer_classes(cls: Any, module: types.ModuleType) -> Iterator[Any]:
    found: Any = module
    for part in cls.__qualname__.split("."):
        found = getattr(found, part)
        yield found


@functools.cache
def _names_of(module_name: str) -> dict[str, Any]:
    """Return what a module imports for type checkers alone."""
    tree = ast.parse(inspect.getsource(sys.modules[module_name]))
    names: dict[str, Any] = {}
    for block in (node for node in tree.body if isinstance(node, ast.If)):
        for line in (node for node in block.body if isinstance(node, ast.ImportFrom)):
            imported = importlib.import_module(str(line.module))
            names |= {alias.asname or alias.name: getattr(imported, alias.name) for alias in line.names}
    return names


def _resolve(note: Any, names: dict[str, Any]) -> Any:
    if isinstance(note, typing.ForwardRef):
        note = note.__forward_arg__
    if isinstance(note, str):
        return _resolve(eval(note, names), names)
    arguments = typing.get_args(note)
    if not arguments or typing.get_origin(note) in (typing.Literal, typing_extensions.Literal):
        return note
    inner = tuple(_resolve(argument, names) for argument in arguments)
    origin = typing.get_origin(note)
    if origin in (Union, types.UnionType):
        return Union[inner]  # noqa: UP007 - built from a tuple
    return origin[inner if len(inner) > 1 else inner[0]] if origin is not None else note


def _is_optional(annotation: Any) -> bool:
    return typing.get_origin(annotation) is Union and type(None) in typing.get_args(annotation)


def _of_type(annotation: Any, value: Any, path: str) -> Iterator[str]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Union:
        options = [list(_of_type(option, value, path)) for option in arguments]
        if all(options):
            yield min(options, key=lambda option: (option[0].startswith(f"{path}: "), len(option)))[0]
    elif origin in (typing.Literal, typing_extensions.Literal):
        if value not in arguments:
            yield f"{path}: {value!r} is none of {arguments}"
    elif origin in (list, dict):
        yield from _of_container(origin, arguments, value, path)
    elif inspect.isclass(origin or annotation) and issubclass(origin or annotation, StripeObject):
        yield from _of_object(origin or annotation, value, path)
    elif not _has_plain_type(annotation, value):
        yield f"{path}: {type(value).__name__} instead of {annotation}"


def _of_container(origin: Any, arguments: tuple[Any, ...], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, origin):
        yield f"{path}: {type(value).__name__} instead of {origin.__name__}"
        return
    entries = enumerate(value) if origin is list else value.items()
    for key, entry in entries:
        yield from _of_type(arguments[-1], entry, f"{path}[{key}]")


def _of_object(cls: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {type(value).__name__} instead of {cls.__name__}"
    elif cls.__name__ == "UntypedStripeObject" or not annotations(cls):
        return
    elif cls is stripe.ListObject:
        yield from mistakes(value, f"{path}.")
    elif isinstance(value.get("object"), str) and value["object"] not in _object_names(cls):
        yield f"{path}: is a {value['object']}, no {cls.__name__}"
    else:
        yield from _of_class(cls, value, f"{path}.")


def _object_names(cls: Any) -> tuple[Any, ...]:
    return typing.get_args(annotations(cls).get("object"))


def _has_plain_type(annotation: Any, value: Any) -> bool:
    if annotation is Any or annotation is object:
        return True
    if annotation is type(None):
        return value is None
    if annotation is Decimal:
        return isinstance(value, str)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation in _PLAIN:
        return type(value) is annotation
    return False
