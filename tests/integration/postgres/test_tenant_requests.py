"""Requests that name a tenant, handled by the services that have tables: in which role their statements run."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from faststream.nats import NatsBroker
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from deploy.postgres.roles import SERVICES_WITH_TABLES
from keyferry.contracts.alert_metrics import AlertMetric, AlertWindow, ScopeField
from keyferry.contracts.alert_references import AlertReference
from keyferry.contracts.alert_rules import AlertCondition, AlertScope, AlertSeverity
from keyferry.contracts.analytics import Dimension
from keyferry.contracts.budget import BudgetScope, BudgetWindow
from keyferry.contracts.channels import AnySubject
from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.payment_management import CREDIT_RECORD_PAYMENT
from keyferry.contracts.payments import STRIPE, PaymentKind, PaymentReceipt
from keyferry.contracts.preferences import GivenPreferences
from keyferry.contracts.rules import Rule, RuleSet
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import Role, SubjectKind, subscriptions_of
from keyferry.contracts.usage_mail import ReportFrequency
from keyferry.runtime.database import engine as runtime_engine
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.views import KvView
from tests.contract.messages.test_subscriptions import created
from tests.support.servers.migrated_database import migrated_database

BEYOND = {
    **dict.fromkeys(
        ("lago.backfill", "lago_customer.save"),
        "a customer in Lago is the operators' choice, and what is reported is not the tenant's to read",
    ),
    "payment.check_missing": "it settles payments, whose rows the tenant's role may only read; each statement names the payment",
    "budget.save": "what was spent before is counted under locks that keep the recording of all tenants out, and the limit is"
    " funded by an account of the platform",
    **dict.fromkeys(
        (
            *("tenant.erase_in_router", "tenant.erase_in_usage_ledger", "tenant.erase_in_key_vault"),
            *("tenant.erase_in_billing", "tenant.erase_in_notifier"),
        ),
        "a tenant's role may not remove all of its own rows, such as recorded attempts; each statement names the tenant",
    ),
}
"""The requests that are not confined to the tenant that they name, and why."""
WITHOUT_SQL = {
    *("model.list", "feedback.preview", "cost.estimate", "power_level.compare", "route.explain", "preferences.preview"),
    "reference.check_in_router",
    # Which first ask other services, of which there is none here.
    *("recommendation.list", "reconciliation.run"),
    # As they are sent here, they are refused before: no worker tries the address, no ledger has requests, no draft is to publish.
    *("endpoint.save", "rules.dry_run", "rules.publish", "alert_rule.preview"),
    # There is no key of Stripe, and no subscription to the tier is sold.
    *("package.list", "checkout.create", "subscription.start", "subscription.change"),
}
"""Requests that are answered from memory."""
ACME = Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE)
ENTER = "SELECT set_config('app.tenant', %(tenant)s, true), set_config('role', %(role)s, true)"
Handler = Callable[[Any], Awaitable[Any]]

OF_SUBJECT: Mapping[str, Mapping[str, object]] = {
    "alert_rule.save": {"scope": AlertScope(), "metric": AlertMetric.REQUESTS, "window": AlertWindow.MONTH},
    "analytics.break_down": {"by": [Dimension.MODEL]},
    "analytics.list_series": {"by": Dimension.MODEL},
    "credits.record_payment": {"kind": PaymentKind.PURCHASE, "source": STRIPE, "source_id": "pi_1"},
    "integration_secret.lease_to_billing": {"kind": IntegrationKind.OPENAI_ADMIN_KEY},
    "integration_secret.lease_to_notifier": {"kind": IntegrationKind.WEBHOOK_SECRET},
    "integration_secret.save": {"kind": IntegrationKind.OPENAI_ADMIN_KEY},
    "reference.check_in_directory": {"references": [AlertReference(field=ScopeField.TEAM, value="research")]},
    "reference.check_in_router": {"references": [AlertReference(field=ScopeField.MODEL, value="echo")]},
    "webhook_secret.save": {"kind": IntegrationKind.WEBHOOK_SECRET},
}
"""What a field has in requests where others with a field of this name have something else."""


@dataclass
class Recorded:
    """The statements of each transaction, in order, and those that the role may not run."""

    transactions: list[list[tuple[str, Any]]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@contextlib.contextmanager
def recording() -> Iterator[Recorded]:
    found = Recorded()

    def on_begin(_connection: object) -> None:
        found.transactions.append([])

    def on_statement(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        found.transactions[-1].append((statement, parameters))

    def on_error(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, InsufficientPrivilege):
            found.refused.append(f"{context.original_exception} in {context.statement}")

    # First, since the statement that enters the scope is one of the transaction's.
    event.listen(Engine, "begin", on_begin, insert=True)
    event.listen(Engine, "before_cursor_execute", on_statement)
    event.listen(Engine, "handle_error", on_error)
    try:
        yield found
    finally:
        event.remove(Engine, "begin", on_begin)
        event.remove(Engine, "before_cursor_execute", on_statement)
        event.remove(Engine, "handle_error", on_error)


def command_of(subject: AnySubject) -> Any:
    """Return a request of a tenant, with what its handler looks at before it asks the database."""
    given: dict[str, object] = {
        "tenant": "acme",
        "key_id": "key_01",
        "request_id": "req_01",
        "token_id": "tok_01",
        "name": "mine",
        "provider": "openai",
        "sealed": None,
        "confirm": "acme",
        "tier": "free",
        "digest": "0" * 64,
        "label": "test",
        "allowed_models": None,
        "expires_at": None,
        "budget_id": "bud_1",
        "purchase": "pur_1",
        "enabled": False,
        "consent": False,
        "threshold": Decimal(1),
        "price_usd": Decimal(10),
        "monthly_ceiling_usd": Decimal(10),
        "undo": False,
        "limit": 20,
        "reconciliation_id": "rcn_1",
        "day": date(2026, 3, 1),
        "scope": BudgetScope.TENANT,
        "window": BudgetWindow.model_construct(),
        "alert_id": "alt_1",
        "rule_id": "alr_1",
        "metric": AlertMetric.CHANNEL_FAILING,
        "subject": "",
        "raised": True,
        "text": "test",
        "rater": "someone",
        "rating": 5,
        "comment": None,
        "idempotency_key": "once",
        "credits": 1,
        "reason": "test",
        "note": "test",
        "version": 1,
        "source": None,
        "rule_set": RuleSet(rules=[]),
        "revision": 0,
        "by": [],
        "actor": "operator",
        "resource": "provider-keys",
        "preferences": GivenPreferences(),
        "expected_revision": None,
        "channel_id": "chn_1",
        "secret_id": "isec_1",
        "overlap_seconds": 0,
        "instance_id": "one",
        "month": "2026-03",
        "rule": Rule.model_validate({"name": "cheap", "chain": [{"model": "echo"}]}),
        "amount_micro_usd": 10_000,
        "receipt": PaymentReceipt(payment_id="pi_1", amount_minor=1, currency="usd", livemode=False),
        "at": datetime(2026, 3, 1, tzinfo=UTC),
        "condition": AlertCondition(threshold=Decimal(1)),
        "severity": AlertSeverity.WARNING,
        "channels": [],
        "endpoint_id": "whe_1",
        "target_id": "whe_1",
        "report_id": "rep_1",
        "url": "https://example.com/hook",
        "address": "ops@example.com",
        "code": "12345678",
        "frequency": ReportFrequency.DAILY,
        "attempt_ids": ["att_1"],
        "since": datetime(2026, 3, 1, tzinfo=UTC),
        "until": datetime(2026, 3, 2, tzinfo=UTC),
    }
    if subject is CREDIT_RECORD_PAYMENT:
        given |= {"kind": PaymentKind.PURCHASE, "source_id": "pi_1"}
    given |= OF_SUBJECT.get(subject.name, {})
    fields = subject.message.model_fields
    return subject.message.model_construct(**{name: value for name, value in given.items() if name in fields})


async def _no_heads(*_: object) -> dict[str, bytes]:
    return {}


def _kept(engines: list[AsyncEngine], *args: Any, **kwargs: Any) -> AsyncEngine:
    engines.append(create_async_engine(*args, **kwargs))
    return engines[-1]


def names_tenant(subject: AnySubject) -> bool:
    found = subject.message.model_fields.get("tenant")
    return found is not None and subject.kind is SubjectKind.REQUEST and not subject.fast_path


@pytest.mark.parametrize("role", [Role(name.replace("_", "-")) for name in SERVICES_WITH_TABLES])
async def test_statements_run_as_the_tenant_role(role: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: dict[str, Handler] = {}
    monkeypatch.setattr(
        NatsBroker, "subscriber", lambda _self, pattern, *_, **__: lambda each: handlers.update({pattern: each})
    )
    monkeypatch.setattr(KvView, "ready", True)
    if role is not Role.KEY_VAULT:
        monkeypatch.setattr(KvView, "get", lambda _self, key: ACME if key == "acme" else None)
    monkeypatch.setattr("services.usage_ledger.audit_assembly._read_heads", _no_heads)
    engines: list[AsyncEngine] = []
    monkeypatch.setattr(runtime_engine, "create_async_engine", lambda *args, **kwargs: _kept(engines, *args, **kwargs))
    schema = role.value.replace("-", "_")
    database = migrated_database(tmp_path / "database", schema)
    service: Service = created(role, tmp_path, monkeypatch, database.url_files[schema])
    unused, beyond = set(), service.bus.beyond_tenants
    for subject in subscriptions_of(role):
        if not names_tenant(subject):
            continue
        with recording() as found, contextlib.suppress(Exception):
            await handlers[subject.pattern()](command_of(subject))
        assert found.refused == [], subject.name
        if subject.name in beyond:
            continue
        if not found.transactions:
            unused.add(subject.name)
        for statements in found.transactions:
            assert statements[0][0] == ENTER, f"{subject.name}: {statements[0][0]}"
            assert statements[0][1]["tenant"] == "acme"
            assert statements[0][1]["role"].endswith(f"_{schema}_tenant")
    for engine in engines:
        await engine.dispose()
    own = {subject.name for subject in subscriptions_of(role)}
    assert beyond == {name: reason for name, reason in BEYOND.items() if name in own}
    assert unused == WITHOUT_SQL & own, sorted(unused ^ (WITHOUT_SQL & own))
