"""The ledger of a simulation: the production rules over tables in memory, and the stream that it processes."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyferry.contracts.credit import (
    LEASE_MS,
    CreditLease,
    LeaseCredit,
    LeaseResult,
    Reservation,
    ReturnCredit,
)
from services.usage_ledger.credit.rules import (
    DueHold,
    LeaseBalance,
    StreamMark,
    Watermark,
    bounded,
    given_back_now,
    grant_amount,
    passed,
    settle,
)
from tests.simulation.credit.world import SimulatedProcess, World

_WINDOW = 300
"""So many messages are in flight at the same time, and may be processed in any order."""
_REDELIVERY_MS = (2000, 30_000, 70_000)


@dataclass(frozen=True)
class SimulatedRecord:
    """The record of an attempt: what it costs each account."""

    attempt_id: str
    reservation: Reservation
    due: Mapping[str, int]


@dataclass(frozen=True)
class StoredBatch:
    """A message of the stream."""

    worker: str
    spool: str
    records: tuple[SimulatedRecord, ...]
    settled_until_ms: int
    confirm: Callable[[tuple[str, ...]], None]


@dataclass
class HeldLease:
    """A lease in the ledger's table."""

    account: str
    router: str
    epoch: str
    not_after_ms: int
    balance: LeaseBalance


class Ledger(SimulatedProcess):
    """The ledger's tables survive every outage; it acknowledges messages after it has committed what they say."""

    def __init__(self, world: World, released_until: Callable[["Ledger"], int]) -> None:
        super().__init__(world, "ledger")
        self._released_until = released_until
        self.stream: list[StoredBatch] = []
        self._acknowledged: set[int] = set()
        self._redelivered_at: dict[int, int] = {}
        self.processed = 0
        """Everything up to this position is acknowledged."""
        self.granted: Counter[str] = Counter()
        self.available: Counter[str] = Counter()
        self.captured: Counter[str] = Counter()
        self.uncollected = 0
        self.leases: dict[str, HeldLease] = {}
        self.marks: list[StreamMark] = []
        self.watermarks: defaultdict[tuple[str, str], list[Watermark]] = defaultdict(list)
        self._recorded: set[str] = set()

    def start(self) -> None:
        self.up = True
        self.every(500, self._consume)
        self.every(1000, self._release)

    def fund(self, account: str, amount: int) -> None:
        self.granted[account] += amount
        self.available[account] += amount

    # --- routers

    def lease(self, ask: LeaseCredit, router: str) -> CreditLease:
        amount = grant_amount(self.available[ask.account], ask.need, ask.want)
        if amount is None:
            return CreditLease(result=LeaseResult.INSUFFICIENT, account=ask.account)
        self.available[ask.account] -= amount
        lease_id = f"lea_{self.world.next_number()}"
        not_after_ms = self.clock_ms + LEASE_MS
        self.leases[lease_id] = HeldLease(ask.account, router, ask.epoch, not_after_ms, LeaseBalance(amount))
        return CreditLease(
            result=LeaseResult.GRANTED,
            account=ask.account,
            lease_id=lease_id,
            amount=amount,
            not_after_unix_ms=not_after_ms,
        )

    def give_back(self, given: ReturnCredit, router: str) -> None:
        lease = self.leases.get(given.lease_id)
        if lease is not None and (lease.router, lease.epoch) == (router, given.epoch):
            self._return(given.lease_id, given_back_now(lease.balance, given.amount))

    # --- the stream

    def _consume(self) -> None:
        window = [
            position
            for position in range(self.processed + 1, min(self.processed + _WINDOW, len(self.stream)) + 1)
            if position not in self._acknowledged and self._redelivered_at.get(position, 0) <= self.world.now_ms
        ]
        self.world.chance.shuffle(window)
        for position in window:
            fails = self.world.happens(0.04)
            if not fails or self.world.happens(0.5):  # it may fail between the commit and the acknowledgement
                self._process(position, self.stream[position - 1])
            if fails:
                self._redelivered_at[position] = self.world.now_ms + self.world.chance.choice(_REDELIVERY_MS)
            else:
                self._acknowledged.add(position)
        while self.processed + 1 in self._acknowledged:
            self.processed += 1
            self._acknowledged.discard(self.processed)

    def _process(self, position: int, batch: StoredBatch) -> None:
        for record in batch.records:
            if record.attempt_id not in self._recorded:
                self._recorded.add(record.attempt_id)
                self._settle(record)
        until_ms = bounded(batch.settled_until_ms, self.clock_ms)
        self.watermarks[batch.worker, batch.spool].append(Watermark(position, until_ms))
        batch.confirm(tuple(record.attempt_id for record in batch.records))

    def _settle(self, record: SimulatedRecord) -> None:
        for hold in record.reservation.holds:
            due = record.due[hold.account]
            lease = self.leases.get(hold.lease_id)
            if lease is None:
                self.uncollected += min(due, hold.amount)
                continue
            done = settle(lease.balance, [DueHold(hold.amount, min(due, hold.amount))])
            lease.balance = done.balance
            self.captured[hold.account] += done.captured
            self.available[hold.account] += done.returned
            self.uncollected += done.absorbed
            self._close_if_empty(hold.lease_id)

    # --- release

    def _release(self) -> None:
        # The time first: whatever was stored by then is at or below the position.
        self.marks.append(StreamMark(self.clock_ms, len(self.stream)))
        until_ms = self._released_until(self)
        self.marks = passed(self.marks, self.processed)
        for lease_id, lease in list(self.leases.items()):
            if lease.not_after_ms < until_ms:
                self._return(lease_id, lease.balance.rest)
        for spool, watermarks in self.watermarks.items():
            newest = [one for one in watermarks if one.position <= self.processed]
            if newest:
                last = max(newest, key=lambda one: one.position)
                self.watermarks[spool] = [one for one in watermarks if one.position >= last.position]
        self.check()

    def _return(self, lease_id: str, amount: int) -> None:
        lease = self.leases[lease_id]
        lease.balance = LeaseBalance(lease.balance.amount, lease.balance.given_back + amount, lease.balance.settled)
        self.available[lease.account] += amount
        self._close_if_empty(lease_id)

    def _close_if_empty(self, lease_id: str) -> None:
        if not self.leases[lease_id].balance.rest:
            del self.leases[lease_id]

    def check(self) -> None:
        """Assert that nothing is overdrawn, and that everything granted is available, leased or captured."""
        held = dict.fromkeys(self.granted, 0)
        for lease in self.leases.values():
            rest = lease.balance.rest
            assert rest >= 0
            held[lease.account] += rest
        for account, granted in self.granted.items():
            assert self.available[account] >= 0
            assert self.available[account] + held[account] + self.captured[account] == granted
