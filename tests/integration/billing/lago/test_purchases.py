"""Payments booked at the double of Lago: each once, with an invoice that is paid."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.aio.msg import Msg

from deploy.billing_demo.faults import FailureKind, PlannedFailure
from deploy.billing_demo.lago.server import LagoDouble
from keyferry.contracts.payments import PaymentChange, PaymentChanged
from keyferry.contracts.secret import Secret
from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.lago.client import LagoClient
from services.billing.lago.customers import LagoCustomerDirectory, external_id
from services.billing.lago.purchase_booker import PurchaseBooker
from services.billing.lago.purchase_store import PurchaseStore
from services.billing.lago.store import LagoStore
from tests.support.billing.lago_double import running_lago

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


CLIENTS: list[LagoClient] = []
"""Those of the current test."""


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    while CLIENTS:
        await CLIENTS.pop().close()


@pytest.fixture
async def lago() -> AsyncIterator[LagoDouble]:
    async with running_lago() as double:
        yield double


class BookedPayments:
    """A booker whose clock moves by ten minutes with each round."""

    def __init__(self, database: ServiceDatabase, lago: LagoDouble, plan: str | None = "keyferry") -> None:
        async def api_key() -> Secret:
            return Secret(lago.api_key)

        self.lago, self.now = lago, NOW
        self.store = PurchaseStore(database)
        client = LagoClient(lago.url, api_key)
        CLIENTS.append(client)
        customers = LagoCustomerDirectory(LagoStore(database), client, plan, lambda: self.now)
        self.booker = PurchaseBooker(self.store, client, customers, lambda: self.now)

    async def take(self, *events: PaymentChanged) -> None:
        await self.booker.on_changes([cast(Msg, SimpleNamespace(data=event.encode())) for event in events])

    async def settle(self) -> None:
        """Book until nothing is left."""
        for _ in range(20):
            while await self.booker.book_next():
                pass
            if not await self.store.count_open():
                return
            self.now += timedelta(minutes=10)
        raise AssertionError("it is never booked")

    def transactions(self, tenant: str) -> list[dict[str, Any]]:
        name = external_id(tenant)
        wallets = {
            each["lago_id"] for each in self.lago.state.table("wallet").values() if each["external_customer_id"] == name
        }
        found = self.lago.state.table("wallet_transaction").values()
        return [each for each in found if each["lago_wallet_id"] in wallets and each["metadata"]]


def paid(tenant: str, payment: str, change: PaymentChange = PaymentChange.SETTLED, **changes: Any) -> PaymentChanged:
    fields: dict[str, Any] = {
        "event_id": f"evt-{payment}-{change}",
        "tenant": tenant,
        "change": change,
        "payment_id": payment,
        "credits": Decimal(55_000),
        "amount_minor": 5000,
        "currency": "usd",
        "at": NOW,
    }
    return PaymentChanged(**(fields | changes))


async def test_a_payment_is_booked_once_and_its_invoice_is_paid(
    billing_database: ServiceDatabase, lago: LagoDouble
) -> None:
    booking, event = BookedPayments(billing_database, lago), paid("buyer", "pi_1")
    await booking.take(event, event)
    await booking.settle()
    await booking.take(event)
    await booking.settle()
    found = {each["transaction_status"]: Decimal(each["amount"]) for each in booking.transactions("buyer")}
    assert found == {"purchased": Decimal(50), "granted": Decimal(5)}
    (invoice,) = lago.state.table("invoice").values()
    assert (invoice["total_amount_cents"], invoice["payment_status"]) == (5000, "succeeded")


@pytest.mark.parametrize("path", ["/wallet_transactions", "/invoices/.*", "/wallets/.*", "/customers"])
@pytest.mark.parametrize("kind", [FailureKind.LOST_ANSWER, FailureKind.SERVER_ERROR])
async def test_a_lost_answer_books_nothing_twice(
    billing_database: ServiceDatabase, lago: LagoDouble, path: str, kind: FailureKind
) -> None:
    tenant = f"lost-{path.strip('/.*').replace('_', '-').replace('/', '-')}-{kind.value.replace('_', '-')}"
    booking = BookedPayments(billing_database, lago)
    lago.failures.add(PlannedFailure(kind, path=path))
    await booking.take(paid(tenant, f"pi_{tenant.replace('-', '')}", credits=Decimal(10_000), amount_minor=1000))
    await booking.settle()
    (booked,) = booking.transactions(tenant)
    assert Decimal(booked["amount"]) == 10
    (invoice,) = lago.state.table("invoice").values()
    assert invoice["payment_status"] == "succeeded"


async def test_a_refund_takes_credits_out_of_the_wallet_and_what_returns_comes_back(
    billing_database: ServiceDatabase, lago: LagoDouble
) -> None:
    booking = BookedPayments(billing_database, lago)
    await booking.take(paid("refunded", "pi_2", credits=Decimal(10_000), amount_minor=1000))
    await booking.settle()
    taken = paid("refunded", "pi_2", PaymentChange.DISPUTED, source_id="dp_1", credits=Decimal(-4000), amount_minor=400)
    await booking.take(taken)
    await booking.settle()
    await booking.take(taken.model_copy(update={"change": PaymentChange.DISPUTE_WON}))
    await booking.settle()
    amounts = [
        f"{each['transaction_status']} {Decimal(each['amount']):.0f}" for each in booking.transactions("refunded")
    ]
    assert amounts == ["purchased 10", "voided 4", "granted 4"]


async def test_a_payment_in_another_currency_is_booked_at_the_value_of_its_credits(
    billing_database: ServiceDatabase, lago: LagoDouble
) -> None:
    booking = BookedPayments(billing_database, lago)
    await booking.take(paid("yen", "pi_3", credits=Decimal(10_000), amount_minor=1500, currency="jpy"))
    await booking.settle()
    (booked,) = booking.transactions("yen")
    assert Decimal(booked["amount"]) == 10


async def test_a_payment_of_a_tenant_without_a_customer_is_left_out(
    billing_database: ServiceDatabase, lago: LagoDouble
) -> None:
    booking = BookedPayments(billing_database, lago, plan=None)
    await booking.take(paid("nobody", "pi_4"))
    await booking.settle()
    assert not lago.requests


async def test_what_lago_refuses_is_not_tried_for_ever(billing_database: ServiceDatabase, lago: LagoDouble) -> None:
    booking = BookedPayments(billing_database, lago)
    await booking.take(paid("poor", "pi_5", PaymentChange.REFUNDED, source_id="re_1", credits=Decimal(-1000)))
    await booking.settle()
    assert not booking.transactions("poor")
