"""A ledger that is killed while alerts fire: its successor publishes every change once, numbered without gaps."""

from datetime import UTC, datetime

from nats.aio.msg import Msg

from keyferry.contracts.alert_events import AlertChanged
from keyferry.contracts.alert_management import ALERT_LIST, ALERT_RULE_SAVE, ALERTS
from keyferry.contracts.alert_rules import SaveAlertRule
from keyferry.contracts.alerts import ListAlerts
from keyferry.contracts.buckets import PROVIDER_KEYS_VIEW
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import TENANTS_VIEW, Role
from keyferry.runtime.views import ViewWriter
from tests.integration.usage_ledger.processes import LedgerServers, reports
from tests.support.ledger.attempt_records import attempt_record
from tests.support.waiting import eventually

_RULES = 30


async def test_a_successor_publishes_what_is_left_once(servers: LedgerServers) -> None:
    events: list[AlertChanged] = []

    async def note(message: Msg) -> None:
        events.append(AlertChanged.decode(message.data))

    async with servers.installation.client(Role.TENANT_DIRECTORY) as directory:
        tenant = Tenant(tenant="acme", name="acme", tier=Tier.STARTER)
        await ViewWriter(directory, TENANTS_VIEW).reconcile({"acme": tenant.encode()})
    async with servers.installation.client(Role.KEY_VAULT) as vault:
        await ViewWriter(vault, PROVIDER_KEYS_VIEW).reconcile({})
    async with servers.installation.client(Role.PROVISIONER) as reader, servers.operator() as operator:
        await reader.jetstream().subscribe("kf.v1.alert.changed.*", stream=ALERTS.name, cb=note, ordered_consumer=True)
        async with servers.process() as first, servers.worker() as worker:
            await reports(operator, 1)
            terms = {"tenant": "acme", "metric": "requests", "window": "month", "condition": {"threshold": "1"}}
            for number in range(_RULES):
                command = SaveAlertRule.model_validate(terms | {"name": f"rule {number}"})
                await operator.ask(ALERT_RULE_SAVE, command, timeout_seconds=10)
            records = [attempt_record(started_at=datetime.now(UTC))]
            await worker.publish([record.encode() for record in records])
            await eventually("the first alert is published", lambda: events)
            first.kill()
            await first.exited()
        async with servers.in_process():
            await eventually("every rule has fired", lambda: len({one.rule_id for one in events}) == _RULES)
            found = await operator.ask(ALERT_LIST, ListAlerts(tenant="acme", limit=200), timeout_seconds=10)
    assert len(found.alerts) == _RULES
    assert {one.message_id: one.alert_id for one in events} == {
        f"acme.{alert.rule_id}.1": alert.alert_id for alert in found.alerts
    }
    assert len(events) == _RULES, "the stream has each change once"
