"""Whether the fields of models refuse or clean text from outside, and bound numbers and times."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from keyferry.contracts.text import BIGINT_MAX, Cleaned, Refusing


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def unmarked(annotation: Any, metadata: tuple[Any, ...] = ()) -> Iterator[str]:
    """The parts of a type through which any text, or a number of any size, would pass."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        yield from unmarked(inner, (*metadata, *marks))
    elif annotation is str:
        if not any(isinstance(mark, Refusing | Cleaned) for mark in metadata):
            yield "str"
    elif annotation in (int, float):
        if not (has_upper_bound(metadata) if annotation is int else has_both_bounds(metadata)):
            yield annotation.__name__
    elif annotation is datetime:
        if not any(getattr(mark, "lt", None) for mark in flattened(metadata)):
            yield "datetime"
    else:
        optional = metadata if type(None) in get_args(annotation) else ()
        for part in get_args(annotation):
            yield from unmarked(part, optional)


def has_upper_bound(metadata: tuple[Any, ...]) -> bool:
    return any(getattr(mark, "le", BIGINT_MAX + 1) <= BIGINT_MAX for mark in flattened(metadata))


def has_both_bounds(metadata: tuple[Any, ...]) -> bool:
    marks = flattened(metadata)
    return all(any(getattr(mark, bound, None) is not None for mark in marks) for bound in ("ge", "le"))


def flattened(metadata: tuple[Any, ...]) -> list[Any]:
    return [inner for mark in metadata for inner in (getattr(mark, "metadata", None) or [mark])]
