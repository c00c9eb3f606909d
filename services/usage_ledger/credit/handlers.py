"""Handlers of routers' requests for credit."""

from collections.abc import Callable
from datetime import datetime

from keyferry.contracts.credit import CreditLease, CreditReturned, LeaseCredit, ReturnCredit
from keyferry.contracts.ledger_management import CREDIT_LEASE, CREDIT_RETURN
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.dispatch import ReceivedMessage
from services.usage_ledger.credit.store import CreditLeaseStore
from services.usage_ledger.database_outage import refuse_outages

_ROUTER_TOKEN = 4
"""The router's place in the subjects, which the bus guards."""


class CreditLeaseHandlers:
    """Answers requests for credit. All raise Refused."""

    def __init__(self, leases: CreditLeaseStore, clock: Callable[[], datetime]) -> None:
        self._leases = leases
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.subscribe(CREDIT_LEASE, self.lease)
        bus.subscribe(CREDIT_RETURN, self.give_back)

    async def lease(self, received: ReceivedMessage[LeaseCredit]) -> CreditLease:
        """Lease a part of an account to the router that asks."""
        with refuse_outages():
            return await self._leases.lease(received.message, received.token(_ROUTER_TOKEN), self._clock())

    async def give_back(self, received: ReceivedMessage[ReturnCredit]) -> CreditReturned:
        """Take back what a router has not set aside."""
        with refuse_outages():
            router = received.token(_ROUTER_TOKEN)
            return CreditReturned(amount=await self._leases.give_back(received.message, router, self._clock()))
