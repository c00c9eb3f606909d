"""For a tenant who has paid and does not see the credits: compares its payments with Stripe at once, and credits what is owed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from time import monotonic

from keyferry.contracts.credit_management import from_micro_usd
from keyferry.contracts.payments import CheckMissingCredits, MissingCredits
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused
from services.billing.stripe.failure_alerts import StripeAlerts
from services.billing.stripe.objects import TENANT, IntentFacts
from services.billing.stripe.reading import StripeReader
from services.billing.stripe.rules import NotOurs, NotPaid, ParkedPayment
from services.billing.stripe.settlement import PaymentSettler

LOOK_BACK = timedelta(days=90)
INTERVAL_SECONDS = 20.0
_MAX_PARKED = 50
_ENDED = frozenset({"canceled"})

FindCustomer = Callable[[str], Awaitable[str | None]]
"""Returns which customer a tenant is at Stripe; None if nothing is known. Raises DatabaseUnavailable."""


class MissingCreditCheck:
    """The check of one process, which limits how often a tenant may ask."""

    def __init__(
        self,
        reader: StripeReader,
        settler: PaymentSettler,
        alerts: StripeAlerts,
        find_customer: FindCustomer,
        clock: Callable[[], datetime],
    ) -> None:
        self._reader = reader
        self._settler = settler
        self._alerts = alerts
        self._find_customer = find_customer
        self._clock = clock
        self._asked: dict[str, float] = {}

    async def check(self, command: CheckMissingCredits) -> MissingCredits:
        """Compare and credit. Raises Refused for the second time within INTERVAL_SECONDS, and what settling raises."""
        self._limit(command.tenant)
        checked = open_ = credited = taken = 0
        parked: list[str] = []
        async for intent in self._intents(command.tenant):
            if intent.metadata.get(TENANT) != command.tenant:
                continue
            if intent.status != "succeeded":
                open_ += intent.status not in _ENDED
                continue
            checked += 1
            try:
                settled = await self._settler.settle(intent.id)
            except (NotOurs, NotPaid):
                continue
            except ParkedPayment as error:
                parked.append(f"{intent.id}: {error}")
                await self._alerts.parked(intent.id, str(error))
                continue
            credited += settled.credited_micro_usd
            taken += settled.taken_micro_usd
        return MissingCredits(
            tenant=command.tenant,
            checked=checked,
            credited=from_micro_usd(credited),
            taken_back=from_micro_usd(taken),
            parked=parked[:_MAX_PARKED],
            still_open=open_,
        )

    async def _intents(self, tenant: str) -> AsyncIterator[IntentFacts]:
        now = self._clock()
        customer = await self._find_customer(tenant)
        found = (
            self._reader.intents(now - LOOK_BACK, now + timedelta(days=1))
            if customer is None
            else self._reader.intents_of(customer)
        )
        async for intent in found:
            if intent.created_at >= now - LOOK_BACK:
                yield intent

    def _limit(self, tenant: str) -> None:
        now = monotonic()
        self._asked = {each: at for each, at in self._asked.items() if now - at < INTERVAL_SECONDS}
        if tenant in self._asked:
            left = int(INTERVAL_SECONDS - (now - self._asked[tenant])) + 1
            raise Refused(ErrorCode.CONFLICT, f"this was checked a moment ago: try again in {left} s")
        self._asked[tenant] = now
