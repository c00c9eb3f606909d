"""Payments in the ledger, in any order and any number of deliveries: credits exactly right, never below zero."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts import ids
from keyferry.contracts.accounts import DEBTS, GRANTED, PAYMENTS, REVENUE, debt_account
from keyferry.contracts.credit import LeaseCredit, LeaseResult, credits_account
from keyferry.contracts.credit_management import ListCreditHistory
from keyferry.contracts.money import plain
from keyferry.contracts.payments import (
    CreditPosted,
    ListRecordedPayments,
    PaymentKind,
    PaymentReceipt,
    RecordPayment,
)
from services.usage_ledger.accounts.credit_store import CreditStore
from services.usage_ledger.accounts.debts import DebtStore
from services.usage_ledger.accounts.rebuild import AccountBalances
from services.usage_ledger.accounts.store import apply_transfers, read_balances
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.audit_log import AuditLog, OwnAction
from services.usage_ledger.credit.store import CreditLeaseStore
from services.usage_ledger.payments.store import InvalidPaymentCursor, OtherPayment, PaymentStore
from tests.integration.usage_ledger.payments.audits import audit_log_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SIGNS = {
    PaymentKind.PURCHASE: 1,
    PaymentKind.REFUND: -1,
    PaymentKind.DISPUTE: -1,
    PaymentKind.DISPUTE_WON: 1,
    PaymentKind.CORRECTION: 1,
}


def payment(tenant: str, kind: PaymentKind, source_id: str, amount: int, at: datetime = NOW) -> RecordPayment:
    receipt = PaymentReceipt(payment_id="pi_1", amount_minor=amount, currency="usd", livemode=False)
    return RecordPayment(
        tenant=tenant,
        kind=kind,
        amount_micro_usd=amount,
        source_id=source_id,
        reason="a payment by card",
        receipt=receipt,
        at=at,
    )


@pytest.fixture
def tenant() -> str:
    return ids.new("t").replace("_", "-")


@pytest.fixture
def audit(engine: AsyncEngine) -> AuditLog:
    return audit_log_of(engine)


async def spend(engine: AsyncEngine, tenant: str, amount: int) -> None:
    transfer = Transfer(
        transfer_id=ids.new("spent"),
        debit=credits_account(tenant),
        credit=REVENUE,
        amount=amount,
        purpose=TransferPurpose.ADJUSTMENT,
    )
    async with engine.begin() as connection:
        await apply_transfers(connection, [transfer], NOW)


async def balances_of(engine: AsyncEngine, tenant: str) -> tuple[int, int]:
    """Return what a tenant has, and what it owes."""
    async with engine.connect() as connection:
        found = await read_balances(connection, [credits_account(tenant), debt_account(tenant)])
    return tuple(found[name].posted if name in found else 0 for name in (credits_account(tenant), debt_account(tenant)))  # type: ignore[return-value]


async def test_a_refund_after_spending_leaves_a_debt_that_the_next_credits_pay_first(
    engine: AsyncEngine, audit: AuditLog, tenant: str
) -> None:
    store, credit = PaymentStore(engine), CreditStore(engine)
    await store.record(payment(tenant, PaymentKind.PURCHASE, f"pi_{tenant[-8:]}a", 10_000_000), audit, NOW)
    await spend(engine, tenant, 8_000_000)
    refund = payment(tenant, PaymentKind.REFUND, f"re_{tenant[-8:]}a", 10_000_000)

    posted = await store.record(refund, audit, NOW)

    assert (posted.row.taken_micro_usd, posted.row.owed_micro_usd) == (2_000_000, 8_000_000)
    assert (posted.balance.balance, posted.balance.owed) == (Decimal(0), Decimal(8000))
    assert await balances_of(engine, tenant) == (0, 8_000_000)

    grant = Transfer(
        transfer_id=ids.new("gift"),
        debit=GRANTED,
        credit=credits_account(tenant),
        amount=5_000_000,
        purpose=TransferPurpose.GRANT,
        reason="a gift",
        actor="operator",
    )
    await credit.post(tenant, grant, audit, OwnAction("operator", "credits.grant", tenant, {}), NOW)
    assert await balances_of(engine, tenant) == (0, 3_000_000)

    again = await store.record(
        payment(tenant, PaymentKind.PURCHASE, f"pi_{tenant[-8:]}b", 10_000_000), audit, NOW + timedelta(seconds=1)
    )
    assert (again.balance.balance, again.balance.owed) == (Decimal(7000), Decimal(0))
    history = await credit.list_history(ListCreditHistory(tenant=tenant))
    shown = [(each.kind.value, each.credits, each.owed, each.source_id) for each in history.entries]
    assert Counter(shown) == Counter(
        [
            ("debt_payment", Decimal(-3000), Decimal(-3000), None),
            ("purchase", Decimal(10000), None, f"pi_{tenant[-8:]}b"),
            ("debt_payment", Decimal(-5000), Decimal(-5000), None),
            ("grant", Decimal(5000), None, None),
            ("debt", Decimal(0), Decimal(8000), f"re_{tenant[-8:]}a"),
            ("refund", Decimal(-2000), None, f"re_{tenant[-8:]}a"),
            ("adjustment", Decimal(-8000), None, None),
            ("purchase", Decimal(10000), None, f"pi_{tenant[-8:]}a"),
        ]
    )


async def test_credits_that_a_lease_gives_back_pay_a_debt_before_they_can_be_leased_again(
    engine: AsyncEngine, audit: AuditLog, tenant: str
) -> None:
    store, leases = PaymentStore(engine), CreditLeaseStore(engine)
    await store.record(payment(tenant, PaymentKind.PURCHASE, f"pi_{tenant[-8:]}", 1000), audit, NOW)
    ask = LeaseCredit(tenant=tenant, account=credits_account(tenant), need=1000, want=1000, epoch=ids.new("ep"))
    lease = await leases.lease(ask, "router", NOW)
    assert lease.result is LeaseResult.GRANTED
    posted = await store.record(payment(tenant, PaymentKind.DISPUTE, f"dp_{tenant[-8:]}", 1000), audit, NOW)
    assert posted.row.owed_micro_usd == 1000

    assert await leases.release(lease.not_after_unix_ms + 1, NOW + timedelta(minutes=5)) >= 1

    second = await leases.lease(ask, "router", NOW + timedelta(minutes=5))
    assert second.result is LeaseResult.INSUFFICIENT
    assert await balances_of(engine, tenant) == (0, 0)


async def test_credits_that_nobody_asks_for_pay_a_debt_as_well(
    engine: AsyncEngine, audit: AuditLog, tenant: str
) -> None:
    store, leases = PaymentStore(engine), CreditLeaseStore(engine)
    await store.record(payment(tenant, PaymentKind.PURCHASE, f"pi_{tenant[-8:]}", 1000), audit, NOW)
    ask = LeaseCredit(tenant=tenant, account=credits_account(tenant), need=600, want=600, epoch=ids.new("ep"))
    lease = await leases.lease(ask, "router", NOW)
    await store.record(payment(tenant, PaymentKind.DISPUTE, f"dp_{tenant[-8:]}", 1000), audit, NOW)
    assert await DebtStore(engine).collect(NOW) == [], "what is leased is not there to pay with"

    await leases.release(lease.not_after_unix_ms + 1, NOW + timedelta(minutes=5))

    assert tenant in await DebtStore(engine).collect(NOW + timedelta(minutes=5))
    assert await balances_of(engine, tenant) == (0, 0)


async def test_a_dispute_that_is_closed_before_it_was_opened_lends_no_credits(
    engine: AsyncEngine, audit: AuditLog, tenant: str
) -> None:
    store = PaymentStore(engine)
    await store.record(payment(tenant, PaymentKind.PURCHASE, f"pi_{tenant[-8:]}", 500), audit, NOW)
    won = await store.record(payment(tenant, PaymentKind.DISPUTE_WON, f"dp_{tenant[-8:]}", 500), audit, NOW)
    assert won.is_new
    assert await balances_of(engine, tenant) == (500, 0)

    opened = await store.record(payment(tenant, PaymentKind.DISPUTE, f"dp_{tenant[-8:]}", 500), audit, NOW)

    assert not opened.is_new
    assert await balances_of(engine, tenant) == (500, 0)


async def test_what_an_operator_granted_by_hand_for_a_payment_is_not_credited_again(
    engine: AsyncEngine, audit: AuditLog, tenant: str
) -> None:
    payment_id = f"pi_{tenant[-8:]}"
    by_hand = Transfer(
        transfer_id=ids.new("hand"),
        debit=PAYMENTS,
        credit=credits_account(tenant),
        amount=700,
        purpose=TransferPurpose.GRANT,
        source="stripe",
        source_id=payment_id,
    )
    await CreditStore(engine).post(tenant, by_hand, audit, OwnAction("operator", "credits.grant", tenant, {}), NOW)

    posted = await PaymentStore(engine).record(payment(tenant, PaymentKind.PURCHASE, payment_id, 700), audit, NOW)

    assert posted.already_granted
    assert await balances_of(engine, tenant) == (700, 0)
    with pytest.raises(OtherPayment, match=tenant):
        await PaymentStore(engine).record(payment(f"{tenant}-b", PaymentKind.PURCHASE, payment_id, 700), audit, NOW)


async def test_the_same_object_with_another_amount_or_tenant_changes_nothing(
    engine: AsyncEngine, audit: AuditLog, tenant: str
) -> None:
    store = PaymentStore(engine)
    await store.record(payment(tenant, PaymentKind.PURCHASE, f"pi_{tenant[-8:]}", 500), audit, NOW)
    for other in (
        payment(tenant, PaymentKind.PURCHASE, f"pi_{tenant[-8:]}", 501),
        payment("x", PaymentKind.PURCHASE, f"pi_{tenant[-8:]}", 500),
    ):
        with pytest.raises(OtherPayment, match="nothing was changed"):
            await store.record(other, audit, NOW)
    assert await balances_of(engine, tenant) == (500, 0)


async def test_random_payments_in_random_order_at_once_come_to_the_same(engine: AsyncEngine, audit: AuditLog) -> None:
    """Every payment is delivered one to five times, in any order, by eight at once; what is left is their sum."""
    chance = random.Random(random.randrange(2**32))
    tenants = [ids.new("t").replace("_", "-") for _ in range(4)]
    deliveries: list[RecordPayment] = []
    expected: Counter[str] = Counter()
    for number in range(60):
        tenant = chance.choice(tenants)
        amount = chance.choice([1, 999, 10_000_000, 55_000_001])
        name = f"{tenant[-10:]}{number}"
        made = [payment(tenant, PaymentKind.PURCHASE, f"pi_{name}", amount)]
        fate = chance.randrange(5)
        if fate == 1:
            part = chance.randint(1, amount)
            made.append(payment(tenant, PaymentKind.REFUND, f"re_{name}", part))
            if chance.random() < 0.3:
                made.append(payment(tenant, PaymentKind.CORRECTION, f"re_{name}", part))
        if fate in (2, 3):
            made.append(payment(tenant, PaymentKind.DISPUTE, f"dp_{name}", amount))
        if fate == 3:
            made.append(payment(tenant, PaymentKind.DISPUTE_WON, f"dp_{name}", amount))
        for each in made:
            expected[tenant] += SIGNS[each.kind] * each.amount_micro_usd
            deliveries += [each] * chance.randint(1, 5)
    chance.shuffle(deliveries)
    store, limit = PaymentStore(engine), asyncio.Semaphore(8)

    async def deliver(one: RecordPayment) -> None:
        async with limit:
            await store.record(one, audit, NOW)

    await asyncio.gather(*(deliver(one) for one in deliveries))

    for tenant in tenants:
        has, owes = await balances_of(engine, tenant)
        assert has - owes == expected[tenant]
        assert min(has, owes) == 0, "what is owed is paid as soon as it can be"
    async with engine.connect() as connection:
        total = await connection.scalar(
            text("SELECT sum(credits_posted - debits_posted) FROM usage_ledger.accounts WHERE unit = 'micro_usd'")
        )
        platform = await read_balances(connection, [DEBTS])
        owed = await connection.scalar(
            text("SELECT sum(credits_posted - debits_posted) FROM usage_ledger.accounts WHERE kind = 'debt'")
        )
    assert total == 0
    assert platform[DEBTS].posted == -(owed or 0)
    assert (await AccountBalances(engine).check()).differences == []


async def test_each_change_is_announced_once_with_what_is_left(
    engine: AsyncEngine, audit: AuditLog, tenant: str
) -> None:
    store = PaymentStore(engine)
    for _ in range(3):
        await store.record(payment(tenant, PaymentKind.REFUND, f"re_{tenant[-8:]}", 400), audit, NOW)
    await store.record(payment(tenant, PaymentKind.PURCHASE, f"pi_{tenant[-8:]}", 1000), audit, NOW)

    async with engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT payload FROM usage_ledger.event_outbox WHERE subject = :subject ORDER BY id"),
            {"subject": f"kf.v1.credit.posted.{tenant}"},
        )
        events = [CreditPosted.decode(bytes(row.payload)) for row in rows]
    assert [(each.kind, plain(each.credits), plain(each.balance), plain(each.owed)) for each in events] == [
        ("debt", "0", "0", "0.4"),
        ("purchase", "1", "1", "0.4"),
        ("debt_payment", "-0.4", "0.6", "0"),
    ]
    assert events[0].source_id == f"re_{tenant[-8:]}"


async def test_what_is_recorded_is_listed_by_its_time_page_after_page(
    engine: AsyncEngine, audit: AuditLog, tenant: str
) -> None:
    store = PaymentStore(engine)
    start = datetime(2031, 1, 1, tzinfo=UTC) + timedelta(days=int.from_bytes(tenant[-3:].encode()) % 9999)
    for number in range(5):
        one = payment(tenant, PaymentKind.PURCHASE, f"pi_{tenant[-8:]}{number}", 10, start + timedelta(seconds=number))
        await store.record(one, audit, NOW)
    found: list[str] = []
    after = None
    while True:
        page = await store.page(
            ListRecordedPayments(since=start, until=start + timedelta(seconds=4), after=after, limit=2)
        )
        found += [each.source_id[-1] for each in page.payments]
        if (after := page.next) is None:
            break
    assert found == ["0", "1", "2", "3"]
    for cursor in ("x", "1", "1:purchase", ":::"):
        with pytest.raises(InvalidPaymentCursor):
            await store.page(ListRecordedPayments(since=start, until=start, after=cursor))
