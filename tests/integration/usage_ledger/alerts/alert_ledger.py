"""A ledger as other services see it when alerts fire."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from keyferry.contracts.alert_events import AlertChanged
from keyferry.contracts.alert_management import ALERT_LIST, ALERT_RULE_SAVE, ALERTS
from keyferry.contracts.alert_rules import AlertRuleStatus, SaveAlertRule
from keyferry.contracts.alerts import Alert, AlertState, ListAlerts
from keyferry.contracts.buckets import PROVIDER_KEYS_VIEW, TENANTS_VIEW
from keyferry.contracts.channels import AnySubject
from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import Role
from keyferry.contracts.usage import AttemptRecord
from keyferry.runtime.views import ViewWriter
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.ledger.attempt_records import attempt_record
from tests.support.waiting import eventually

KEY = KeyFacts(
    key_id="key_own1",
    tenant="acme",
    provider="openai",
    label="main",
    status=KeyStatus.VALID,
    version=1,
    origin="https://api.openai.com",
    base_url="https://api.openai.com/v1",
)


@dataclass
class AlertLedger:
    """The ledger, those who send to it, and what it has published."""

    servers: LedgerServers
    operator: Any
    worker: Any
    vault: Client
    events: list[AlertChanged] = field(default_factory=list)

    async def note(self, message: Msg) -> None:
        self.events.append(AlertChanged.decode(message.data))

    async def ask(self, subject: AnySubject, command: Any) -> Any:
        return await self.operator.ask(subject, command, timeout_seconds=20)

    async def save_rule(self, **terms: object) -> AlertRuleStatus:
        """Add a rule of acme, which fires again at once."""
        given = {"tenant": "acme", "name": "watch", "cooldown_seconds": 0, "margin_percent": 0} | terms
        found: AlertRuleStatus = await self.ask(ALERT_RULE_SAVE, SaveAlertRule.model_validate(given))
        return found

    async def record(self, *records: AttemptRecord) -> None:
        """Have attempts recorded."""
        await self.worker.publish([record.encode() for record in records])
        await self.worker.until_confirmed(list(records))

    async def use(self, number: int = 1, **changes: object) -> None:
        """Have attempts recorded that begin now."""
        now = datetime.now(UTC)
        await self.record(*(attempt_record(started_at=now, **changes) for _ in range(number)))

    async def put_keys(self, *keys: KeyFacts) -> None:
        """Make these the keys of all tenants, as the vault publishes them."""
        entries = {f"{key.tenant}.{key.key_id}": key.encode() for key in keys}
        await ViewWriter(self.vault, PROVIDER_KEYS_VIEW).reconcile(entries)

    async def alerts(self, tenant: str = "acme", **query: object) -> list[Alert]:
        """Return a tenant's alerts, newest first."""
        found = await self.ask(ALERT_LIST, ListAlerts.model_validate({"tenant": tenant} | query))
        return list(found.alerts)

    def states(self, rule_id: str, tenant: str = "acme") -> list[AlertState]:
        """Return the states that were published of a rule, in order."""
        return [event.state for event in self.events if (event.rule_id, event.tenant) == (rule_id, tenant)]

    async def until(self, rule_id: str, *states: AlertState, tenant: str = "acme") -> None:
        """Wait until exactly these states were published of a rule."""
        wanted = list(states)
        await eventually(
            f"{rule_id} publishes {', '.join(wanted)}",
            lambda: self.states(rule_id, tenant)[: len(wanted)] == wanted,
            timeout_seconds=30,
        )


@asynccontextmanager
async def alert_ledger(
    servers: LedgerServers, tenants: Sequence[str] = ("acme", "globex"), **of_tenants: object
) -> AsyncIterator[AlertLedger]:
    """Run a ledger whose alerts are noted as they are stored in the stream."""
    async with servers.installation.client(Role.TENANT_DIRECTORY) as directory:
        entries = {
            name: Tenant.model_validate({"tenant": name, "name": name, "tier": Tier.STARTER} | of_tenants).encode()
            for name in tenants
        }
        await ViewWriter(directory, TENANTS_VIEW).reconcile(entries)
    async with (
        servers.installation.client(Role.KEY_VAULT) as vault,
        servers.installation.client(Role.PROVISIONER) as reader,
    ):
        await ViewWriter(vault, PROVIDER_KEYS_VIEW).reconcile({})
        async with servers.in_process(), servers.operator() as operator, servers.worker() as worker:
            found = AlertLedger(servers, operator, worker, vault)
            await reader.jetstream().subscribe(
                "kf.v1.alert.changed.*", stream=ALERTS.name, cb=found.note, ordered_consumer=True
            )
            yield found
