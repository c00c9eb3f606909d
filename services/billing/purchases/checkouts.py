"""Checkout: opens pages of Stripe, and follows each to its end, whether its webhooks come or not."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from keyferry.billing.plan import BillingPlan
from keyferry.contracts import ids
from keyferry.contracts.purchases import CURRENCY, CancelCheckout, CreateCheckout, PurchaseKind, PurchaseState
from keyferry.contracts.service import ErrorCode
from services.billing.purchases.checkout_params import (
    PAGE_LIFETIME,
    custom_line_item,
    may_open,
    offer_of,
    session_params,
)
from services.billing.purchases.customers import Customers
from services.billing.purchases.offers import offer_for
from services.billing.purchases.package_sync import PackageSynchronizer
from services.billing.purchases.payment_states import state_of_session
from services.billing.purchases.purchase_store import CreditPurchaseStore
from services.billing.purchases.rule_violation import PurchaseRefused
from services.billing.purchases.settlement import PurchaseSettlement
from services.billing.purchases.stored_purchase import StoredPurchase
from services.billing.purchases.stripe_access import object_id
from services.billing.purchases.stripe_calls import StripeCalls
from services.billing.stripe.client import StripeDict, StripeRequestRefused

_log = logging.getLogger(__name__)

_AFTER_EXPIRY = timedelta(minutes=1)
_WHILE_PROCESSING = timedelta(hours=1)
"""Some payment methods take days; Stripe's webhook is quicker than this."""
_READ_AGAIN = timedelta(seconds=2)
"""How soon Stripe is asked again about a purchase that a page shows."""
_NEVER_OPENED = "Stripe did not answer in time, so nothing could be paid. Begin a new purchase."


class Checkouts:
    """The purchases of people. `console_url` is where browsers reach the console; `clock` returns the time in UTC.

    All raise StripeFailure, BusError, Refused, DatabaseUnavailable and PurchaseRefused.
    """

    def __init__(
        self,
        store: CreditPurchaseStore,
        calls: StripeCalls,
        customers: Customers,
        packages: PackageSynchronizer,
        settlement: PurchaseSettlement,
        *,
        plan: BillingPlan,
        deployment: str,
        console_url: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._calls = calls
        self._customers = customers
        self._packages = packages
        self._settlement = settlement
        self._plan = plan
        self._deployment = deployment
        self._console_url = console_url
        self._clock = clock

    async def create(self, command: CreateCheckout) -> StoredPurchase:
        """Open a page of Stripe; a repetition with the same idempotency key returns the same page."""
        await self._calls.check()
        now = self._clock()
        offer = offer_for(self._plan, command)
        wanted = StoredPurchase(
            purchase=ids.new(ids.PURCHASE),
            tenant=command.tenant,
            kind=PurchaseKind.CHECKOUT,
            package=offer.package,
            amount_cents=offer.amount_cents,
            currency=CURRENCY,
            credits_micro_usd=offer.credits_micro_usd,
            state=PurchaseState.OPENING,
            return_path=command.return_path,
            save_payment_method=command.save_payment_method,
            idempotency_key=command.idempotency_key,
            actor=command.actor,
            created_at=now,
            next_step_at=now + PAGE_LIFETIME + _AFTER_EXPIRY,
        )
        purchase = await self._store.begin_checkout(wanted)
        return await self._open(purchase) if purchase.state is PurchaseState.OPENING else purchase

    async def refresh(self, purchase: StoredPurchase) -> StoredPurchase:
        """Ask Stripe how far a purchase is, settle it if it is paid, and return it. Not more often than every two seconds."""
        now = self._clock()
        if purchase.is_final or (purchase.read_at is not None and now - purchase.read_at < _READ_AGAIN):
            return purchase
        return await self.step(purchase)

    async def cancel(self, command: CancelCheckout) -> StoredPurchase:
        """Close the page of a purchase that is not paid. Raises PurchaseRefused if it is paid."""
        purchase = await self._store.get(command.tenant, command.purchase)
        if purchase.session is not None and purchase.state is PurchaseState.OPEN:
            try:
                await self._calls.expire_session(purchase.session)
            except StripeRequestRefused:
                _log.info("a page of Checkout was closed or paid already")
        if not purchase.is_final:
            purchase = await self.step(purchase)
        if purchase.state not in (PurchaseState.EXPIRED, PurchaseState.CANCELLED, PurchaseState.FAILED):
            raise PurchaseRefused(
                ErrorCode.CONFLICT, f"the purchase is {purchase.state}, so it cannot be cancelled: ask for a refund"
            )
        return purchase

    async def step(self, purchase: StoredPurchase) -> StoredPurchase:
        """Do what is next for a purchase that is not final, and return it."""
        if purchase.session is None:
            return await self._give_up_or_wait(purchase)
        session = await self._calls.get_session(purchase.session)
        intent: Any = session.get("payment_intent")
        status = intent["status"] if isinstance(intent, dict) else None
        state = state_of_session(session, status)
        now = self._clock()
        if state is PurchaseState.PAID and isinstance(intent, dict):
            return await self._settle(purchase, intent)
        next_step = now + _WHILE_PROCESSING if state is PurchaseState.PROCESSING else purchase.next_step_at
        if state is PurchaseState.OPEN and next_step is not None and next_step <= now:
            next_step = now + _AFTER_EXPIRY
        found = await self._store.note(purchase, read_at=now, payment_intent=object_id(intent), next_step_at=next_step)
        return await self._store.advance(found, state, reason=_reason(state, intent))

    async def _settle(self, purchase: StoredPurchase, intent: StripeDict) -> StoredPurchase:
        method = intent.get("payment_method")
        if purchase.save_payment_method and isinstance(method, dict):
            await self._customers.save_payment_method(purchase.tenant, method, purchase.actor)
        paid = await self._settlement.settle(purchase, intent)
        if paid.state is not PurchaseState.PAID:
            return paid
        return await self._store.advance(paid, PurchaseState.CREDITED, credited_at=self._clock())

    async def _open(self, purchase: StoredPurchase) -> StoredPurchase:
        """Ask Stripe for the page of a stored purchase. The idempotency key is its id, so that there is one page at most."""
        if not may_open(purchase, self._clock()):
            return await self._give_up_or_wait(purchase)
        customer = await self._customers.ensure(purchase.tenant, purchase.actor)
        params = session_params(
            purchase,
            customer=customer,
            line_item=await self._line_item(purchase),
            deployment=self._deployment,
            console_url=self._console_url,
        )
        try:
            session = await self._calls.create_session(params, purchase.purchase)
        except StripeRequestRefused as error:
            # Repeating it would not help, also where the console's address has changed since the first try.
            await self._fail(purchase, str(error))
            raise
        expires_at = datetime.fromtimestamp(session["expires_at"], UTC)
        values = {"session": session["id"], "url": session["url"], "expires_at": expires_at}
        purchase_with_page = await self._store.advance(
            purchase, PurchaseState.OPEN, next_step_at=expires_at + _AFTER_EXPIRY, **values
        )
        return (
            purchase_with_page
            if purchase_with_page.session is not None
            else await self._store.note(purchase_with_page, **values)
        )

    async def _line_item(self, purchase: StoredPurchase) -> dict[str, Any]:
        if purchase.package is None:
            return custom_line_item(purchase, await self._packages.credits_product())
        return {"price": await self._packages.price_of(offer_of(purchase))}

    async def _give_up_or_wait(self, purchase: StoredPurchase) -> StoredPurchase:
        """End a purchase whose page nobody was given; until then it can be opened by repeating the request."""
        if may_open(purchase, self._clock()):
            return purchase
        return await self._fail(purchase, _NEVER_OPENED)

    async def _fail(self, purchase: StoredPurchase, reason: str) -> StoredPurchase:
        return await self._store.advance(purchase, PurchaseState.FAILED, reason=reason)


def _reason(state: PurchaseState, intent: Any) -> str | None:
    if state is PurchaseState.EXPIRED:
        return "It was not paid in time. Nothing was charged."
    if state in (PurchaseState.FAILED, PurchaseState.CANCELLED):
        error = intent.get("last_payment_error") if isinstance(intent, dict) else None
        return f"The payment failed: {(error or {}).get('message') or 'the bank gave no reason'}"
    return "The payment is on its way." if state is PurchaseState.PROCESSING else None
