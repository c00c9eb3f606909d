"""Automatic top-ups: one payment at a time, never beyond the ceiling, paused after failures, whatever stops between."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.billing_demo.faults import FailureKind
from keyferry.contracts.payments import PaymentChange, PaymentChanged
from keyferry.contracts.purchases import (
    GetTopUp,
    ListPurchases,
    Purchase,
    PurchaseKind,
    PurchaseState,
    TopUp,
    TopUpState,
)
from keyferry.runtime.bus.requests import BusError, Refused
from services.billing.purchases.assembly import PurchaseParts
from tests.integration.billing.purchases.shop import (
    AUTHENTICATES_ALWAYS,
    FAILS_LATER,
    TENANT,
    Shop,
    resume,
    save_card,
    top_up,
)

TEN_DOLLARS = 1000
USD_10_MICRO = 10_000_000


async def state(parts: PurchaseParts) -> TopUp:
    return await parts.handlers.get_top_up(GetTopUp(tenant=TENANT))


async def automatic(parts: PurchaseParts) -> list[Purchase]:
    listed = await parts.handlers.list_purchases(ListPurchases(tenant=TENANT, limit=100))
    return [purchase for purchase in listed.purchases if purchase.kind is PurchaseKind.TOP_UP]


async def work(shop: Shop, parts: PurchaseParts, rounds: int = 2, **span: float) -> None:
    """Let time pass, and do what is due."""
    for _ in range(rounds):
        shop.forward(**(span or {"seconds": 20}))
        await parts.job.work()


async def ready(shop: Shop, parts: PurchaseParts, card: str = "4242424242424242", **terms: Any) -> None:
    """Save a card and terms, with no credits left."""
    await save_card(shop, parts, card)
    await parts.handlers.save_top_up(top_up(**terms))
    shop.ledger.available[TENANT] = 0
    shop.paid_before = shop.charged_cents()


def automatic_cents(shop: Shop) -> int:
    return shop.charged_cents() - shop.paid_before


async def events(shop: Shop) -> list[PaymentChanged]:
    engine = create_async_engine(shop.url_file.read_text().strip())
    async with engine.connect() as connection:
        query = text(
            "SELECT payload FROM billing.event_outbox WHERE subject LIKE 'kf.v1.payment.changed.%' ORDER BY id"
        )
        rows = list(await connection.scalars(query))
    await engine.dispose()
    return [PaymentChanged.decode(bytes(row)) for row in rows]


async def test_low_credits_are_bought_with_the_saved_card(shop: Shop) -> None:
    async with shop.process() as parts:
        await ready(shop, parts)
        await work(shop, parts)
        (bought,) = await automatic(parts)
        assert bought.state is PurchaseState.CREDITED
        assert shop.ledger.available[TENANT] == USD_10_MICRO
        await work(shop, parts, rounds=3)
        shown = await state(parts)
        assert len(await automatic(parts)) == 1, "there is enough now"
    assert (shown.state, int(shown.spent_this_month_usd)) == (TopUpState.ACTIVE, 10)
    assert shown.payment_method == "visa ending in 4242"
    assert automatic_cents(shop) == TEN_DOLLARS


async def test_nothing_is_charged_without_a_payment_method_or_above_the_threshold(shop: Shop) -> None:
    async with shop.process() as parts:
        await parts.handlers.save_top_up(top_up())
        await work(shop, parts)
        assert (await state(parts)).state is TopUpState.NEEDS_PAYMENT_METHOD
        await save_card(shop, parts)
        shop.ledger.available[TENANT] = 1_000_001
        await work(shop, parts)
        assert await automatic(parts) == []
        shop.ledger.available[TENANT] = 1_000_000
        await work(shop, parts)
        assert len(await automatic(parts)) == 1, "at the threshold"


async def test_many_processes_charge_once(shop: Shop) -> None:
    async with shop.process() as one, shop.process() as two, shop.process() as three:
        await ready(shop, one)
        for _ in range(3):
            shop.forward(seconds=20)
            await asyncio.gather(*(parts.job.work() for parts in (one, two, three) for _ in range(3)))
        assert len(await automatic(one)) == 1
    assert automatic_cents(shop) == TEN_DOLLARS
    assert shop.ledger.available[TENANT] == USD_10_MICRO


async def test_two_processes_at_one_payment_charge_once(shop: Shop) -> None:
    async with shop.process() as one, shop.process() as two:
        await ready(shop, one)
        # The claims have run out: both work on the same payment at the same moment.
        shop.forward(seconds=20)
        await one.checks.check_due(shop.clock())
        (payment,) = await one.purchases.claim_due(shop.clock(), 10)
        await asyncio.gather(*(parts.charges.step(payment, wanted=True) for parts in (one, two, one)))
        await work(shop, two, minutes=3)
    assert automatic_cents(shop) == TEN_DOLLARS
    assert shop.ledger.available[TENANT] == USD_10_MICRO


@pytest.mark.parametrize(
    "path", [r"/v1/payment_intents", r"/v1/payment_intents/[^/]+/confirm", r"/v1/payment_intents/[^/]+"]
)
@pytest.mark.parametrize("kind", [FailureKind.LOST_ANSWER, FailureKind.SERVER_ERROR, FailureKind.RATE_LIMIT])
async def test_an_outage_at_any_call_charges_once(shop: Shop, path: str, kind: FailureKind) -> None:
    async with shop.process() as parts:
        await ready(shop, parts)
        shop.fail(kind, path, times=3)
        await work(shop, parts)
    async with shop.process() as parts:
        await work(shop, parts, rounds=3, minutes=3)
        (bought,) = await automatic(parts)
        assert bought.state is PurchaseState.CREDITED
        assert (await state(parts)).state is TopUpState.ACTIVE
    assert automatic_cents(shop) == TEN_DOLLARS
    assert shop.ledger.available[TENANT] == USD_10_MICRO


@pytest.mark.parametrize("step", ["before_recording", "after_recording"])
async def test_a_stop_between_charge_and_record_charges_and_credits_once(shop: Shop, step: str) -> None:
    def stop() -> None:
        setattr(shop.ledger, step, lambda: None)
        raise BusError("stopped here")

    async with shop.process() as parts:
        await ready(shop, parts)
        setattr(shop.ledger, step, stop)
        await work(shop, parts, rounds=1)
        shown = await state(parts)
        assert (shown.state, int(shown.spent_this_month_usd)) == (TopUpState.CHARGING, 10)
    async with shop.process() as parts:
        await work(shop, parts, rounds=3, minutes=3)
        assert [bought.state for bought in await automatic(parts)] == [PurchaseState.CREDITED]
    assert automatic_cents(shop) == TEN_DOLLARS
    assert shop.ledger.available[TENANT] == USD_10_MICRO


async def test_the_key_of_a_payment_that_stripe_has_forgotten_charges_once(shop: Shop) -> None:
    async with shop.process() as parts:
        await ready(shop, parts)
        shop.fail(FailureKind.LOST_ANSWER, r"/v1/payment_intents", times=3)
        await work(shop, parts, rounds=1)
        assert shop.count("payment_intent") == 2, "the card's, and one that is not confirmed"
        await work(shop, parts, rounds=2, hours=26)
        (bought,) = await automatic(parts)
        assert bought.state is PurchaseState.CREDITED
    assert shop.count("payment_intent") == 3
    assert automatic_cents(shop) == TEN_DOLLARS


async def test_a_declined_card_is_tried_again_and_then_the_top_up_is_paused(shop: Shop) -> None:
    async with shop.process() as parts:
        await ready(shop, parts, FAILS_LATER)
        await work(shop, parts, rounds=1)
        retrying = await state(parts)
        assert (retrying.state, retrying.failures) == (TopUpState.RETRYING, 1)
        assert retrying.next_attempt_at is not None
        for wait in (timedelta(minutes=16), timedelta(hours=5), timedelta(hours=25)):
            assert (await state(parts)).state is TopUpState.RETRYING
            await work(shop, parts, rounds=1, seconds=wait.total_seconds())
        paused = await state(parts)
        assert paused.state is TopUpState.PAUSED
        assert paused.reason is not None
        assert "failed 4 times" in paused.reason
        await work(shop, parts, rounds=5, hours=30)
        (failed,) = await automatic(parts)
        assert failed.state is PurchaseState.FAILED
        assert [event.change for event in await events(shop)] == [
            *[PaymentChange.TOP_UP_FAILED] * 3,
            PaymentChange.TOP_UP_PAUSED,
        ]
        (intent,) = [each for each in shop.stripe.state.where("payment_intent") if each["id"] == failed.payment_intent]
        assert intent["status"] == "canceled", "nobody can pay it later"
        await save_card(shop, parts)
        await parts.handlers.resume_top_up(resume())
        shop.ledger.available[TENANT] = 0
        await work(shop, parts)
        assert (await state(parts)).state is TopUpState.ACTIVE
    assert shop.ledger.available[TENANT] == USD_10_MICRO


async def test_a_bank_that_wants_its_customer_pauses_at_once(shop: Shop) -> None:
    async with shop.process() as parts:
        await ready(shop, parts, AUTHENTICATES_ALWAYS)
        await work(shop, parts)
        paused = await state(parts)
    assert paused.state is TopUpState.PAUSED
    assert paused.reason is not None
    assert "3-D Secure" in paused.reason
    assert automatic_cents(shop) == 0


async def test_a_pause_survives_a_stop_between_cancellation_and_record(shop: Shop) -> None:
    async with shop.process() as parts:
        await ready(shop, parts, AUTHENTICATES_ALWAYS)
        shop.fail(FailureKind.LOST_ANSWER, r"/v1/payment_intents/[^/]+/cancel", times=3)
        await work(shop, parts, rounds=1)
    async with shop.process() as parts:
        await work(shop, parts, rounds=3, minutes=3)
        assert (await state(parts)).state is TopUpState.PAUSED
    assert automatic_cents(shop) == 0


async def test_the_monthly_ceiling_is_never_exceeded_and_begins_anew(shop: Shop) -> None:
    async with shop.process() as one, shop.process() as two:
        shop.set_time(datetime(2027, 3, 10, tzinfo=UTC))
        await ready(shop, one)
        for _ in range(6):
            shop.ledger.available[TENANT] = 0
            shop.forward(seconds=20)
            await asyncio.gather(one.job.work(), two.job.work(), one.job.work())
            shop.forward(seconds=20)
            await one.job.work()
        reached = await state(one)
        assert (reached.state, int(reached.spent_this_month_usd)) == (TopUpState.CEILING_REACHED, 30)
        assert automatic_cents(shop) == 3 * TEN_DOLLARS
        shop.set_time(reached.month_ends_at - timedelta(seconds=1))
        await one.job.work()
        assert automatic_cents(shop) == 3 * TEN_DOLLARS
        shop.set_time(reached.month_ends_at)
        shop.forward(seconds=20)
        await one.job.work()
        assert int((await state(one)).spent_this_month_usd) == 10
    assert automatic_cents(shop) == 4 * TEN_DOLLARS


async def test_a_payment_across_the_end_of_the_month_counts_in_both(shop: Shop) -> None:
    """March ends in Berlin at 22:00 UTC, with the clocks put forward in between."""
    shop.add_tenant(time_zone="Europe/Berlin")
    end = datetime(2027, 3, 31, 22, tzinfo=UTC)
    async with shop.process() as parts:
        shop.set_time(end - timedelta(hours=1))
        await ready(shop, parts, monthly_ceiling_usd="10")
        shop.fail(FailureKind.RATE_LIMIT, r"/v1/payment_intents")
        shop.set_time(end - timedelta(seconds=30))
        await parts.job.work()
        shown = await state(parts)
        assert (shown.month_ends_at, int(shown.spent_this_month_usd)) == (end, 10)
        shop.set_time(end + timedelta(minutes=10))
        await parts.job.work()
        shop.ledger.available[TENANT] = 0
        for _ in range(3):
            shop.forward(minutes=1)
            await parts.job.work()
        april = await state(parts)
        assert (april.state, int(april.spent_this_month_usd)) == (TopUpState.CEILING_REACHED, 10)
    assert automatic_cents(shop) == TEN_DOLLARS


async def test_a_balance_that_was_read_before_a_payment_is_not_acted_on_after_it(shop: Shop) -> None:
    async with shop.process() as one, shop.process() as two:
        await ready(shop, one)
        shop.forward(seconds=20)
        (seen,) = await one.top_ups.claim_due(shop.clock(), 10)
        await work(shop, two)
        assert shop.ledger.available[TENANT] == USD_10_MICRO
        assert not await one.checks.act_on(seen, available_micro_usd=0, now=shop.clock())
    assert automatic_cents(shop) == TEN_DOLLARS


async def test_a_top_up_that_is_switched_off_meanwhile_charges_nothing(shop: Shop) -> None:
    async with shop.process() as parts:
        await ready(shop, parts, FAILS_LATER)
        await work(shop, parts, rounds=1)
        await parts.handlers.save_top_up(top_up(enabled=False, consent=False))
        await work(shop, parts, rounds=1, minutes=20)
        (dropped,) = await automatic(parts)
        assert dropped.state is PurchaseState.CANCELLED
        assert (await state(parts)).state is TopUpState.OFF


async def test_a_suspended_tenant_is_not_charged(shop: Shop) -> None:
    async with shop.process() as parts:
        await ready(shop, parts)
        shop.add_tenant(suspended=True)
        await work(shop, parts)
        assert await automatic(parts) == []


async def test_a_change_of_another_revision_is_refused(shop: Shop) -> None:
    async with shop.process() as parts:
        saved = await parts.handlers.save_top_up(top_up())
        assert (saved.revision, saved.consent_by) == (1, "operator")
        await parts.handlers.save_top_up(top_up(expected_revision=1))
        with pytest.raises(Refused, match="somebody else has changed"):
            await parts.handlers.save_top_up(top_up(expected_revision=1))
        with pytest.raises(Refused, match="must be 5 to 5000"):
            await parts.handlers.save_top_up(top_up(price_usd="2"))


async def test_what_was_never_saved_is_off_and_cannot_be_resumed(shop: Shop) -> None:
    async with shop.process() as parts:
        assert (await state(parts)).state is TopUpState.OFF
        with pytest.raises(Refused, match="no automatic top-up"):
            await parts.handlers.resume_top_up(resume())
