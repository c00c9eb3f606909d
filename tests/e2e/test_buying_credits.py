"""Money in and warnings out, with the doubles of KEYFERRY_BILLING=demo: a tenant buys credits, spends them and is warned."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.support.vault.keyed_system import KeyedSystem, TenantAccount
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(240)

PURCHASE_MICRO_USD = 10_000_000
"""Ten dollars, which buy 10 000 credits."""
_CODE = re.compile(r"\b(\d{6,10}|[A-Z0-9]{4,}(?:-[A-Z0-9]{4,})+)\b")


class DemoPages:
    """The pages of the doubles, as people and tests read them."""

    def __init__(self, keyed_system: KeyedSystem) -> None:
        self._run = keyed_system.system.home / "run"

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{(self._run / f'billing-demo-{name}.port').read_text().strip()}"

    def mails_to(self, address: str) -> list[dict[str, Any]]:
        """Return the mails to an address, the newest first."""
        found: list[dict[str, Any]] = httpx.get(f"{self._url('mail')}/messages", params={"to": address}).json()
        return found

    def stripe_events(self) -> list[dict[str, Any]]:
        """Return the deliveries of webhooks."""
        found: list[dict[str, Any]] = httpx.get(f"{self._url('stripe')}/demo/state").json()["sent"]
        return found

    def control(self, action: str, **given: object) -> dict[str, Any]:
        """Ask for something that happens at a bank or at Stripe."""
        answer = httpx.post(f"{self._url('stripe')}/demo/{action}", json=given)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module", autouse=True)
def platform(keyed_system: KeyedSystem) -> str:
    """Store a key of the platform, which the tenants pay for with credits."""
    key_id: str = keyed_system.add("platform", keyed_system.provider.issue(), "--priority", "600")["key_id"]
    return key_id


@pytest.fixture(scope="module")
def pages(keyed_system: KeyedSystem) -> DemoPages:
    return DemoPages(keyed_system)


@pytest.fixture
def management(keyed_system: KeyedSystem) -> Iterator[httpx.Client]:
    """Return a client of the management API, as an operator."""
    state = keyed_system.system.state
    token = Path(state["operator_token_file"]).read_text().strip()
    url = f"{state['console_url']}/api/v1"
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30) as client:
        yield client


def credits_of(keyed_system: KeyedSystem, tenant: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(keyed_system.cli("credits", "show", tenant, "--json"))
    return found


def balance_micro_usd(keyed_system: KeyedSystem, tenant: str) -> int:
    """Return the balance once nothing of it is held."""

    def settled() -> int | None:
        found = credits_of(keyed_system, tenant)
        nothing_held = float(found["held"]) == 0
        return round(float(found["balance"]) * 1000) if nothing_held else None

    return until(f"nothing of {tenant}'s credits is held", settled)


def buy(management: httpx.Client, tenant: str, package: str, key: str) -> dict[str, Any]:
    """Open a page of Stripe for a package."""
    body = {"package": package, "return_path": f"/t/{tenant}/credits", "idempotency_key": key}
    answer = management.post(f"/ops/tenants/{tenant}/credits/checkouts", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def pay(purchase: dict[str, Any], card: str = "4242424242424242") -> httpx.Response:
    """Pay on the page, as a person does."""
    shown = httpx.get(purchase["url"])
    assert shown.status_code == 200
    assert "10.00 usd" in shown.text
    return httpx.post(purchase["url"], data={"action": "pay", "card": card, "email": "buyer@acme.test"})


def add_mail_channel(keyed_system: KeyedSystem, pages: DemoPages, tenant: str, address: str) -> None:
    """Add a channel for alerts, and confirm its address by the code that is mailed to it."""
    keyed_system.cli("channels", "add", "--email", address, "--usual", "--tenant", tenant)
    mail = until(f"{address} gets a code", lambda: next(iter(pages.mails_to(address)), None))
    found = _CODE.search(mail["text"])
    assert found is not None, mail["text"]
    keyed_system.cli("channels", "confirm", address, found[1], "--tenant", tenant)


def test_bought_credits_are_spent_warned_about_and_stated_to_the_last_micro_dollar(
    keyed_system: KeyedSystem, pages: DemoPages, management: httpx.Client
) -> None:
    account = keyed_system.new_tenant("buyer", tier="starter")
    add_mail_channel(keyed_system, pages, "buyer", "warned@acme.test")
    account.wait_for_status(402)

    purchase = buy(management, "buyer", "usd-10", "first")
    assert buy(management, "buyer", "usd-10", "first")["url"] == purchase["url"]
    declined = pay(purchase, "4000000000000002")
    assert declined.status_code == 402
    assert float(credits_of(keyed_system, "buyer")["balance"]) == 0
    paid = pay(purchase)
    assert paid.status_code == 303
    returned = urlsplit(paid.headers["location"])
    assert (returned.path, parse_qs(returned.query)["result"]) == ("/t/buyer/credits", ["paid"])
    until("the purchase is credited", lambda: float(credits_of(keyed_system, "buyer")["balance"]) == 10_000)
    (payment,) = json.loads(keyed_system.cli("billing", "payments", "buyer", "--json"))["payments"]
    assert payment["payment_id"].startswith("pi_")

    keyed_system.cli("credits", "threshold", "buyer", "9999.999")
    spend(account)
    balance = balance_micro_usd(keyed_system, "buyer")
    assert 0 < balance < PURCHASE_MICRO_USD
    expect_low_balance_mail(pages, "warned@acme.test")
    expect_statement(keyed_system, "buyer", balance)


def spend(account: TenantAccount) -> None:
    """Send requests that credits pay for."""
    account.wait_for_status(200)
    for _ in range(3):
        assert account.ask().status_code == 200


def expect_low_balance_mail(pages: DemoPages, address: str) -> None:
    """Wait for the mail of the rule that every tenant has."""

    def warned() -> dict[str, Any] | None:
        return next((mail for mail in pages.mails_to(address) if "credit" in mail["subject"].lower()), None)

    mail = until("an alert about the balance is mailed", warned)
    assert "low" in (mail["subject"] + mail["text"]).lower()


def expect_statement(keyed_system: KeyedSystem, tenant: str, balance: int) -> None:
    """Assert that the statement, the usage and the ledger have the same figures."""
    spent = PURCHASE_MICRO_USD - balance

    def recorded() -> dict[str, Any] | None:
        found: dict[str, Any] = json.loads(keyed_system.cli("invoices", "show", "--tenant", tenant, "--json"))
        return found if found["total"]["charge_micro_usd"] == spent else None

    statement = until("the statement has all attempts", recorded)
    sums = {row["kind"]: row["amount_micro_usd"] for row in statement["account"]["sums"]}
    assert sums == {"purchase": PURCHASE_MICRO_USD, "charge": -spent}
    assert statement["account"]["closing_micro_usd"] == balance
    assert sum(line["figures"]["charge_micro_usd"] for line in statement["lines"]) == spent
    assert statement["reconciliation"]["posted_micro_usd"] == spent
    month = f"{datetime.now(UTC):%Y-%m}"
    usage = json.loads(keyed_system.cli("usage", "--by", "model", "--since", month, "--tenant", tenant, "--json"))
    assert usage["total"]["charge_micro_usd"] == spent


def test_a_refund_and_a_lost_dispute_take_the_credits_back(
    keyed_system: KeyedSystem, pages: DemoPages, management: httpx.Client
) -> None:
    keyed_system.new_tenant("regretting", tier="starter")
    pay(buy(management, "regretting", "usd-10", "refunded"))
    until("the purchase is credited", lambda: float(credits_of(keyed_system, "regretting")["balance"]) == 10_000)
    (payment,) = json.loads(keyed_system.cli("billing", "payments", "regretting", "--json"))["payments"]
    refund = pages.control("refunds", payment_intent=payment["payment_id"], amount=400)
    until("a part is taken back", lambda: float(credits_of(keyed_system, "regretting")["balance"]) == 6_000)
    pages.control("events/resend", event=_event_of(pages, "charge.refunded"))
    dispute = pages.control("disputes", payment_intent=payment["payment_id"])
    until("the rest is taken back", lambda: float(credits_of(keyed_system, "regretting")["balance"]) == 0)
    pages.control("disputes/close", dispute=dispute["id"], won=True)
    until("a won dispute gives it back", lambda: float(credits_of(keyed_system, "regretting")["balance"]) == 6_000)
    assert refund["amount"] == 400


def _event_of(pages: DemoPages, event_type: str) -> str:
    return next(str(row["event"]) for row in reversed(pages.stripe_events()) if row["type"] == event_type)
