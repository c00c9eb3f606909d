"""Chooses a candidate to wait for: one that may be tried again, or one that recovers, within the request's deadline. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from keyferry.contracts.route import Candidate
from services.router.fallback.delays import SHORT_WAIT_MS

Rank = tuple[int | float | Decimal, ...]
"""The sort key of a candidate: the position of its model, then whose key pays, then what else decides."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A candidate that can be used later."""

    delay_ms: int
    rank: Rank
    index: int
    """Its place among the candidates."""
    is_retry: bool


def choose_wait(waits: Sequence[Wait], first: Rank | None) -> Wait | None:
    """Return the candidate to wait for; None if the first of the others, at `first` in the order, should be used instead.

    A short wait for a model comes before its replacement by another model. Otherwise nobody waits while another candidate
    would answer now, and with none the earliest is waited for.
    """
    if first is not None:
        waits = [wait for wait in waits if wait.delay_ms <= SHORT_WAIT_MS and wait.rank[0] < first[0]]
        return min(waits, key=lambda wait: (wait.rank, wait.delay_ms), default=None)
    return min(waits, key=lambda wait: (wait.delay_ms, wait.rank), default=None)


def described(wait: Wait, candidate: Candidate) -> Candidate:
    """Return the candidate as kept, to be used after the delay."""
    what = "it is tried again" if wait.is_retry else "the request waits for it"
    detail = f"{candidate.detail}; {what}, after {wait.delay_ms} ms"
    return candidate.model_copy(update={"kept": True, "reason": None, "detail": detail, "delay_ms": wait.delay_ms})
