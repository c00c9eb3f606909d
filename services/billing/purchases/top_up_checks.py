"""Looks at the balances of tenants with automatic top-ups, and begins payments where credits are low. Never for a request."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from nats.errors import Error as NatsError

from keyferry.billing.plan import BillingPlan
from keyferry.contracts import ids
from keyferry.contracts.credit_management import CreditBalance, GetCredits, to_micro_usd
from keyferry.contracts.purchases import CURRENCY, PurchaseKind, PurchaseState, from_cents
from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.bus.requests import BusError, Refused
from services.billing.purchases.customers import Customers
from services.billing.purchases.offers import offer_for_price
from services.billing.purchases.rule_violation import PurchaseRefused
from services.billing.purchases.stored_purchase import StoredPurchase
from services.billing.purchases.top_up_rules import month_window
from services.billing.purchases.top_up_store import StoredTopUp, TopUpStore

_log = logging.getLogger(__name__)

_CLAIMED = 100
_ACTOR = "billing:top-up"

Ask = Callable[[GetCredits], Awaitable[CreditBalance]]
"""Asks the ledger. Raises BusError and Refused."""


class TopUpChecks:
    """The checks of one process. `find_tenant` returns a tenant, or None if it is unknown."""

    def __init__(
        self,
        store: TopUpStore,
        customers: Customers,
        plan: BillingPlan,
        ask: Ask,
        find_tenant: Callable[[str], Tenant | None],
    ) -> None:
        self._store = store
        self._customers = customers
        self._plan = plan
        self._ask = ask
        self._find_tenant = find_tenant

    async def check_due(self, now: datetime) -> bool:
        """Look at the balances that are due; return whether a payment was begun. Raises DatabaseUnavailable."""
        due = await self._store.claim_due(now, _CLAIMED)
        begun = await asyncio.gather(*(self._check(top_up, now) for top_up in due))
        return any(begun)

    async def is_wanted(self, purchase: StoredPurchase) -> bool:
        """Return whether a payment that is under way may still be made. Raises DatabaseUnavailable."""
        terms = await self._store.find(purchase.tenant)
        return terms is not None and terms.enabled and terms.paused_at is None and self._may_pay(purchase.tenant)

    def _may_pay(self, tenant: str) -> bool:
        found = self._find_tenant(tenant)
        return found is not None and not found.suspended and found.deleted_at is None

    async def _check(self, seen: StoredTopUp, now: datetime) -> bool:
        customer = await self._customers.find(seen.tenant)
        if customer is None or customer.payment_method is None:
            return False
        try:
            if not self._may_pay(seen.tenant):
                return False
            balance = await self._ask(GetCredits(tenant=seen.tenant))
            return await self.act_on(seen, available_micro_usd=to_micro_usd(balance.available), now=now)
        except (BusError, Refused, NatsError):
            _log.warning("an automatic top-up could not read the balance, and is checked again soon")
            return False
        except PurchaseRefused as error:
            _log.warning("an automatic top-up cannot charge: %s", error.message)
            return False

    async def act_on(self, seen: StoredTopUp, *, available_micro_usd: int, now: datetime) -> bool:
        """Begin a payment if that many credits, read after `seen`, are too few; return whether one was begun.

        Raises BusError, DatabaseUnavailable, and PurchaseRefused if the billing file does not sell the amount.
        """
        tenant = self._find_tenant(seen.tenant)
        month = month_window("UTC" if tenant is None else tenant.time_zone, now)
        return await self._store.begin(seen, self._payment(seen, now), available_micro_usd, month) is not None

    def _payment(self, terms: StoredTopUp, now: datetime) -> StoredPurchase:
        offer = offer_for_price(self._plan, from_cents(terms.amount_cents))
        purchase = ids.new(ids.PURCHASE)
        return StoredPurchase(
            purchase=purchase,
            tenant=terms.tenant,
            kind=PurchaseKind.TOP_UP,
            package=offer.package,
            amount_cents=offer.amount_cents,
            currency=CURRENCY,
            credits_micro_usd=offer.credits_micro_usd,
            state=PurchaseState.OPENING,
            idempotency_key=purchase,
            actor=_ACTOR,
            created_at=now,
            next_step_at=now,
        )
