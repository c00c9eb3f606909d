"""Charges automatic top-ups: one payment of a tenant at a time, which takes its amount at most once.

A payment is stored before Stripe knows it. Its payment intent is made without being confirmed, so that it takes nothing, and its
id is stored; only then is it confirmed. However often that is repeated after stops and lost answers, one intent is paid once.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from keyferry.contracts.purchases import PurchaseState
from services.billing.purchases.checkout_params import intent_params
from services.billing.purchases.customers import KEY_LIFETIME, Customers
from services.billing.purchases.payment_states import state_of_intent
from services.billing.purchases.purchase_store import CreditPurchaseStore
from services.billing.purchases.settlement import PurchaseSettlement
from services.billing.purchases.stored_purchase import StoredPurchase
from services.billing.purchases.stripe_calls import StripeCalls
from services.billing.purchases.top_up_rules import FailedCharge, after_failure
from services.billing.purchases.top_up_store import TopUpStore
from services.billing.stripe.client import StripeDict, StripeObjectMissing, StripeRequestRefused

_log = logging.getLogger(__name__)

_WHILE_PROCESSING = timedelta(hours=1)
_CANCELLED_ELSEWHERE = "The payment was cancelled at Stripe. Resume automatic top-ups if they should go on."
_SWITCHED_OFF = "Automatic top-ups were switched off before the payment was made. Nothing was charged."
_NO_METHOD = "resource_missing"
_TRY_AGAIN = ("payment_intent_unexpected_state", "idempotency_key_in_use")
_SOON = timedelta(seconds=5)


class TopUpCharges:
    """Works on the automatic payments that are under way.

    All raise StripeFailure, BusError, Refused, DatabaseUnavailable and UnexpectedPayment.
    """

    def __init__(
        self,
        store: CreditPurchaseStore,
        top_ups: TopUpStore,
        calls: StripeCalls,
        customers: Customers,
        settlement: PurchaseSettlement,
        *,
        deployment: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._top_ups = top_ups
        self._calls = calls
        self._customers = customers
        self._settlement = settlement
        self._deployment = deployment
        self._clock = clock

    async def step(self, purchase: StoredPurchase, *, wanted: bool) -> StoredPurchase:
        """Do what is next for a payment and return it. If it is not `wanted` any more, it is cancelled unless it is paid."""
        customer = await self._customers.find(purchase.tenant)
        if customer is None or customer.customer is None or customer.payment_method is None:
            return await self._fail(purchase, after_failure(_NO_METHOD, None, purchase.failures, self._clock()))
        if purchase.payment_intent is None:
            if not wanted:
                return await self._drop(purchase)
            purchase = await self._make_intent(purchase, customer.customer, customer.payment_method)
            if purchase.payment_intent is None:
                return purchase
        intent = await self._calls.get_intent(str(purchase.payment_intent))
        state = state_of_intent(intent["status"])
        if state is not PurchaseState.OPENING:
            return await self._follow(purchase, state, intent)
        if not wanted:
            return await self._cancel(purchase, PurchaseState.CANCELLED, _SWITCHED_OFF)
        return await self._confirm(purchase, intent, customer.payment_method)

    async def _make_intent(self, purchase: StoredPurchase, customer: str, method: str) -> StoredPurchase:
        """Make the payment intent, which takes nothing yet. A second one after the life of the key is never confirmed."""
        params = intent_params(purchase, customer=customer, payment_method=method, deployment=self._deployment)
        lifetimes = (self._clock() - purchase.created_at) // KEY_LIFETIME
        key = f"{purchase.purchase}-{method}-{lifetimes}"
        try:
            intent = await self._calls.create_intent(params, key)
        except (StripeRequestRefused, StripeObjectMissing) as error:
            return await self._fail(purchase, after_failure(_code_of(error), None, purchase.failures, self._clock()))
        return await self._store.set_payment_intent(purchase, intent["id"])

    async def _confirm(self, purchase: StoredPurchase, intent: StripeDict, method: str) -> StoredPurchase:
        key = f"{purchase.purchase}-{method}-confirm-{purchase.failures}"
        try:
            intent = await self._calls.confirm_intent(intent["id"], method, key)
        except (StripeRequestRefused, StripeObjectMissing) as error:
            code = _code_of(error)
            if code in _TRY_AGAIN:
                # Another process, or an earlier try whose answer was lost, confirms it: the next step reads how it is.
                return await self._store.note(purchase, next_step_at=self._clock() + _SOON)
            intent = await self._calls.get_intent(intent["id"])
        else:
            code = "authentication_required"
        state = state_of_intent(intent["status"])
        if state is not PurchaseState.OPENING:
            return await self._follow(purchase, state, intent)
        problem = intent.get("last_payment_error") or {}
        failed = after_failure(
            problem.get("code") or code, problem.get("decline_code"), purchase.failures, self._clock()
        )
        return await self._fail(purchase, failed)

    async def _follow(self, purchase: StoredPurchase, state: PurchaseState, intent: StripeDict) -> StoredPurchase:
        now = self._clock()
        if state is PurchaseState.PAID:
            paid = await self._settlement.settle(purchase, intent)
            if paid.state is not PurchaseState.PAID:
                return paid
            return await self._top_ups.finish(paid, PurchaseState.CREDITED, credited_at=now)
        if state is PurchaseState.PROCESSING:
            return await self._store.advance(purchase, state, next_step_at=now + _WHILE_PROCESSING)
        return await self._pause(purchase, PurchaseState.CANCELLED, _CANCELLED_ELSEWHERE, purchase.failures)

    async def _fail(self, purchase: StoredPurchase, failed: FailedCharge) -> StoredPurchase:
        """Try again later; or cancel the payment and pause, so that nothing is charged until a person resumes."""
        if failed.retry_at is not None:
            return await self._top_ups.note_failure(
                purchase, failed.reason, failed.failures, failed.retry_at, self._clock()
            )
        if purchase.payment_intent is not None:
            return await self._cancel(purchase, PurchaseState.FAILED, failed.reason, failed.failures)
        return await self._pause(purchase, PurchaseState.FAILED, failed.reason, failed.failures)

    async def _cancel(
        self, purchase: StoredPurchase, state: PurchaseState, reason: str, failures: int = 0
    ) -> StoredPurchase:
        """Cancel the payment intent before the payment is given up: if it is paid after all, it is settled instead."""
        try:
            intent = await self._calls.cancel_intent(str(purchase.payment_intent))
        except StripeRequestRefused:
            intent = await self._calls.get_intent(str(purchase.payment_intent))
        found = state_of_intent(intent["status"])
        if found in (PurchaseState.PAID, PurchaseState.PROCESSING):
            return await self._follow(purchase, found, intent)
        if state is PurchaseState.CANCELLED:
            return await self._top_ups.finish(purchase, state, reason=reason)
        return await self._pause(purchase, state, reason, failures)

    async def _pause(
        self, purchase: StoredPurchase, state: PurchaseState, reason: str, failures: int
    ) -> StoredPurchase:
        if await self._top_ups.pause(purchase, state, reason, failures, self._clock()):
            _log.warning("an automatic top-up was paused")
        return await self._store.get(purchase.tenant, purchase.purchase)

    async def _drop(self, purchase: StoredPurchase) -> StoredPurchase:
        return await self._top_ups.finish(purchase, PurchaseState.CANCELLED, reason=_SWITCHED_OFF)


def _code_of(error: StripeRequestRefused | StripeObjectMissing) -> str:
    return _NO_METHOD if isinstance(error, StripeObjectMissing) else error.code or "refused"
