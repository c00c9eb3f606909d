"""Purchases with a real database and a double of Stripe, a ledger and a directory that answer by script, and a clock to set."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import httpx
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.billing_demo.faults import FailureKind, PlannedFailure
from deploy.billing_demo.stripe.server import StripeDouble
from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.credit_management import CreditBalance, CreditState, GetCredits, from_micro_usd
from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.ledger_management import CREDIT_GET
from keyferry.contracts.payment_management import CREDIT_RECORD_PAYMENT
from keyferry.contracts.payments import RecordedPayment, RecordPayment
from keyferry.contracts.purchase_management import TENANT_APPLY_SUBSCRIPTION
from keyferry.contracts.purchases import CreateCheckout, GetCheckout, Purchase, ResumeTopUp, SaveTopUp
from keyferry.contracts.secret import Secret
from keyferry.contracts.subscriptions import AppliedSubscription, ApplySubscription
from keyferry.contracts.tenancy import Tenant, Tier, TierSource
from keyferry.runtime.database.service_database import ServiceDatabase
from keyferry.runtime.integration_secrets import NoSuchSecret, SecretVersions
from keyferry.runtime.views import KvView
from services.billing.known_tenants import BillingTenants
from services.billing.purchases.assembly import PurchaseParts, assemble_purchases
from services.billing.schema import BILLING_SCHEMA
from services.billing.stripe.client import StripeGateway
from tests.support.servers.scripted_bus import ScriptedBus

TENANT = "acme"
CONSOLE = "http://127.0.0.1:8401"
DEPLOYMENT = "kf-test"
PLAN = BillingPlan.parse(BUNDLED_PLAN.read_text(encoding="utf-8"))
GOOD_CARD = "4242424242424242"
FAILS_LATER = "4000000000000341"
AUTHENTICATES_ALWAYS = "4000002760003184"


@dataclass
class SetClock:
    """A clock that stands still until it is moved."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        """Move it."""
        self.now += timedelta(**span)


@dataclass
class LedgerByScript:
    """Credits by tenant in micro-dollars, with each payment counted once, as the ledger does it."""

    available: dict[str, int] = field(default_factory=dict)
    payments: dict[str, RecordPayment] = field(default_factory=dict)
    before_recording: Callable[[], None] = lambda: None
    after_recording: Callable[[], None] = lambda: None

    def balance(self, tenant: str) -> CreditBalance:
        """Return what a tenant has."""
        amount = from_micro_usd(self.available.get(tenant, 0))
        return CreditBalance(
            tenant=tenant,
            balance=amount,
            available=amount,
            held=Decimal(0),
            balance_usd=amount / 1000,
            state=CreditState.OK,
            low_below=Decimal(0),
            spent_7_days=Decimal(0),
            as_of=datetime.now(UTC),
        )

    def record(self, command: RecordPayment) -> RecordedPayment:
        """Count a payment once."""
        self.before_recording()
        repeated = command.source_id in self.payments
        if not repeated:
            self.payments[command.source_id] = command
            self.available[command.tenant] = self.available.get(command.tenant, 0) + command.amount_micro_usd
        self.after_recording()
        return RecordedPayment(
            tenant=command.tenant,
            kind=command.kind,
            source=command.source,
            source_id=command.source_id,
            amount_micro_usd=command.amount_micro_usd,
            repeated=repeated,
            credits=self.balance(command.tenant),
        )


class SecretsByScript:
    """The key of Stripe, if there is one."""

    def __init__(self, key: str | None) -> None:
        self.key = key

    async def get(self, tenant: str, kind: IntegrationKind, secret_id: str | None = None) -> SecretVersions:
        if self.key is None:
            raise NoSuchSecret("there is no such secret")
        return SecretVersions("isec_1", 1, Secret(self.key))


@dataclass
class TenantsByScript:
    """The view of the tenants."""

    entries: dict[str, Tenant] = field(default_factory=dict)
    ready: bool = True

    def get(self, key: str) -> Tenant | None:
        return self.entries.get(key)


@dataclass
class Shop:
    """What one test works with. `process()` assembles purchases as a process of its own."""

    url_file: Path
    stripe: StripeDouble
    secrets: SecretsByScript
    clock: SetClock = field(default_factory=SetClock)
    ledger: LedgerByScript = field(default_factory=LedgerByScript)
    tenants: TenantsByScript = field(default_factory=TenantsByScript)
    applied: list[ApplySubscription] = field(default_factory=list)
    plan: BillingPlan = PLAN
    paid_before: int = 0
    """Cents that were charged before the top-ups that a test is about."""

    def set_time(self, now: datetime) -> None:
        """Set the clock here and at Stripe, whose clock goes on from there."""
        self.clock.now = now
        self.stripe.state.forward_seconds = int((now - datetime.now(UTC)).total_seconds())

    def forward(self, **span: float) -> None:
        """Move the clock here and at Stripe."""
        self.clock.forward(**span)
        self.stripe.state.forward_seconds += int(timedelta(**span).total_seconds())

    def add_tenant(self, tenant: str = TENANT, **values: Any) -> None:
        """Add a tenant, or replace one."""
        self.tenants.entries[tenant] = Tenant(tenant=tenant, name=tenant, tier=Tier.STARTER, **values)

    @asynccontextmanager
    async def process(self) -> AsyncIterator[PurchaseParts]:
        """Assemble the parts of one process; its job runs only when a test calls `work`."""
        engine = create_async_engine(self.url_file.read_text().strip())
        gateway = StripeGateway(self.secrets, self.stripe.url)
        try:
            yield assemble_purchases(
                cast(Any, self._bus()),
                ServiceDatabase(engine, BILLING_SCHEMA),
                BillingTenants(cast(KvView[Tenant], self.tenants)),
                gateway,
                plan=self.plan,
                deployment=DEPLOYMENT,
                console_url=CONSOLE,
                clock=self.clock,
            )
        finally:
            await gateway.close()
            await engine.dispose()

    def _bus(self) -> ScriptedBus:
        bus = ScriptedBus()
        bus.answers(CREDIT_GET, lambda asked: self.ledger.balance(cast(GetCredits, asked).tenant))
        bus.answers(CREDIT_RECORD_PAYMENT, lambda asked: self.ledger.record(cast(RecordPayment, asked)))
        bus.answers(TENANT_APPLY_SUBSCRIPTION, lambda asked: self._apply(cast(ApplySubscription, asked)))
        return bus

    def _apply(self, command: ApplySubscription) -> AppliedSubscription:
        self.applied.append(command)
        tenant = self.tenants.entries[command.tenant]
        applied = tenant.tier_set_by is not TierSource.OPERATOR
        if applied:
            tier = command.tier or command.without
            tenant = tenant.model_copy(update={"tier": tier})
            self.tenants.entries[command.tenant] = tenant
        return AppliedSubscription(tenant=tenant, applied=applied)

    # --- what people and banks do

    async def pay(self, url: str | None, card: str = GOOD_CARD, action: str = "pay") -> httpx.Response:
        """Send the form of a page of Stripe."""
        assert url is not None
        async with httpx.AsyncClient() as browser:
            return await browser.post(url, data={"action": action, "card": card, "email": "a@acme.test"})

    def fail(self, kind: FailureKind, path: str, times: int = 1) -> None:
        """Have the next requests to a path of Stripe fail."""
        self.stripe.api.failures.add(PlannedFailure(kind, path, times=times))

    def count(self, kind: str, **values: Any) -> int:
        """Return how many objects of a kind Stripe has with these values."""
        return len(list(self.stripe.state.where(kind, **values)))

    def charged_cents(self) -> int:
        """Return the sum of what was charged."""
        return sum(charge["amount"] for charge in self.stripe.state.where("charge", paid=True))


def checkout(key: str = "click-1", **values: Any) -> CreateCheckout:
    """Return a request for the package of ten dollars."""
    given = {"tenant": TENANT, "return_path": "/t/acme/credits", "idempotency_key": key, **values}
    if "price_usd" not in given:
        given.setdefault("package", "usd-10")
    return CreateCheckout.model_validate(given)


def top_up(**values: Any) -> SaveTopUp:
    """Return terms: ten dollars at 1000 credits or fewer, at most 30 dollars a month."""
    given = {
        "tenant": TENANT,
        "enabled": True,
        "threshold": "1000",
        "price_usd": "10",
        "monthly_ceiling_usd": "30",
        "consent": True,
        **values,
    }
    return SaveTopUp.model_validate(given)


def resume() -> ResumeTopUp:
    """Return the request to resume."""
    return ResumeTopUp(tenant=TENANT)


async def save_card(shop: Shop, parts: PurchaseParts, card: str = GOOD_CARD) -> Purchase:
    """Buy ten dollars of credits, and keep the card for automatic top-ups."""
    made = await parts.handlers.create_checkout(checkout(f"card-{card}", save_payment_method=True))
    action = "confirm" if card == AUTHENTICATES_ALWAYS else "pay"
    await shop.pay(made.url, card, action)
    return await parts.handlers.get_checkout(GetCheckout(tenant=TENANT, purchase=made.purchase))
