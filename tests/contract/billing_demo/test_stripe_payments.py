"""The double of Stripe by the official package: customers, prices, checkout, payments, refunds and disputes."""

from typing import Any

import httpx
import pytest
import stripe

TEN_DOLLARS = 1000


async def checkout(client: stripe.StripeClient, **params: object) -> stripe.checkout.Session:
    """Create a session for ten dollars."""
    whole: Any = {
        "mode": "payment",
        "success_url": "http://127.0.0.1:9/done?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "http://127.0.0.1:9/back",
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": "usd",
                    "unit_amount": TEN_DOLLARS,
                    "product_data": {"name": "10 000 credits"},
                },
            }
        ],
        "payment_intent_data": {"metadata": {"keyferry_tenant": "acme"}},
        **params,
    }
    return await client.v1.checkout.sessions.create_async(whole)


async def pay(session: stripe.checkout.Session, card: str = "4242424242424242", action: str = "pay") -> httpx.Response:
    """Send the form of a session's page."""
    assert session.url is not None
    async with httpx.AsyncClient() as browser:
        shown = await browser.get(session.url)
        assert shown.status_code == 200
        return await browser.post(session.url, data={"action": action, "card": card, "email": "a@acme.test"})


async def event_types(client: stripe.StripeClient) -> list[str]:
    """Return the types of all events, the oldest first."""
    page = await client.v1.events.list_async({"limit": 100})
    return [event.type for event in reversed(page.data)]


async def test_a_paid_session_has_a_charge_and_a_balance(client: stripe.StripeClient) -> None:
    customer = await client.v1.customers.create_async({"email": "a@acme.test", "metadata": {"keyferry_tenant": "acme"}})
    session = await checkout(client, customer=customer.id)
    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
    answer = await pay(session)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"http://127.0.0.1:9/done?session={session.id}"
    paid = await client.v1.checkout.sessions.retrieve_async(
        session.id, {"expand": ["line_items", "payment_intent.latest_charge.balance_transaction"]}
    )
    assert (paid.status, paid.payment_status, paid.amount_total) == ("complete", "paid", TEN_DOLLARS)
    assert paid.line_items is not None
    assert paid.line_items.data[0].description == "10 000 credits"
    intent = paid.payment_intent
    assert isinstance(intent, stripe.PaymentIntent)
    assert (intent.status, intent.amount_received, intent.customer) == ("succeeded", TEN_DOLLARS, customer.id)
    assert intent.metadata["keyferry_tenant"] == "acme"
    charge = intent.latest_charge
    assert isinstance(charge, stripe.Charge)
    balance = charge.balance_transaction
    assert isinstance(balance, stripe.BalanceTransaction)
    assert (balance.amount, balance.fee, balance.net) == (1000, 59, 941)
    assert (await event_types(client))[-3:] == [
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]


async def test_a_declined_card_leaves_the_session_open_for_another_one(client: stripe.StripeClient) -> None:
    session = await checkout(client)
    declined = await pay(session, "4000000000009995")
    assert declined.status_code == 402
    assert "insufficient funds" in declined.text
    assert (await client.v1.checkout.sessions.retrieve_async(session.id)).status == "open"
    assert (await pay(session)).status_code == 303
    intents = await client.v1.payment_intents.list_async()
    assert [intent.status for intent in intents.data] == ["succeeded"]
    assert "payment_intent.payment_failed" in await event_types(client)


async def test_a_person_may_leave_the_page_and_come_back(client: stripe.StripeClient) -> None:
    session = await checkout(client)
    left = await pay(session, action="cancel")
    assert (left.status_code, left.headers["location"]) == (303, "http://127.0.0.1:9/back")
    assert (await client.v1.checkout.sessions.retrieve_async(session.id)).payment_status == "unpaid"


async def test_an_expired_session_cannot_be_paid(client: stripe.StripeClient) -> None:
    session = await checkout(client)
    assert (await client.v1.checkout.sessions.expire_async(session.id)).status == "expired"
    assert session.url is not None
    async with httpx.AsyncClient() as browser:
        assert (await browser.post(session.url, data={"card": "4242424242424242"})).status_code == 410
    assert (await event_types(client))[-1] == "checkout.session.expired"


async def test_a_bank_may_ask_for_a_confirmation(client: stripe.StripeClient) -> None:
    session = await checkout(client)
    asked = await pay(session, "4000002760003184")
    assert "Your bank asks" in asked.text
    assert (await pay(session, "4000002760003184", "refuse")).status_code == 402
    assert (await pay(session, "4000002760003184", "confirm")).status_code == 303


async def test_a_saved_card_pays_without_its_owner_until_it_is_declined(client: stripe.StripeClient) -> None:
    customer = await client.v1.customers.create_async({"email": "a@acme.test"})
    data = {"setup_future_usage": "off_session", "metadata": {"a": "b"}}
    session = await checkout(client, customer=customer.id, payment_intent_data=data)
    await pay(session)
    (method,) = (await client.v1.customers.payment_methods.list_async(customer.id)).data
    paid = await client.v1.payment_intents.create_async(
        {
            "amount": 5000,
            "currency": "usd",
            "customer": customer.id,
            "payment_method": method.id,
            "off_session": True,
            "confirm": True,
        }
    )
    assert paid.status == "succeeded"
    failing = await client.v1.payment_methods.attach_async("pm_card_chargeCustomerFail", {"customer": customer.id})
    with pytest.raises(stripe.CardError) as caught:
        await client.v1.payment_intents.create_async(
            {
                "amount": 5000,
                "currency": "usd",
                "customer": customer.id,
                "payment_method": failing.id,
                "off_session": True,
                "confirm": True,
            }
        )
    assert caught.value.code == "card_declined"
    assert caught.value.error is not None
    assert caught.value.error.decline_code == "generic_decline"
    assert caught.value.error.payment_intent is not None
    intent = await client.v1.payment_intents.retrieve_async(caught.value.error.payment_intent.id)
    assert intent.status == "requires_payment_method"
    again = await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": method.id, "off_session": True})
    assert again.status == "succeeded"


async def test_refunds_never_exceed_the_charge(client: stripe.StripeClient) -> None:
    session = await checkout(client)
    await pay(session)
    intent = (await client.v1.checkout.sessions.retrieve_async(session.id)).payment_intent
    assert isinstance(intent, str)
    part = await client.v1.refunds.create_async({"payment_intent": intent, "amount": 400, "metadata": {"why": "x"}})
    assert (part.status, part.amount) == ("succeeded", 400)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        await client.v1.refunds.create_async({"payment_intent": intent, "amount": 601})
    await client.v1.refunds.create_async({"payment_intent": intent})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.refunds.create_async({"payment_intent": intent})
    assert caught.value.code == "charge_already_refunded"
    (charge,) = (await client.v1.charges.list_async({"payment_intent": intent, "expand": ["data.refunds"]})).data
    assert (charge.amount_refunded, charge.refunded) == (1000, True)
    assert charge.refunds is not None
    assert [refund.amount for refund in charge.refunds.data] == [600, 400]


@pytest.mark.parametrize(
    ("evidence", "status", "balance"),
    [("winning_evidence", "won", 941 - 1500), ("losing_evidence", "lost", -59 - 1500)],
)
async def test_disputes_are_won_and_lost_by_evidence(
    client: stripe.StripeClient, evidence: str, status: str, balance: int
) -> None:
    session = await checkout(client)
    await pay(session, "4000000000000259")
    (dispute,) = (await client.v1.disputes.list_async()).data
    assert (dispute.status, dispute.amount, dispute.reason) == ("needs_response", 1000, "fraudulent")
    closed = await client.v1.disputes.update_async(dispute.id, {"evidence": {"uncategorized_text": evidence}})
    assert closed.status == status
    rows = (await client.v1.balance_transactions.list_async()).data
    assert sum(row.net for row in rows) == balance
    assert "charge.dispute.closed" in await event_types(client)
    with pytest.raises(stripe.InvalidRequestError, match="charged back"):
        await client.v1.refunds.create_async({"charge": str(dispute.charge)})


async def test_a_zero_decimal_currency_has_no_minor_units(client: stripe.StripeClient) -> None:
    intent = await client.v1.payment_intents.create_async(
        {"amount": 1000, "currency": "jpy", "payment_method": "pm_card_visa", "confirm": True}
    )
    assert (intent.status, intent.amount, intent.currency) == ("succeeded", 1000, "jpy")
    with pytest.raises(stripe.InvalidRequestError, match="at least 50 jpy"):
        await client.v1.payment_intents.create_async({"amount": 49, "currency": "jpy"})
    with pytest.raises(stripe.InvalidRequestError, match="Invalid currency: xyz"):
        await client.v1.payment_intents.create_async({"amount": 1000, "currency": "xyz"})


async def test_products_and_prices_are_found_by_their_lookup_keys(client: stripe.StripeClient) -> None:
    product = await client.v1.products.create_async({"name": "Credits", "metadata": {"keyferry": "credits"}})
    price = await client.v1.prices.create_async(
        {"product": product.id, "currency": "usd", "unit_amount": 5000, "lookup_key": "credits_50"}
    )
    assert [row.id for row in (await client.v1.prices.list_async({"lookup_keys": ["credits_50"]})).data] == [price.id]
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        await client.v1.prices.create_async(
            {"product": product.id, "currency": "usd", "unit_amount": 6000, "lookup_key": "credits_50"}
        )
    moved = await client.v1.prices.create_async(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 6000,
            "lookup_key": "credits_50",
            "transfer_lookup_key": True,
        }
    )
    await client.v1.prices.update_async(price.id, {"active": False})
    assert [row.id for row in (await client.v1.prices.list_async({"active": True})).data] == [moved.id]
    found = await client.v1.products.search_async({"query": "metadata['keyferry']:'credits' AND active:'true'"})
    assert [row.id for row in found.data] == [product.id]
    await client.v1.products.update_async(product.id, {"metadata": {"keyferry": ""}, "name": "Credits now"})
    assert (await client.v1.products.retrieve_async(product.id)).metadata.to_dict() == {}
