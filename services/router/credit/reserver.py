"""Reserves what attempts may spend: from the leases that this router holds, or from new ones that the ledger grants.

Most attempts find enough in the leases and need no message. Those that do not wait together for one request to the ledger for
each account, and nothing is sent to a provider before it is granted.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from keyferry.contracts.credit import CreditLease, LeaseCredit, LeaseResult, Reservation, ReturnCredit
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from services.router.credit.shortage import Shortage
from services.router.credit.wallet import MARGIN_MS, CreditWallet
from services.router.metrics import CREDIT_LEASES

_log = logging.getLogger(__name__)

_TICK_SECONDS = 0.5
_SHORT_SECONDS = 1.0
"""So long an account that has too little is not asked for again, although credits may have been added meanwhile."""
_STOP_SECONDS = 5.0
"""So long a stopping router gives back at most; what it does not is released after its end."""
_MAX_ROUNDS = 16
"""Most leases that one attempt waits for: others may have taken what was granted before it looks."""
_MOST_AT_ONCE = 16
"""Most leases of one account that are asked for at the same time."""
_MAX_SHORTAGES = 10_000
_RESULTS = {LeaseResult.GRANTED: "granted", LeaseResult.SUPERSEDED: "unavailable"}

Lease = Callable[[LeaseCredit], Awaitable[CreditLease]]
"""Asks the ledger for a lease. Raises BusError and Refused."""
Return = Callable[[ReturnCredit], Awaitable[object]]
"""Gives a part of a lease back. Raises BusError and Refused."""


class LedgerUnavailable(Exception):
    """The ledger grants nothing now, so nothing may be spent that is not leased already."""


class CreditReserver:
    """The leases of one router process. `now_ms` is the time in Unix milliseconds."""

    def __init__(self, wallet: CreditWallet, lease: Lease, give_back: Return, now_ms: Callable[[], int]) -> None:
        self._wallet = wallet
        self._lease = lease
        self._give_back = give_back
        self._now_ms = now_ms
        self._asking: dict[str, list[asyncio.Task[None]]] = {}
        """What is being asked for of each account."""
        self._scarce: set[str] = set()
        """Accounts that grant each attempt its own lease, because they have little left: waiting for one another's is no use."""
        self._shortages: dict[str, tuple[float, Shortage]] = {}
        self._unavailable_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self.available = True
        """Whether the ledger answered the last request for a lease."""

    async def start(self) -> None:
        """Begin to give back what nobody uses."""
        self._task = asyncio.create_task(self._tick(), name="idle credit leases")

    async def stop(self) -> None:
        """Stop, and give back everything that is not set aside."""
        if self._task is not None:
            await cancel_and_wait(self._task)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                for given in self._wallet.take_all():
                    await self._return(given)

    def shortage_of(self, account: str) -> Shortage | None:
        """Return what is known of an account that had too little a moment ago; None if it may have enough."""
        known = self._shortages.get(account)
        if known is None:
            return None
        if time.monotonic() >= known[0]:
            del self._shortages[account]
            return None
        return known[1]

    def try_reserve(self, tenant: str, amounts: Mapping[str, int]) -> Reservation | None:
        """Reserve from the leases that this router holds; None if they have not enough left."""
        now_ms = self._now_ms()
        found = self._wallet.reserve(tenant, amounts, now_ms)
        if not isinstance(found, Reservation):
            return None
        for account in amounts:
            if account in self._asking or account in self._scarce:
                continue  # what is leased in advance of little is missed in another router
            if (more := self._wallet.top_up(account, now_ms)) is not None:
                self._ask(more)
        return found

    async def reserve(self, tenant: str, amounts: Mapping[str, int]) -> Reservation | Shortage:
        """Reserve, asking the ledger for what is missing. Raises LedgerUnavailable."""
        for _ in range(_MAX_ROUNDS):
            found = self._wallet.reserve(tenant, amounts, self._now_ms(), again=True)
            if isinstance(found, Reservation):
                return found
            for lack in found:
                shortage = self.shortage_of(lack.account)
                if shortage is not None and shortage.available < lack.need:
                    return shortage
            await asyncio.gather(*(asyncio.shield(self._ask(lack)) for lack in found))
        raise LedgerUnavailable

    def left_of(self, account: str) -> int | None:
        """Return what the ledger said that an account has left, with what this router holds of it; None if it is not known."""
        return self._wallet.left(account, self._now_ms())

    def put_back(self, reservation: Reservation) -> None:
        """Put back what was reserved for an attempt that no worker has: never published, or handed back."""
        self._wallet.put_back(reservation)

    # --- inside

    def _ask(self, lack: LeaseCredit) -> asyncio.Task[None]:
        """Ask for a lease of an account, unless one is under way that will do for many."""
        asking = self._asking.setdefault(lack.account, [])
        if asking and (lack.account not in self._scarce or len(asking) >= _MOST_AT_ONCE):
            return asking[-1]
        task = asyncio.create_task(self._lease_credit(lack))
        asking.append(task)
        task.add_done_callback(lambda done: self._forget(lack.account, done))
        return task

    def _forget(self, account: str, done: asyncio.Task[None]) -> None:
        asking = self._asking[account]
        asking.remove(done)
        if not asking:
            del self._asking[account]
        if not done.cancelled():
            done.exception()  # who waited for it has it; a lease in advance has nobody who waits

    async def _lease_credit(self, lack: LeaseCredit) -> None:
        if time.monotonic() < self._unavailable_until:
            raise LedgerUnavailable
        began = time.perf_counter()
        try:
            lease = await self._lease(lack)
        except (BusError, Refused) as error:
            CREDIT_LEASES.observe(time.perf_counter() - began, "unavailable")
            self.available = False
            self._unavailable_until = time.monotonic() + _SHORT_SECONDS
            _log.warning("the ledger grants no credit", extra={"account": lack.account, "error": str(error)})
            raise LedgerUnavailable from None
        CREDIT_LEASES.observe(time.perf_counter() - began, _RESULTS.get(lease.result, "short"))
        self.available = lease.result is not LeaseResult.SUPERSEDED
        self._wallet.install(lack.tenant, lease, self._now_ms())
        match lease.result:
            case LeaseResult.GRANTED if lease.not_after_unix_ms - MARGIN_MS <= self._now_ms():
                # Further leases would be of no more use, and each is credit that nobody has meanwhile.
                self.available = False
                self._unavailable_until = time.monotonic() + _SHORT_SECONDS
                _log.error("the clock of this router is ahead of the usage ledger's, so no credit can be spent")
                raise LedgerUnavailable
            case LeaseResult.GRANTED:
                self._shortages.pop(lack.account, None)
                if lease.amount > lack.need or lack.need == lack.want:
                    self._scarce.discard(lack.account)
                else:
                    self._scarce.add(lack.account)
            case LeaseResult.SUPERSEDED:
                raise LedgerUnavailable
            case LeaseResult.INSUFFICIENT | LeaseResult.UNKNOWN_ACCOUNT:
                self._remember(
                    Shortage(
                        lack.account,
                        lease.available,
                        lease.held,
                        known=lease.result is LeaseResult.INSUFFICIENT,
                    )
                )

    def _remember(self, shortage: Shortage) -> None:
        if len(self._shortages) >= _MAX_SHORTAGES:
            self._shortages.clear()
            self._scarce.clear()
        self._shortages[shortage.account] = time.monotonic() + _SHORT_SECONDS, shortage

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            for given in self._wallet.take_returns(self._now_ms()):
                await self._return(given)

    async def _return(self, given: ReturnCredit) -> None:
        with suppress(BusError, Refused):  # the lease ends by itself
            await self._give_back(given)
