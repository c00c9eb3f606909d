"""Putting changes of one rule into their order, although two replicas may take them in the wrong one. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_SKIPPED = 1000
"""Numbers of one rule that are remembered as missing: the last ones."""


@dataclass(frozen=True, slots=True)
class NextChanges(Generic[T]):
    """What can go on now, and what has to wait for its predecessors."""

    ready: list[T]
    waiting: dict[int, T]
    position: int
    """The last sequence that went on."""
    skipped: list[int]
    """Those before it that are missing, in order: whatever kept them, they go on when they come."""


def take_in_order(
    position: int, arrived: Mapping[int, T], skipped: Collection[int] = (), *, skip_gaps: bool = False
) -> NextChanges[T]:
    """Return what follows `position` without a gap, after what was `skipped` before and has come now.

    Everything else at or before `position` came a second time and is dropped. With `skip_gaps` what waits goes on as well, in
    order, and what is missing of its predecessors counts as skipped.
    """
    missing = set(skipped)
    ready = [arrived[sequence] for sequence in sorted(missing.intersection(arrived))]
    missing.difference_update(arrived)
    left = {sequence: change for sequence, change in arrived.items() if sequence > position}
    for sequence in sorted(left):
        if sequence != position + 1 and not skip_gaps:
            break
        missing.update(range(max(position + 1, sequence - MAX_SKIPPED), sequence))
        ready.append(left.pop(sequence))
        position = sequence
    return NextChanges(ready=ready, waiting=left, position=position, skipped=sorted(missing)[-MAX_SKIPPED:])
