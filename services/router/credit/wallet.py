"""The leases of one router process, and the shares of them that it sets aside for attempts without asking the ledger.

What is set aside and what is given back never exceed a lease together; a share is only given out while its lease lasts, less a
margin for its way to the provider. What was set aside for an attempt that was never sent, or that a worker handed back before it
began, is put back. Everything else comes back by the record of the attempt, which only the ledger sees. Pure.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from keyferry.contracts.credit import (
    CreditCertificate,
    CreditLease,
    Hold,
    LeaseCredit,
    LeaseResult,
    Reservation,
    ReturnCredit,
)
from services.router.credit.demand import RecentDemand

MARGIN_MS = 32_000
"""By so much sooner than its lease ends a share is given out for the last time: it may wait 30 s in a worker before the call."""
IDLE_MS = 5_000
"""An account of which nothing was set aside for so long gets its leases' rest back."""
FEWEST_SHARES = 8
"""A lease is wanted for at least so many attempts like the one that waits: the ledger grants it only where plenty is left."""
MOST_WANTED = 1_000_000_000
"""A lease is wanted for at most so much, unless one attempt needs more: a thousand dollars."""


@dataclass(slots=True, eq=False)
class _Lease:
    lease_id: str
    account: str
    tenant: str
    amount: int
    """What was granted."""
    left: int
    """Of that, what is neither set aside nor given back."""
    not_after_ms: int
    certificate: CreditCertificate | None = None
    given_back: int = 0
    closed: bool = False
    """Nothing more is set aside of it."""


@dataclass(slots=True, eq=False)
class _Account:
    tenant: str
    demand: RecentDemand = field(default_factory=RecentDemand)
    leases: list[_Lease] = field(default_factory=list)
    """Those that are not closed and have something left, the first to end first."""
    last_need: int = 0
    left_in_account: int | None = None
    """As the ledger said with the last lease."""
    used_at_ms: int = 0


class CreditWallet:
    """Leases by account. `now_ms` is the router's clock in Unix milliseconds; `epoch` names this process."""

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        """The one used last at the end."""
        self._leases: dict[str, _Lease] = {}
        """By id, until they have ended: what was never sent may be put back."""
        self._by_end: deque[_Lease] = deque()
        """Usable ones, in the order of their installation: that of their ends but for the skew of the ledgers' clocks."""
        self._ending: deque[_Lease] = deque()
        """In the same order those of which nothing may be set aside any more."""
        self._surplus: list[_Lease] = []
        """Leases whose rest has to be given back now."""

    def __len__(self) -> int:
        """Return how many leases are kept."""
        return len(self._leases)

    def available(self, account: str, now_ms: int) -> int:
        """Return what may still be set aside of an account without a further lease."""
        found = self._accounts.get(account)
        return sum(lease.left for lease in found.leases if _is_usable(lease, now_ms)) if found else 0

    def left(self, account: str, now_ms: int) -> int | None:
        """Return what an account had left at its last lease, with what may still be set aside; None if it is not known."""
        found = self._accounts.get(account)
        if found is None or found.left_in_account is None:
            return None
        return max(0, found.left_in_account) + self.available(account, now_ms)

    def reserve(
        self, tenant: str, needs: Mapping[str, int], now_ms: int, *, again: bool = False
    ) -> Reservation | list[LeaseCredit]:
        """Set a share of each account aside, or return the leases to ask for; then nothing was set aside of any account.

        `again` marks another try for the same attempt, which is no further demand. Raises ValueError for no needs at all.
        """
        if not needs:
            raise ValueError("an attempt that counts against no account needs no reservation")
        chosen: list[tuple[_Lease, int]] = []
        missing: list[LeaseCredit] = []
        for name, need in needs.items():
            account = self._use(tenant, name, need, now_ms, again)
            lease = next((one for one in account.leases if one.left >= need and _is_usable(one, now_ms)), None)
            if lease is None:
                missing.append(self._ask(name, account, need, now_ms))
            else:
                chosen.append((lease, need))
        if missing:
            return missing
        reservation = Reservation(
            holds=[Hold(lease_id=lease.lease_id, account=lease.account, amount=need) for lease, need in chosen],
            not_after_unix_ms=min(lease.not_after_ms for lease, _ in chosen),
            certificate=next((lease.certificate for lease, _ in chosen if lease.certificate is not None), None),
        )
        for lease, need in chosen:
            lease.left -= need
            if not lease.left:
                # With little credit each attempt has a lease of its own, and thousands of them would be searched.
                self._accounts[lease.account].leases.remove(lease)
        return reservation

    def put_back(self, reservation: Reservation) -> None:
        """Take back what was set aside for an attempt that was never sent or never begun: once, and only if no worker has it.

        Another router's leases are not known here: what it set aside of them stays so until they end.
        """
        for hold in reservation.holds:
            lease = self._leases.get(hold.lease_id)
            if lease is None:
                continue
            was_empty = not lease.left
            # It may come from another process, which cannot make more of a lease than was set aside.
            amount = min(hold.amount, lease.amount - lease.left - lease.given_back)
            lease.left += amount
            if lease.closed:
                self._surplus.append(lease)
            elif was_empty and amount:
                self._make_usable(lease)

    def top_up(self, account_name: str, now_ms: int) -> LeaseCredit | None:
        """Return the lease to ask for in advance: less than half a second's demand is left of an account in use."""
        account = self._accounts.get(account_name)
        if account is None or not account.last_need:
            return None
        demand = account.demand.of_two_seconds(now_ms)
        if demand < FEWEST_SHARES * account.last_need or self.available(account_name, now_ms) * 4 >= demand:
            return None
        return self._ask(account_name, account, account.last_need, now_ms)

    def install(self, tenant: str, lease: CreditLease, now_ms: int) -> None:
        """Add what the ledger granted. If it has too little, rests too small for an attempt are given back."""
        if lease.result is not LeaseResult.GRANTED or lease.lease_id is None:
            self._close_small_rests(lease.account)
            return
        if lease.lease_id in self._leases:
            return
        added = _Lease(
            lease_id=lease.lease_id,
            account=lease.account,
            tenant=tenant,
            amount=lease.amount,
            left=lease.amount,
            not_after_ms=lease.not_after_unix_ms,
            certificate=lease.certificate,
        )
        self._leases[added.lease_id] = added
        self._by_end.append(added)
        account = self._accounts.setdefault(lease.account, _Account(tenant, used_at_ms=now_ms))
        account.left_in_account = lease.available
        self._make_usable(added)

    def take_returns(self, now_ms: int) -> list[ReturnCredit]:
        """Return what to give back now: the rests of idle accounts and of leases that end soon. Call it each second.

        A message that was not answered may be sent again as it is.
        """
        self._close_idle(now_ms)
        self._close_ending(now_ms)
        returns: list[ReturnCredit] = []
        surplus, self._surplus = self._surplus, []
        for lease in surplus:
            if lease.left:
                returns.append(self._give_back(lease))
        return returns

    def take_all(self) -> list[ReturnCredit]:
        """Return everything that is not set aside, when the router stops."""
        for lease in list(self._leases.values()):
            self._close(lease)
        return self.take_returns(0)

    # --- inside

    def _make_usable(self, lease: _Lease) -> None:
        """Let shares be set aside of a lease; without its account, which is not in use any more, it is given back."""
        account = self._accounts.get(lease.account)
        if account is None:
            self._close(lease)
            return
        account.leases.append(lease)
        account.leases.sort(key=lambda one: one.not_after_ms)

    def _use(self, tenant: str, name: str, need: int, now_ms: int, again: bool) -> _Account:
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = _Account(tenant)
        else:
            self._accounts.move_to_end(name)
        account.used_at_ms = now_ms
        account.last_need = need
        if not again:
            account.demand.add(need, now_ms)
        return account

    def _ask(self, name: str, account: _Account, need: int, now_ms: int) -> LeaseCredit:
        expected = max(account.demand.of_two_seconds(now_ms), FEWEST_SHARES * need)
        want = max(need, min(expected, MOST_WANTED))
        return LeaseCredit(tenant=account.tenant, account=name, need=need, want=want, epoch=self._epoch)

    def _give_back(self, lease: _Lease) -> ReturnCredit:
        lease.given_back += lease.left
        lease.left = 0
        return ReturnCredit(tenant=lease.tenant, lease_id=lease.lease_id, amount=lease.given_back, epoch=self._epoch)

    def _close_small_rests(self, account_name: str) -> None:
        account = self._accounts.get(account_name)
        if account is not None:
            for lease in [one for one in account.leases if one.left < account.last_need]:
                self._close(lease)

    def _close(self, lease: _Lease) -> None:
        if lease.closed:
            return
        lease.closed = True
        self._surplus.append(lease)
        account = self._accounts.get(lease.account)
        if account is not None and lease in account.leases:
            account.leases.remove(lease)

    def _close_idle(self, now_ms: int) -> None:
        """Close the leases of accounts that are not in use, and forget these accounts."""
        while self._accounts:
            name, account = next(iter(self._accounts.items()))
            if now_ms - account.used_at_ms < IDLE_MS:
                return
            for lease in list(account.leases):
                self._close(lease)
            del self._accounts[name]

    def _close_ending(self, now_ms: int) -> None:
        """Close the leases of which nothing may be set aside any more, and forget those that have ended."""
        while self._by_end and not _is_usable(self._by_end[0], now_ms):
            lease = self._by_end.popleft()
            self._close(lease)
            self._ending.append(lease)
        while self._ending and now_ms > self._ending[0].not_after_ms:
            del self._leases[self._ending.popleft().lease_id]


def _is_usable(lease: _Lease, now_ms: int) -> bool:
    return now_ms < lease.not_after_ms - MARGIN_MS
