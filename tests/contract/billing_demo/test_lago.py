"""The double of Lago by the official package, which is not asynchronous: the double runs in another thread."""

from collections.abc import Iterator

import httpx
import pytest
from lago_python_client import Client
from lago_python_client.exceptions import LagoApiError, LagoRateLimitError
from lago_python_client.models import (
    AddOn,
    BatchEvent,
    BillableMetric,
    Customer,
    Event,
    Invoice,
    InvoiceFee,
    InvoiceFeesList,
    OneOffInvoice,
    Subscription,
    Wallet,
    WalletTransaction,
)

from deploy.billing_demo.faults import FailureKind, PlannedFailure
from deploy.billing_demo.lago.server import LagoDouble
from tests.support.billing.lago_double import lago_client, running_lago_in_background


@pytest.fixture
def lago() -> Iterator[LagoDouble]:
    with running_lago_in_background() as running:
        yield running


@pytest.fixture
def client(lago: LagoDouble) -> Client:
    return lago_client(lago)


def subscribe(client: Client, name: str = "keyferry-acme") -> str:
    """Add a customer and a subscription of the same name."""
    client.customers.create(Customer(external_id=name, name="acme"))
    client.subscriptions.create(Subscription(external_customer_id=name, plan_code="keyferry", external_id=name))
    return name


def event(number: int, subscription: str = "keyferry-acme", **properties: object) -> Event:
    """Return a usage event."""
    return Event(
        transaction_id=f"att_{number}",
        external_subscription_id=subscription,
        code="llm_tokens",
        timestamp="1796000000.123",
        properties={"tokens": 10, "provider": "openai", **properties},
    )


def test_a_customer_is_added_once_and_changed(client: Client, lago: LagoDouble) -> None:
    first = client.customers.create(Customer(external_id="keyferry-acme", name="acme"))
    second = client.customers.create(Customer(external_id="keyferry-acme", name="Acme Inc."))
    assert first is not None
    assert second is not None
    assert (first.lago_id, second.name) == (second.lago_id, "Acme Inc.")
    assert client.customers.find("keyferry-acme").name == "Acme Inc."
    assert client.customers.find_all()["meta"]["total_count"] == len(lago.state.table("customer")) == 1


def test_events_count_once_and_a_batch_is_taken_whole_or_not_at_all(client: Client, lago: LagoDouble) -> None:
    subscription = subscribe(client)
    client.events.batch_create(BatchEvent(events=[event(1), event(2)]))
    with pytest.raises(LagoApiError) as caught:
        client.events.batch_create(BatchEvent(events=[event(3), event(2)]))
    assert caught.value.status_code == 422
    assert caught.value.response["error_details"] == {"1": {"transaction_id": ["value_already_exist"]}}
    assert len(lago.state.table("event")) == 2
    with pytest.raises(LagoApiError):
        client.events.create(event(1))
    usage = client.customers.current_usage("keyferry-acme", subscription)
    assert [(row.units, row.events_count) for row in usage.charges_usage] == [("20", 2)]
    assert client.events.find("att_1").properties == {"tokens": 10, "provider": "openai"}


def test_a_batch_has_a_hundred_events_at_most(client: Client) -> None:
    subscribe(client)
    client.events.batch_create(BatchEvent(events=[event(number) for number in range(100)]))
    with pytest.raises(LagoApiError) as caught:
        client.events.batch_create(BatchEvent(events=[event(number) for number in range(200, 301)]))
    assert caught.value.response["error_details"] == {"events": ["too_many_events"]}


def test_purchased_credits_are_invoiced_and_in_the_wallet_once_paid(client: Client) -> None:
    subscribe(client)
    wallet = client.wallets.create(
        Wallet(
            external_customer_id="keyferry-acme", name="Credits", currency="USD", rate_amount="1", granted_credits="2"
        )
    )
    assert wallet is not None
    made = client.wallet_transactions.create(WalletTransaction(wallet_id=wallet.lago_id, paid_credits="50"))
    (purchase,) = made["wallet_transactions"]
    assert (purchase.status, purchase.lago_invoice_id) == ("pending", None)
    assert client.wallets.find(wallet.lago_id).credits_balance == "2.0"
    listed = client.wallet_transactions.find_all(wallet.lago_id, {"transaction_status": "purchased"})
    (shown,) = listed["wallet_transactions"]
    invoice = client.invoices.find(shown.lago_invoice_id)
    assert (invoice.invoice_type, invoice.total_amount_cents, invoice.payment_status) == ("credit", 5000, "pending")
    client.invoices.update(Invoice(payment_status="succeeded"), invoice.lago_id)
    client.invoices.update(Invoice(payment_status="succeeded"), invoice.lago_id)
    assert client.wallets.find(wallet.lago_id).credits_balance == "52.0"
    with pytest.raises(LagoApiError):
        client.wallet_transactions.create(WalletTransaction(wallet_id=wallet.lago_id, voided_credits="53"))


def test_a_one_off_invoice_has_the_units_of_its_add_ons(client: Client) -> None:
    subscribe(client)
    client.add_ons.create(AddOn(name="Setup", code="setup", amount_cents=1000, amount_currency="USD"))
    fees = InvoiceFeesList(__root__=[InvoiceFee(add_on_code="setup", units=2.5)])
    invoice = client.invoices.create(OneOffInvoice(external_customer_id="keyferry-acme", currency="USD", fees=fees))
    assert invoice is not None
    assert (invoice.invoice_type, invoice.total_amount_cents) == ("one_off", 2500)


def test_what_there_is_not_has_lagos_errors(client: Client, lago: LagoDouble) -> None:
    with pytest.raises(LagoApiError) as missing:
        client.customers.find("nobody")
    assert missing.value.response == {"status": 404, "error": "Not Found", "code": "customer_not_found"}
    with pytest.raises(LagoApiError) as invalid:
        client.billable_metrics.create(BillableMetric(name="x", code="llm_tokens", aggregation_type="count_agg"))
    assert invalid.value.response["error_details"] == {"code": ["value_already_exist"]}
    answer = httpx.get(f"{lago.url}/api/v1/customers", headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()) == (401, {"status": 401, "error": "Unauthorized"})


def test_planned_failures_come_before_or_after_the_effect(client: Client, lago: LagoDouble) -> None:
    subscribe(client)
    lago.failures.add(PlannedFailure(FailureKind.RATE_LIMIT, path="/customers"))
    with pytest.raises(LagoRateLimitError):
        client.customers.create(Customer(external_id="other"))
    assert list(lago.state.table("customer")) == ["keyferry-acme"]
    lago.failures.add(PlannedFailure(FailureKind.LOST_ANSWER, path="/events/batch"))
    with pytest.raises(httpx.HTTPError):
        client.events.batch_create(BatchEvent(events=[event(1)]))
    assert len(lago.state.table("event")) == 1
