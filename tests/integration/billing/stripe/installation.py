"""Payments with everything real but Stripe and the vault: ledger, PostgreSQL, NATS, and the double of Stripe over HTTP."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import stripe
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.billing_demo.stripe.server import StripeDouble
from keyferry.contracts.credit_management import CreditBalance, GetCredits
from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.ledger_management import CREDIT_GET
from keyferry.contracts.secret import Secret
from keyferry.contracts.stripe_events import ReceiveWebhook, WebhookReceived
from keyferry.contracts.topology import Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.service_database import ServiceDatabase
from keyferry.runtime.integration_secrets import NoSuchSecret, SecretVersions
from services.billing.schema import BILLING_SCHEMA
from services.billing.stripe.client import StripeGateway
from services.billing.stripe.parts import StripeParts, assemble_stripe
from services.billing.stripe.processing import HandleOther
from services.billing.stripe.rules import OrderedPayment
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.billing.stripe_double import running_stripe, stripe_client
from tests.support.servers.migrated_database import MigratedDatabase, migrated_database
from tests.support.servers.provisioned_bus import provisioned_bus

DEPLOYMENT = "test-installation"
SIGNING = "whsec_" + "current" * 4


@dataclass
class SavedSecrets:
    """Instead of the vault: the key of the double, and the secrets of webhooks."""

    api_key: str | None
    webhook: list[str] = field(default_factory=lambda: [SIGNING])

    async def get(self, tenant: str, kind: IntegrationKind, secret_id: str | None = None) -> SecretVersions:
        found = self.webhook if kind is IntegrationKind.STRIPE_WEBHOOK_SECRET else [self.api_key]
        if not found or found[0] is None:
            raise NoSuchSecret("there is none: add one")
        versions = [Secret(each) for each in found if each]
        return SecretVersions("isec_1", 1, versions[0], versions[1] if len(versions) > 1 else None)


@dataclass
class PaymentInstallation:
    """One installation. `now` is its clock, ahead of the double's by what the test adds to `ahead`."""

    ledger: LedgerServers
    bus: Bus
    operator: Bus
    database: ServiceDatabase
    double: StripeDouble
    stripe: stripe.StripeClient
    secrets: SavedSecrets
    orders: dict[str, OrderedPayment] = field(default_factory=dict)
    ahead: timedelta = timedelta()
    gateways: list[StripeGateway] = field(default_factory=list)
    others: tuple[tuple[str, HandleOther], ...] = ()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def parts(self) -> StripeParts:
        """Return the parts of a fresh process."""

        async def find_order(purchase: str) -> OrderedPayment | None:
            return self.orders.get(purchase)

        async def find_customer(tenant: str) -> str | None:
            return None

        gateway = StripeGateway(self.secrets, self.double.url)
        self.gateways.append(gateway)
        return assemble_stripe(
            self.bus,
            self.database,
            self.secrets,
            gateway,
            deployment=DEPLOYMENT,
            find_order=find_order,
            find_customer=find_customer,
            clock=self.now,
            others=self.others,
        )

    async def pay(
        self,
        tenant: str,
        amount: int,
        micro_usd: int,
        *,
        currency: str = "usd",
        card: str = "pm_card_visa",
        **metadata: str,
    ) -> str:
        """Have a customer pay; return the payment intent."""
        given = {
            "keyferry_tenant": tenant,
            "keyferry_deployment": DEPLOYMENT,
            "keyferry_credits_micro_usd": str(micro_usd),
        } | metadata
        params: Any = {
            "amount": amount,
            "currency": currency,
            "confirm": True,
            "payment_method": card,
            "metadata": given,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        }
        return (await self.stripe.v1.payment_intents.create_async(params)).id

    def charge_of(self, payment: str) -> dict[str, Any]:
        """Return the charge of a payment in the double."""
        return self.double.state.get("charge", self.double.state.get("payment_intent", payment)["latest_charge"])

    def events(self) -> list[dict[str, Any]]:
        """Return all events that the double has made."""
        return list(self.double.state.table("event").values())

    def webhook(self, event: dict[str, Any], secret: str = SIGNING, at: int | None = None) -> ReceiveWebhook:
        """Return the webhook of an event, signed by the official library."""
        body = json.dumps(event, default=str)
        stamp = int(self.now().timestamp()) if at is None else at
        header = stripe.WebhookSignature.generate_signature_header(body, secret, stamp)
        return ReceiveWebhook(signature=header, body=base64.b64encode(body.encode()).decode())

    async def deliver(self, parts: StripeParts, event: dict[str, Any]) -> WebhookReceived:
        return await parts.intake.receive(self.webhook(event))

    async def deliver_all(self, parts: StripeParts) -> None:
        """Deliver every event once, and process all."""
        for event in self.events():
            await self.deliver(parts, event)
        await self.process(parts)

    async def process(self, parts: StripeParts) -> None:
        while await parts.processor.work():
            pass

    async def credits(self, tenant: str) -> CreditBalance:
        return await self.operator.ask(CREDIT_GET, GetCredits(tenant=tenant), timeout_seconds=10)

    async def rows(self, statement: str, **values: object) -> list[Any]:
        """Return rows of the billing's tables."""
        async with self.database.read() as connection:
            return list((await connection.execute(text(statement), values)).all())

    async def change(self, statement: str, **values: object) -> None:
        async with self.database.change() as change:
            await change.connection.execute(text(statement), values)


@asynccontextmanager
async def payment_installation(directory: Path) -> AsyncIterator[PaymentInstallation]:
    """Run an installation."""
    found: MigratedDatabase = migrated_database(directory / "database", "usage_ledger", "billing", synced=True)
    async with provisioned_bus(directory) as bus, running_stripe() as double, stripe_client(double) as client:
        ledger = LedgerServers(bus, found.admin_url, found.url_files["usage_ledger"], directory)
        await ledger.publish_prices({})
        engine = create_async_engine(found.url_files["billing"].read_text(), pool_size=16)
        database = ServiceDatabase(engine, BILLING_SCHEMA)
        async with ledger.in_process(), bus.connected(Role.BILLING) as billing, ledger.operator() as operator:
            await database.open(billing)
            secrets = SavedSecrets(double.api_key)
            made = PaymentInstallation(ledger, billing, operator, database, double, client, secrets)
            yield made
            for gateway in made.gateways:
                await gateway.close()
            await database.close()
