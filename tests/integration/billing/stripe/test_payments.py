"""Payments from Stripe's events to credits: bought, refunded, disputed, and what is refused or parked."""

import base64
from decimal import Decimal
from typing import Any

import pytest

from deploy.billing_demo.stripe.disputes import close_dispute, open_dispute
from deploy.billing_demo.stripe.refunds import fail_refund, refund_charge
from keyferry.contracts.payments import CheckMissingCredits, ListPayments, PaymentState
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.stripe_events import (
    DifferenceKind,
    EventState,
    ListStripeEvents,
    ReceiveWebhook,
    ReplayStripeEvents,
    RunStripeReconciliation,
)
from keyferry.runtime.bus.requests import Refused
from services.billing.stripe.rules import OrderedPayment
from tests.integration.billing.stripe.installation import PaymentInstallation

TEN_DOLLARS = 10_000_000


def refund(installation: PaymentInstallation, payment: str, amount: int | None = None) -> dict[str, Any]:
    charge = installation.charge_of(payment)
    return refund_charge(installation.double.state, charge, amount, reason=None, metadata={})


async def test_credits_are_bought_refunded_in_parts_and_returned_when_a_refund_fails(
    installation: PaymentInstallation,
) -> None:
    parts = installation.parts()
    payment = await installation.pay("acme", 1000, TEN_DOLLARS)
    await installation.deliver_all(parts)
    assert (await installation.credits("acme")).balance == 10_000

    for amount in (333, 333, 334):
        last = refund(installation, payment, amount)
        await installation.deliver_all(parts)
    assert (await installation.credits("acme")).balance == 0

    fail_refund(installation.double.state, last)
    await installation.deliver_all(parts)
    assert (await installation.credits("acme")).balance == 3340

    (shown,) = (await parts.payments.list_payments(ListPayments(tenant="acme"))).payments
    assert shown.state is PaymentState.PARTLY_REFUNDED
    assert (shown.amount, shown.credits, shown.taken_back) == ("10.00 USD", Decimal(10000), Decimal(6660))
    assert (shown.receipt_url or "").startswith("http")


@pytest.mark.parametrize(("currency", "amount", "shown"), [("jpy", 1500, "1500 JPY"), ("kwd", 3120, "3.120 KWD")])
async def test_other_currencies_are_paid_and_refunded_by_their_own_minor_units(
    installation: PaymentInstallation, currency: str, amount: int, shown: str
) -> None:
    parts = installation.parts()
    payment = await installation.pay("acme", amount, TEN_DOLLARS + 1, currency=currency)
    refund(installation, payment, amount // 3 if currency == "jpy" else 1040)
    await installation.deliver_all(parts)
    (found,) = (await parts.payments.list_payments(ListPayments(tenant="acme"))).payments
    assert found.amount == shown
    assert found.taken_back == Decimal(3333333) / 1000


async def test_a_dispute_takes_credits_until_it_is_won_and_keeps_them_if_lost(
    installation: PaymentInstallation,
) -> None:
    parts, state = installation.parts(), installation.double.state
    won, lost = [await installation.pay("acme", 1000, TEN_DOLLARS) for _ in range(2)]
    disputes = [open_dispute(state, installation.charge_of(each), "fraudulent") for each in (won, lost)]
    await installation.deliver_all(parts)
    assert (await installation.credits("acme")).balance == 0

    close_dispute(state, disputes[0], won=True)
    close_dispute(state, disputes[1], won=False)
    await installation.deliver_all(parts)

    assert (await installation.credits("acme")).balance == 10_000
    found = (await parts.payments.list_payments(ListPayments(tenant="acme"))).payments
    assert {each.payment_id: each.state for each in found} == {
        won: PaymentState.PAID,
        lost: PaymentState.DISPUTE_LOST,
    }


async def test_webhooks_that_are_not_stripes_or_not_ours_are_refused(installation: PaymentInstallation) -> None:
    parts = installation.parts()
    await installation.pay("acme", 1000, TEN_DOLLARS)
    event = next(each for each in installation.events() if each["type"] == "payment_intent.succeeded")
    now = int(installation.now().timestamp())
    good = installation.webhook(event)
    cases = {
        "wrong secret": (installation.webhook(event, secret="whsec_other"), "no signature fits"),
        "old": (installation.webhook(event, at=now - 301), "more than the 300 s"),
        "future": (installation.webhook(event, at=now + 86400), "in the future"),
        "no header": (ReceiveWebhook(signature="", body=good.body), "missing"),
        "changed": (
            ReceiveWebhook(
                signature=good.signature,
                body=base64.b64encode(base64.b64decode(good.body).replace(b"1000", b"9000")).decode(),
            ),
            "no signature fits",
        ),
        "connected account": (installation.webhook(event | {"account": "acct_other"}), "acct_other"),
        "live mode": (installation.webhook(event | {"livemode": True}), "live mode"),
        "no event": (installation.webhook({"object": "charge", "id": "ch_1"}), "no event of Stripe"),
        "huge": (ReceiveWebhook(signature=good.signature, body=base64.b64encode(b"x" * 262145).decode()), "larger"),
    }
    for name, (command, words) in cases.items():
        with pytest.raises(Refused, match=words) as refused:
            await parts.intake.receive(command)
        assert refused.value.refusal.code is ErrorCode.INVALID, name
    assert (await parts.events.page(ListStripeEvents())).events == []
    streak = await installation.rows("SELECT failures, reported FROM billing.stripe_health")
    assert streak[0].failures >= 3
    assert streak[0].reported, "the operators have an alert"

    installation.secrets.webhook = ["whsec_" + "new" * 8, *installation.secrets.webhook]
    assert (await parts.intake.receive(good)).state is EventState.PENDING, "both secrets are good during a rotation"
    installation.secrets.webhook = installation.secrets.webhook[:1]
    with pytest.raises(Refused, match="no signature fits"):
        await parts.intake.receive(good)


async def test_what_is_not_certain_is_parked_and_credited_once_it_is(installation: PaymentInstallation) -> None:
    parts = installation.parts()
    payment = await installation.pay("acme", 1000, TEN_DOLLARS, keyferry_purchase="pur_1")
    installation.orders["pur_1"] = OrderedPayment("acme", TEN_DOLLARS, 1234, "usd")
    odd = await installation.pay("acme", 1000, TEN_DOLLARS)
    installation.double.state.get("payment_intent", odd)["currency"] = "zzz"
    await installation.pay("acme", 1000, TEN_DOLLARS, keyferry_credits_micro_usd="lots")
    await installation.pay("acme", 1000, TEN_DOLLARS, keyferry_deployment="another")
    plain: Any = {"amount": 500, "currency": "usd", "confirm": True, "payment_method": "pm_card_visa"}
    plain |= {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}
    await installation.stripe.v1.payment_intents.create_async(plain)
    await installation.deliver_all(parts)

    found = await parts.events.page(ListStripeEvents(state=EventState.PARKED))
    details = " / ".join(sorted({each.detail or "" for each in found.events}))
    for words in (
        "10.00 USD were paid, and 12.34 USD were ordered",
        "'zzz' is not known",
        "names no amount of credits",
    ):
        assert words in details
    assert (await installation.credits("acme")).balance == 0
    assert found.counts[EventState.IGNORED] > 0

    installation.orders["pur_1"] = OrderedPayment("acme", TEN_DOLLARS, 1000, "usd")
    assert await parts.replay(ReplayStripeEvents(all_parked=True)) > 0
    await installation.process(parts)
    assert (await installation.credits("acme")).balance == 10_000
    states = {
        each.payment_id: each.state
        for each in (await parts.payments.list_payments(ListPayments(tenant="acme"))).payments
    }
    assert states[payment] is PaymentState.PAID
    assert states[odd] is PaymentState.PARKED


async def test_unknown_types_are_recorded_and_acknowledged(installation: PaymentInstallation) -> None:
    parts = installation.parts()
    params: Any = {"email": "a@example.com"}
    await installation.stripe.v1.customers.create_async(params)
    (event,) = [each for each in installation.events() if each["type"] == "customer.created"]
    for expected in (False, True):
        received = await installation.deliver(parts, event)
        assert (received.state, received.repeated) == (EventState.IGNORED, expected)
    (stored,) = (await parts.events.page(ListStripeEvents())).events
    assert (stored.deliveries, stored.detail) == (2, "events of this type have no effect here")


async def test_a_tenant_that_misses_credits_gets_them_exactly_once(installation: PaymentInstallation) -> None:
    parts = installation.parts()
    first = await installation.pay("acme", 1000, TEN_DOLLARS)
    await installation.pay("globex", 1000, TEN_DOLLARS)
    refund(installation, first, 100)

    found = await parts.missing.check(CheckMissingCredits(tenant="acme"))

    assert (found.checked, found.credited, found.taken_back) == (1, Decimal(10000), Decimal(1000))
    assert (await installation.credits("acme")).balance == 9000
    with pytest.raises(Refused, match="try again in"):
        await parts.missing.check(CheckMissingCredits(tenant="acme"))
    await installation.deliver_all(parts)
    assert (await installation.credits("acme")).balance == 9000
    again = await installation.parts().missing.check(CheckMissingCredits(tenant="acme"))
    assert (again.credited, again.taken_back) == (Decimal(0), Decimal(0))


async def test_the_daily_comparison_finds_differences_in_both_directions(installation: PaymentInstallation) -> None:
    parts = installation.parts()
    seen = await installation.pay("acme", 1000, TEN_DOLLARS)
    await installation.deliver_all(parts)
    unseen = await installation.pay("acme", 1000, TEN_DOLLARS)
    today = installation.now().date()
    del installation.double.state.table("payment_intent")[seen]

    report = await parts.reconciler.run(RunStripeReconciliation(day=today))

    assert report.complete, report.detail
    assert {(each.kind, each.subject, each.settled) for each in report.differences} == {
        (DifferenceKind.MISSING_HERE, unseen, True),
        (DifferenceKind.MISSING_AT_STRIPE, seen, False),
    }
    assert (await installation.credits("acme")).balance == 20_000, "what only we have is for people to decide"
    assert await parts.reconciler.list_reports(5) == [report]
    second = await parts.reconciler.run(RunStripeReconciliation(day=today))
    assert [each.kind for each in second.differences] == [DifferenceKind.MISSING_AT_STRIPE]


async def test_an_outage_of_stripe_delays_and_loses_nothing(installation: PaymentInstallation) -> None:
    parts = installation.parts()
    await installation.pay("acme", 1000, TEN_DOLLARS)
    key, installation.secrets.api_key = installation.secrets.api_key, "sk_test_" + "wrong" * 5
    for _ in range(3):
        await installation.deliver_all(parts)
        await installation.change("UPDATE billing.stripe_events SET next_attempt_at = now() WHERE state = 'pending'")
    (health,) = await installation.rows("SELECT * FROM billing.stripe_health WHERE subject = 'stripe-events'")
    assert health.failures >= 3
    assert health.reported

    installation.secrets.api_key = key
    await installation.process(parts)

    assert (await installation.credits("acme")).balance == 10_000
    (health,) = await installation.rows("SELECT * FROM billing.stripe_health WHERE subject = 'stripe-events'")
    assert (health.failures, health.reported) == (0, False)
