"""Putting changes of one rule into their order, although two replicas may take them in the wrong one. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NextChanges(Generic[T]):
    """What can go on now, and what has to wait for its predecessors."""

    ready: list[T]
    waiting: dict[int, T]
    position: int
    """The last sequence that went on."""


def take_in_order(position: int, arrived: Mapping[int, T], *, skip_gaps: bool = False) -> NextChanges[T]:
    """Return what follows `position` without a gap; what is at or before it came a second time and is dropped.

    With `skip_gaps` the others go on as well, in order: their predecessors will not come any more.
    """
    ready: list[T] = []
    left = {sequence: change for sequence, change in arrived.items() if sequence > position}
    for sequence in sorted(left):
        if sequence != position + 1 and not skip_gaps:
            break
        ready.append(left.pop(sequence))
        position = sequence
    return NextChanges(ready=ready, waiting=left, position=position)
