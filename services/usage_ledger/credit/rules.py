"""The rules of credit leases: how much is granted, how attempts settle their holds, and when the rest of a lease is released.

What is released too early can be spent twice. A share that an attempt has settled returns at once what it did not cost, since
nobody else has that share. A lease is closed in one of two ways only: when all of it is accounted for, given back or settled by
the records of attempts; or, after its end, when no attempt can have a share of it whose record is missing (`may_release`). Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from keyferry.contracts.credit import RETIRED_UNIX_MS, SKEW_MS

W = TypeVar("W")
"""What a worker is known by."""
PLENTY = 20
"""An account with so many times what one attempt needs has plenty: a router may lease in advance."""
PART = 4
"""A lease in advance takes one part in so many of what is available, so that other routers find some as well."""


class LeaseState(StrEnum):
    """The state of a lease in the ledger."""

    OPEN = "open"
    ACCOUNTED = "accounted"
    """Closed: everything was given back or settled."""
    RELEASED = "released"
    """Closed after its end: nothing can be missing any more."""


def grant_amount(available: int, need: int, want: int, *, in_advance: bool = True) -> int | None:
    """Return how much of an account to lease; None if it has less than one attempt needs. Near zero it is exactly that.

    So it is without `in_advance`: then no router ever holds a share that another one refuses a request for.
    """
    if available < need:
        return None
    if not in_advance or available < PLENTY * need:
        return need
    return max(need, min(want, available // PART))


@dataclass(frozen=True, slots=True)
class LeaseBalance:
    """What has become of the amount of a lease. What was neither given back nor settled is set aside, or may still be."""

    amount: int
    given_back: int = 0
    """By the router, which never set it aside, or by the release of the lease."""
    settled: int = 0
    """The holds of attempts whose records are stored."""

    @property
    def rest(self) -> int:
        """Return what is still in the lease."""
        return self.amount - self.given_back - self.settled


@dataclass(frozen=True, slots=True)
class DueHold:
    """A hold of an attempt, and what the attempt costs its account."""

    amount: int
    due: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What settling some holds does to their lease."""

    balance: LeaseBalance
    captured: int
    """What the attempts cost, to be taken out of the lease now."""
    returned: int
    """What they did not cost of their holds, to be returned to the account now."""
    shortfalls: tuple[int, ...]
    """What cannot be taken of each hold, in their order: the platform bears it."""

    @property
    def absorbed(self) -> int:
        """Return what cannot be taken of all of them."""
        return sum(self.shortfalls)


def settle(balance: LeaseBalance, holds: Iterable[DueHold]) -> Settlement:
    """Settle the holds of attempts that are new to the ledger. An attempt costs its account at most its hold."""
    captured = returned = 0
    shortfalls: list[int] = []
    rest = balance.rest
    for hold in holds:
        held = min(hold.amount, rest)
        taken = max(0, min(hold.due, held))
        rest -= held
        captured += taken
        returned += held - taken
        shortfalls.append(max(hold.due, 0) - taken)
    after = LeaseBalance(balance.amount, balance.given_back, balance.settled + captured + returned)
    return Settlement(after, captured, returned, tuple(shortfalls))


def given_back_now(balance: LeaseBalance, total: int) -> int:
    """Return how much of a lease a router gives back that says it has given back `total` in all; 0 if that came before.

    What attempts have settled was set aside, whatever a router says.
    """
    most = balance.amount - balance.settled
    return max(0, min(total, most) - balance.given_back)


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far the attempts of a worker's spool were settled when the message at a position of the stream was published."""

    position: int
    settled_until_ms: int


def bounded(settled_until_ms: int, now_ms: int) -> int:
    """Return what to believe of a worker's watermark: no clock is ahead of the ledger's by more than the skew."""
    return settled_until_ms if settled_until_ms == RETIRED_UNIX_MS else min(settled_until_ms, now_ms + SKEW_MS)


def counted(watermarks: Iterable[Watermark], processed: int) -> Watermark | None:
    """Return the newest watermark with everything before it processed. It may be lower than an older one: a worker restarted."""
    passed = (one for one in watermarks if one.position <= processed)
    return max(passed, key=lambda one: one.position, default=None)


@dataclass(frozen=True, slots=True)
class StreamMark:
    """A position of the stream that was read at `taken_ms` or later: everything stored before is at or below it."""

    taken_ms: int
    position: int


def passed_until_ms(marks: Sequence[StreamMark], processed: int) -> int:
    """Return until when everything that the stream had stored is processed; 0 if that is unknown."""
    return max((mark.taken_ms for mark in marks if mark.position <= processed), default=0)


def passed(marks: Sequence[StreamMark], processed: int) -> list[StreamMark]:
    """Return the marks that are still needed: the newest that is processed, and those that are not."""
    done = [mark for mark in marks if mark.position <= processed]
    newest = max(done, key=lambda mark: mark.taken_ms, default=None)
    return ([newest] if newest else []) + [mark for mark in marks if mark.position > processed]


def released_until_ms(workers: Mapping[W, Iterable[Watermark]], marks: Sequence[StreamMark], processed: int) -> int:
    """Return the moment before which leases must have ended for their rests to be released.

    `processed` is the position up to which the ledger has processed the stream. A worker publishes its first watermark before
    it takes its first attempt. So every worker that can have begun one before the end of a lease is known once the stream is
    processed up to a position read after that end; and none of them lacks a record if its watermark is past the end.
    """
    bounds = [passed_until_ms(marks, processed)]
    for watermarks in workers.values():
        latest = counted(watermarks, processed)
        bounds.append(latest.settled_until_ms if latest else 0)
    return min(bounds) - SKEW_MS


def may_release(
    not_after_ms: int, workers: Mapping[W, Iterable[Watermark]], marks: Sequence[StreamMark], processed: int
) -> bool:
    """Return whether no record can be missing of an attempt that has a share of a lease which ended at `not_after_ms`."""
    return not_after_ms < released_until_ms(workers, marks, processed)
