"""Handlers of routers' requests for credit."""

from collections.abc import Callable, Iterable
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.credit import SKEW_MS, CreditLease, CreditReturned, LeaseCredit, ReturnCredit
from keyferry.contracts.ledger_management import CREDIT_LEASE, CREDIT_RETURN
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.bus.requests import Refused
from keyferry.sealing.credit_certificate import certify
from services.usage_ledger.credit.store import CreditLeaseStore
from services.usage_ledger.database_outage import refuse_outages

_ROUTER_TOKEN = 4
"""The router's place in the subjects, which the bus guards."""


class CreditLeaseHandlers:
    """Answers requests for credit, and certifies with `key` what it leases. All raise Refused.

    `changed` receives the tenants of whom more or less is held.
    """

    def __init__(
        self,
        leases: CreditLeaseStore,
        key: Ed25519PrivateKey,
        clock: Callable[[], datetime],
        changed: Callable[[Iterable[str]], None],
    ) -> None:
        self._leases = leases
        self._changed = changed
        self._key = key
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.subscribe(CREDIT_LEASE, self.lease)
        bus.subscribe(CREDIT_RETURN, self.give_back)

    async def lease(self, received: ReceivedMessage[LeaseCredit]) -> CreditLease:
        """Lease a part of an account to the router that asks, if it still waits for the answer."""
        ask, now = received.message, self._clock()
        if ask.answer_by_unix_ms is not None and now.timestamp() * 1000 > ask.answer_by_unix_ms + SKEW_MS:
            raise Refused(ErrorCode.UNAVAILABLE, "the request for a lease came too late for its router: ask again")
        with refuse_outages():
            lease = await self._leases.lease(ask, received.token(_ROUTER_TOKEN), now)
        self._changed((ask.tenant,))
        return lease.model_copy(update={"certificate": certify(self._key, ask.tenant, lease)})

    async def give_back(self, received: ReceivedMessage[ReturnCredit]) -> CreditReturned:
        """Take back what a router has not set aside."""
        with refuse_outages():
            router = received.token(_ROUTER_TOKEN)
            returned = await self._leases.give_back(received.message, router, self._clock())
        self._changed((received.message.tenant,))
        return CreditReturned(amount=returned)
