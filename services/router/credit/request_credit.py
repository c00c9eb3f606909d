"""What the requests of a router may spend: computes the needs of their attempts, and reserves them."""

from collections.abc import Mapping
from datetime import datetime

from keyferry.contracts.accounts import AccountKind, kind_of
from keyferry.contracts.chat import AttemptRun, RequestHead
from keyferry.contracts.credit import AllowanceUse, Reservation
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.tenancy import Tenant
from services.router.credit.affordable import AttemptNeeds, NeedsOf
from services.router.credit.needs import SpendingRules
from services.router.credit.reserver import CreditReserver, LedgerUnavailable
from services.router.credit.shortage import Shortage

NO_LEDGER = Failure(
    failure_class=FailureClass.UNAVAILABLE,
    message="the usage ledger grants no credit now, and nothing is sent that cannot be accounted for; try again in a moment",
    retry_after_ms=1000,
)


class RequestCredit:
    """The spending of all tenants' requests in one router process."""

    def __init__(self, rules: SpendingRules, reserver: CreditReserver) -> None:
        self._rules = rules
        self._reserver = reserver

    def needs_of(self, request: RequestHead, body_bytes: int, tenant: Tenant | None, now: datetime) -> NeedsOf | None:
        """Return what computes the needs of a request; None if nothing that can run out applies to it."""
        return self._rules.needs_of(request, body_bytes, tenant, now)

    def try_reserve(
        self, run: AttemptRun, needs: AttemptNeeds, handed_back: Reservation | None = None
    ) -> Reservation | None:
        """Reserve what an attempt may spend from the leases of this router; None if they have not enough left.

        `handed_back` is what an attempt of the request that has not begun could have spent; unless it will do, it is put back.
        """
        if handed_back is not None:
            if covers(handed_back, needs.amounts) and _lasts(handed_back, run):
                return handed_back
            self._reserver.put_back(handed_back)
        found = self._reserver.try_reserve(run.tenant, needs.amounts)
        return None if found is None else self._keep_if_lasting(found, run)

    async def reserve(self, run: AttemptRun, needs: AttemptNeeds) -> Reservation | Shortage:
        """Reserve what an attempt may spend, asking the ledger for what is missing. Raises LedgerUnavailable."""
        found = await self._reserver.reserve(run.tenant, needs.amounts)
        if isinstance(found, Shortage):
            return found
        if (kept := self._keep_if_lasting(found, run)) is None:
            raise LedgerUnavailable  # it would wait longer than credit can be held for it
        return kept

    def allowance_use(self, run: AttemptRun, reservation: Reservation) -> AllowanceUse | None:
        """Return how many free requests of the month are used with this attempt; None if it is none, or if that is not known."""
        account = next(
            (hold.account for hold in reservation.holds if kind_of(hold.account) is AccountKind.ALLOWANCE), None
        )
        terms = None if account is None or run.tier is None else self._rules.plan.allowance(run.tier)
        left = None if account is None else self._reserver.left_of(account)
        if terms is None or left is None:
            return None
        return AllowanceUse(used=max(0, terms.requests - left), requests=terms.requests)

    def _keep_if_lasting(self, reservation: Reservation, run: AttemptRun) -> Reservation | None:
        """Return the reservation if it lasts until the attempt begins; otherwise put it back."""
        if _lasts(reservation, run):
            return reservation
        self._reserver.put_back(reservation)
        return None

    def put_back(self, reservation: Reservation) -> None:
        """Put back what was reserved for an attempt that was never published, or that a worker handed back."""
        self._reserver.put_back(reservation)


def covers(reservation: Reservation, amounts: Mapping[str, int]) -> bool:
    """Return whether a reservation holds exactly these accounts, and at least so much of each."""
    held = {hold.account: hold.amount for hold in reservation.holds}
    return held.keys() == amounts.keys() and all(held[account] >= amount for account, amount in amounts.items())


def _lasts(reservation: Reservation, run: AttemptRun) -> bool:
    """Return whether the credit is held until the last moment at which the attempt may begin."""
    return run.start_by_unix_ms + run.delay_ms <= reservation.not_after_unix_ms
