"""The double of Stripe by the official package: subscriptions, invoices, saved cards, the portal, and time that passes."""

import httpx
import pytest
import stripe

from deploy.billing_demo.stripe.server import StripeDouble

MONTH_SECONDS = 32 * 86_400


async def monthly_price(client: stripe.StripeClient, amount: int = 2000) -> stripe.Price:
    product = await client.v1.products.create_async({"name": "Growth"})
    return await client.v1.prices.create_async(
        {"product": product.id, "currency": "usd", "unit_amount": amount, "recurring": {"interval": "month"}}
    )


async def customer_with(client: stripe.StripeClient, token: str = "pm_card_visa") -> stripe.Customer:
    customer = await client.v1.customers.create_async({"email": "a@acme.test"})
    method = await client.v1.payment_methods.attach_async(token, {"customer": customer.id})
    return await client.v1.customers.update_async(
        customer.id, {"invoice_settings": {"default_payment_method": method.id}}
    )


async def forward(double: StripeDouble, seconds: int) -> None:
    async with httpx.AsyncClient() as control:
        answer = await control.post(f"{double.url}/demo/time", json={"seconds": seconds})
    assert answer.status_code == 200


async def test_a_session_begins_a_subscription(client: stripe.StripeClient) -> None:
    price = await monthly_price(client)
    session = await client.v1.checkout.sessions.create_async(
        {
            "mode": "subscription",
            "success_url": "http://127.0.0.1:9/done",
            "line_items": [{"price": price.id, "quantity": 1}],
            "subscription_data": {"metadata": {"keyferry_tenant": "acme"}},
        }
    )
    assert session.url is not None
    async with httpx.AsyncClient() as browser:
        assert (await browser.post(session.url, data={"card": "4000000000000002"})).status_code == 402
        assert (await browser.post(session.url, data={"card": "4242424242424242"})).status_code == 303
    paid = await client.v1.checkout.sessions.retrieve_async(session.id, {"expand": ["subscription.latest_invoice"]})
    subscription = paid.subscription
    assert isinstance(subscription, stripe.Subscription)
    assert (subscription.status, subscription.metadata["keyferry_tenant"]) == ("active", "acme")
    invoice = subscription.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert (invoice.status, invoice.amount_paid, invoice.billing_reason) == ("paid", 2000, "subscription_create")
    assert invoice.parent is not None
    assert invoice.parent.subscription_details is not None
    assert invoice.parent.subscription_details.subscription == subscription.id
    (payment,) = (await client.v1.invoice_payments.list_async({"invoice": invoice.id})).data
    assert payment.payment.payment_intent is not None
    types = {event.type for event in (await client.v1.events.list_async({"limit": 100})).data}
    assert {"customer.subscription.created", "invoice.paid", "checkout.session.completed"} <= types


async def test_a_subscription_renews_fails_recovers_and_ends(client: stripe.StripeClient, double: StripeDouble) -> None:
    price, customer = await monthly_price(client), await customer_with(client)
    begun = await client.v1.subscriptions.create_async({"customer": customer.id, "items": [{"price": price.id}]})
    assert begun.status == "active"
    await forward(double, MONTH_SECONDS)
    invoices = (await client.v1.invoices.list_async({"subscription": begun.id})).data
    assert [(invoice.billing_reason, invoice.status) for invoice in invoices] == [
        ("subscription_cycle", "paid"),
        ("subscription_create", "paid"),
    ]
    failing = await client.v1.payment_methods.attach_async("pm_card_chargeCustomerFail", {"customer": customer.id})
    await client.v1.subscriptions.update_async(begun.id, {"default_payment_method": failing.id})
    await forward(double, MONTH_SECONDS)
    assert (await client.v1.subscriptions.retrieve_async(begun.id)).status == "past_due"
    (unpaid,) = (await client.v1.invoices.list_async({"status": "open"})).data
    good = await client.v1.payment_methods.attach_async("pm_card_mastercard", {"customer": customer.id})
    assert (await client.v1.invoices.pay_async(unpaid.id, {"payment_method": good.id})).status == "paid"
    assert (await client.v1.subscriptions.retrieve_async(begun.id)).status == "active"
    await client.v1.subscriptions.update_async(
        begun.id, {"cancel_at_period_end": True, "default_payment_method": good.id}
    )
    await forward(double, MONTH_SECONDS)
    ended = await client.v1.subscriptions.retrieve_async(begun.id)
    assert ended.status == "canceled"
    assert (await client.v1.subscriptions.list_async({"customer": customer.id})).data == []


async def test_a_subscription_without_a_card_is_refused(client: stripe.StripeClient) -> None:
    price = await monthly_price(client)
    customer = await client.v1.customers.create_async({"email": "a@acme.test"})
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        await client.v1.subscriptions.create_async({"customer": customer.id, "items": [{"price": price.id}]})
    assert (await client.v1.subscriptions.list_async({"status": "all"})).data == []


async def test_another_price_counts_from_the_next_invoice(client: stripe.StripeClient, double: StripeDouble) -> None:
    cheap, dear, customer = await monthly_price(client), await monthly_price(client, 9000), await customer_with(client)
    begun = await client.v1.subscriptions.create_async({"customer": customer.id, "items": [{"price": cheap.id}]})
    item = begun.items.data[0].id
    await client.v1.subscriptions.update_async(begun.id, {"items": [{"id": item, "price": dear.id}]})
    await forward(double, MONTH_SECONDS)
    newest = (await client.v1.invoices.list_async({"subscription": begun.id, "limit": 1})).data[0]
    assert newest.total == 9000
    canceled = await client.v1.subscriptions.cancel_async(begun.id)
    assert canceled.status == "canceled"
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.subscriptions.cancel_async(begun.id)


async def test_a_saved_card_that_asks_once_is_charged_later(client: stripe.StripeClient) -> None:
    customer = await client.v1.customers.create_async({"email": "a@acme.test"})
    setup = await client.v1.setup_intents.create_async(
        {"customer": customer.id, "payment_method": "pm_card_authenticationRequiredOnSetup", "confirm": True}
    )
    assert (setup.status, setup.usage) == ("succeeded", "off_session")
    charge: stripe.params.PaymentIntentCreateParams = {
        "amount": 500,
        "currency": "usd",
        "customer": customer.id,
        "payment_method": str(setup.payment_method),
        "off_session": True,
        "confirm": True,
    }
    assert (await client.v1.payment_intents.create_async(charge)).status == "succeeded"
    always = await client.v1.payment_methods.attach_async("pm_card_threeDSecure2Required", {"customer": customer.id})
    with pytest.raises(stripe.CardError) as caught:
        await client.v1.payment_intents.create_async({**charge, "payment_method": always.id})
    assert caught.value.code == "authentication_required"


async def test_the_portal_ends_a_subscription(client: stripe.StripeClient) -> None:
    price, customer = await monthly_price(client), await customer_with(client)
    begun = await client.v1.subscriptions.create_async({"customer": customer.id, "items": [{"price": price.id}]})
    portal = await client.v1.billing_portal.sessions.create_async(
        {"customer": customer.id, "return_url": "http://127.0.0.1:9/back"}
    )
    async with httpx.AsyncClient(follow_redirects=True) as browser:
        assert begun.id in (await browser.get(portal.url)).text
        answer = await browser.post(portal.url, data={"subscription": begun.id})
    assert "You have no subscription." in answer.text


async def test_an_authorised_payment_is_captured_in_part_or_canceled(client: stripe.StripeClient) -> None:
    held: stripe.params.PaymentIntentCreateParams = {
        "amount": 1000,
        "currency": "eur",
        "payment_method": "pm_card_visa",
        "capture_method": "manual",
        "confirm": True,
    }
    intent = await client.v1.payment_intents.create_async(held)
    assert (intent.status, intent.amount_capturable) == ("requires_capture", 1000)
    captured = await client.v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 600})
    assert (captured.status, captured.amount_received) == ("succeeded", 600)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_intents.cancel_async(intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"
    other = await client.v1.payment_intents.create_async(held)
    assert (await client.v1.payment_intents.cancel_async(other.id)).status == "canceled"
    balance = await client.v1.balance.retrieve_async()
    assert [(row.currency, row.amount) for row in balance.pending] == [("eur", 600 - 47)]


async def test_what_a_bank_does_is_asked_for_by_the_control_interface(
    client: stripe.StripeClient, double: StripeDouble
) -> None:
    intent = await client.v1.payment_intents.create_async(
        {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )
    async with httpx.AsyncClient(base_url=f"{double.url}/demo") as control:
        refund = (await control.post("/refunds", json={"charge": intent.latest_charge, "amount": 300})).json()
        await control.post("/refunds/fail", json={"refund": refund["id"]})
        assert (await client.v1.refunds.retrieve_async(refund["id"])).status == "failed"
        dispute = (await control.post("/disputes", json={"charge": intent.latest_charge})).json()
        assert dispute["amount"] == 1000
        await control.post("/disputes/close", json={"dispute": dispute["id"], "won": True})
        assert (await client.v1.disputes.retrieve_async(dispute["id"])).status == "won"
        assert (await control.post("/disputes", json={})).status_code == 400
        assert (await control.get("/state")).json()["account"] == double.state.account_id
    account = await client.v1.accounts.retrieve_current_async()
    assert account.id == double.state.account_id
