"""How far the attempts of a worker are settled: its watermark, by which the ledger knows which leases nothing is missing of.

An attempt with a reservation is unsettled from the moment before its intent is written until the stream has its record. The
watermark is the end of the oldest unsettled reservation, and now if there is none. It is a promise as well: no attempt begins
whose reservation ends before it. Pure.
"""

import heapq
from collections.abc import Iterable

from keyferry.contracts.credit import LEASE_MS, RETIRED_UNIX_MS, Reservation


def is_held(reservation: Reservation | None, at_ms: int) -> bool:
    """Return whether an attempt may begin at a moment: what it may spend is held until then, or it counts against nothing."""
    return reservation is None or at_ms <= reservation.not_after_unix_ms


class SettlementTracker:
    """The unsettled attempts of one spool. `now_ms` is the worker's clock in Unix milliseconds."""

    def __init__(self) -> None:
        self._ends: dict[str, int] = {}
        """By attempt, the end of its reservation."""
        self._oldest: list[tuple[int, str]] = []
        """A heap of the same; settled attempts stay in it until they are the oldest."""
        self._promised_ms = 0

    def __len__(self) -> int:
        """Return how many attempts are unsettled."""
        return len(self._ends)

    def restore(self, attempts: Iterable[tuple[str, Reservation]]) -> None:
        """Count what an earlier process left in the spool as unsettled, intents as well as results."""
        for attempt_id, reservation in attempts:
            self._add(attempt_id, reservation)

    def begin(self, attempt_id: str, reservation: Reservation, now_ms: int) -> bool:
        """Count an attempt as unsettled, before its intent is written; return False if it may not be begun any more."""
        if not is_held(reservation, max(now_ms, self._promised_ms)):
            return False
        self._add(attempt_id, reservation)
        return True

    def settled(self, attempt_id: str) -> None:
        """Note that the stream has the record of an attempt, or that it was not begun after all."""
        self._ends.pop(attempt_id, None)

    def watermark(self, now_ms: int) -> int:
        """Return how far the attempts are settled, to be published after all that was stored so far."""
        while self._oldest and self._ends.get(self._oldest[0][1]) != self._oldest[0][0]:
            heapq.heappop(self._oldest)
        settled_until_ms = min(now_ms, self._oldest[0][0]) if self._oldest else now_ms
        self._promised_ms = max(self._promised_ms, settled_until_ms)
        return settled_until_ms

    def forget_false_promise(self, now_ms: int) -> bool:
        """Forget a promise that lies beyond every lease, by a clock that was ahead; return whether there was one.

        It may only be forgotten as by a new process: nothing with a reservation begins until the stream has a new watermark.
        """
        if self._promised_ms <= now_ms + 2 * LEASE_MS:
            return False
        self._promised_ms = 0
        return True

    def retire(self) -> int | None:
        """Return the watermark of a worker that stops: no attempt begins any more. None while one is unsettled."""
        if self._ends:
            return None
        self._promised_ms = RETIRED_UNIX_MS
        return RETIRED_UNIX_MS

    # --- inside

    def _add(self, attempt_id: str, reservation: Reservation) -> None:
        self._ends[attempt_id] = reservation.not_after_unix_ms
        heapq.heappush(self._oldest, (reservation.not_after_unix_ms, attempt_id))
