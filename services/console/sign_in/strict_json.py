"""JSON from an identity provider, read strictly: no name twice, no NaN, bounded depth. Pure."""

import json
from collections.abc import Mapping
from typing import NoReturn

from services.console.bodies import exceeds_depth

_MAX_DEPTH = 16


class NotStrictJson(ValueError):
    """The text is no JSON object in the strict sense; the message says why and repeats nothing of it."""


def parse_object(data: bytes) -> Mapping[str, object]:
    """Return the JSON object in `data`. Raises NotStrictJson.

    A name that occurs twice is refused: two programs that each take another of the two values would disagree on who signs in.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise NotStrictJson("it is not UTF-8") from None
    if exceeds_depth(data, _MAX_DEPTH):
        raise NotStrictJson(f"it is nested deeper than {_MAX_DEPTH} levels")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except NotStrictJson:
        raise
    except (ValueError, RecursionError):
        raise NotStrictJson("it is not valid JSON") from None
    if not isinstance(value, dict):
        raise NotStrictJson("it is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictJson("it has a name twice")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise NotStrictJson("it has a number that JSON does not know")
