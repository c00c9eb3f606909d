"""Where a request counts: under its first attempt, in whatever order its attempts are recorded. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class RecordedAttempt(NamedTuple):
    """An attempt and its place among those of its request: by number, then by id, which sorts by time."""

    tenant: str
    request_id: str
    attempt_number: int
    attempt_id: str


class WeighedAttempt(NamedTuple):
    """What is added to the rollups of an attempt: its measures times `weight`, and `requests`."""

    attempt_id: str
    weight: int
    requests: int


def weigh(new: Sequence[RecordedAttempt], earlier: Iterable[RecordedAttempt]) -> list[WeighedAttempt]:
    """Return what to add for new attempts, given those of the same requests that were recorded before.

    A request that counted under a later attempt moves: it is taken from there, where the attempt itself stays.
    """
    counted: dict[tuple[str, str], RecordedAttempt] = {}
    for attempt in sorted(earlier, reverse=True):
        counted[attempt[:2]] = attempt
    first = dict(counted)
    for attempt in new:
        request = attempt[:2]
        first[request] = min(first.get(request, attempt), attempt)
    moved = [attempt for request, attempt in counted.items() if first[request] != attempt]
    return [WeighedAttempt(each.attempt_id, 1, int(first[each[:2]] == each)) for each in new] + [
        WeighedAttempt(each.attempt_id, 0, -1) for each in moved
    ]
