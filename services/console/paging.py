"""Pages of lists that their owner gives whole. Pure."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from services.console.problem import INVALID_REQUEST, Problem

T = TypeVar("T")


def page(items: Sequence[T], name: Callable[[T], str], limit: int, after: str | None) -> tuple[list[T], str | None]:
    """At most `limit` items behind the one named `after`, and the name to go on from; null at the end.

    Raises Problem 400 where nothing is named so any more.
    """
    start = 0
    if after is not None:
        places = [place for place, item in enumerate(items) if name(item) == after]
        if not places:
            message = "the list has changed and what `after` names is not in it any more: start from the beginning"
            raise Problem(400, INVALID_REQUEST, "invalid_cursor", message, param="after")
        start = places[0] + 1
    taken = list(items[start : start + limit])
    return taken, name(taken[-1]) if taken and start + limit < len(items) else None
