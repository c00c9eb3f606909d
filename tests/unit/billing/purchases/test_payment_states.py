"""What Stripe's states mean, and which way a purchase goes."""

from itertools import product
from typing import Any

import pytest

from keyferry.contracts.purchases import FINAL_STATES, PurchaseState
from services.billing.purchases.payment_states import may_become, state_of_intent, state_of_session


@pytest.mark.parametrize(
    ("status", "payment", "intent", "state"),
    [
        ("open", "unpaid", None, PurchaseState.OPEN),
        ("open", "unpaid", "requires_payment_method", PurchaseState.OPEN),
        ("expired", "unpaid", None, PurchaseState.EXPIRED),
        ("complete", "paid", "succeeded", PurchaseState.PAID),
        ("complete", "unpaid", "processing", PurchaseState.PROCESSING),
        ("complete", "unpaid", "requires_payment_method", PurchaseState.FAILED),
        ("complete", "unpaid", "canceled", PurchaseState.CANCELLED),
    ],
)
def test_a_session_has_the_state_of_its_payment(
    status: str, payment: str, intent: str | None, state: PurchaseState
) -> None:
    session: dict[str, Any] = {"status": status, "payment_status": payment}
    assert state_of_session(session, intent) is state


def test_an_intent_that_can_be_confirmed_is_not_begun() -> None:
    for status in ("requires_payment_method", "requires_confirmation", "requires_action"):
        assert state_of_intent(status) is PurchaseState.OPENING


def test_a_purchase_never_goes_back() -> None:
    for before, after in product(PurchaseState, PurchaseState):
        if may_become(before, after):
            assert before is not after
            assert before is not PurchaseState.CREDITED, "nothing follows"
            assert before not in FINAL_STATES or after is PurchaseState.PAID, "only money that came after all"
            assert (before, after) != (PurchaseState.PAID, PurchaseState.EXPIRED)
            assert not (may_become(after, before) and after not in FINAL_STATES)


def test_money_that_comes_after_all_counts() -> None:
    for state in (PurchaseState.EXPIRED, PurchaseState.FAILED, PurchaseState.CANCELLED):
        assert may_become(state, PurchaseState.PAID)
    assert not may_become(PurchaseState.PAID, PurchaseState.FAILED)
