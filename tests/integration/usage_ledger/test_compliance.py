"""The compliance report of a tenant, from a real audit and real attempts, and nothing of another tenant."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts import ids
from keyferry.contracts.audit import AuditEvent, AuditOutcome
from keyferry.contracts.compliance import MAX_LINES_OF_A_PART, ComplianceReport, GetComplianceReport
from keyferry.contracts.compliance_management import COMPLIANCE_GET
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import ContentPolicy, Tenant, Tier
from keyferry.contracts.topology import TENANTS_VIEW, Role
from keyferry.contracts.usage import KeySource
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import ViewWriter
from services.usage_ledger.audit_store import AuditStore
from services.usage_ledger.compliance.store import ComplianceStore
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.ledger.attempt_records import attempt_record
from tests.support.waiting import eventually_async

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=30)
NOON = BEGIN + timedelta(hours=12)


def event(number: int, action: str, *, actor: str = "member:ann", target: str = "acme", **more: object) -> AuditEvent:
    values: dict[str, object] = {
        "event_id": ids.new(ids.AUDIT_EVENT),
        "service": Role.KEY_VAULT.value,
        "sequence": number,
        "tenant": "acme",
        "actor": actor,
        "action": action,
        "target": target,
        "outcome": AuditOutcome.DONE,
        "at": NOON + timedelta(minutes=number),
    }
    return AuditEvent.model_validate(values | more)


EVENTS = [
    event(1, "operator.access", actor="console:operator", target="provider-keys"),
    event(2, "operator.access", actor="console:operator", target="provider-keys"),
    event(3, "operator.access", actor="console:operator", target="export"),
    event(4, "content.read", target="req_1"),
    event(5, "session.start", actor="usr_ann", target="ses_1"),
    event(6, "key.add", target="key_1"),
    event(7, "key.lease", actor="provider-worker-1", target="key_1"),
    event(8, "key.lease", actor="provider-worker-1", target="key_1"),
    event(9, "key.lease", actor="provider-worker-1", target="key_1", outcome=AuditOutcome.REFUSED),
    event(10, "tenant.update", details={"content": "off → full"}),
    event(11, "member.remove", target="mem_1"),
    event(12, "key.remove", target="key_1"),
    event(13, "key.add", target="key_late", at=END),
    event(14, "key.add", target="key_early", at=BEGIN - timedelta(seconds=1)),
    event(15, "key.add", target="key_of_globex", tenant="globex", actor="member:eve"),
]


async def ask(operator: Bus, tenant: str = "acme", since: datetime = BEGIN, until: datetime = END) -> ComplianceReport:
    command = GetComplianceReport(tenant=tenant, since=since, until=until)
    return await operator.ask(COMPLIANCE_GET, command, timeout_seconds=30)


async def test_a_report_has_all_of_its_tenant_and_span_and_nothing_else(
    servers: LedgerServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with servers.installation.client(Role.TENANT_DIRECTORY) as directory:
        acme = Tenant(tenant="acme", name="Acme", tier=Tier.FREE, content=ContentPolicy.FULL, content_days=7)
        globex = Tenant(tenant="globex", name="Globex", tier=Tier.FREE)
        await ViewWriter(directory, TENANTS_VIEW).reconcile({"acme": acme.encode(), "globex": globex.encode()})
    attempts = [
        attempt_record(started_at=NOON),
        attempt_record(
            started_at=NOON + timedelta(hours=1), provider="openai", key_source=KeySource.BYOK, key_id="key_1"
        ),
        attempt_record(
            started_at=NOON + timedelta(hours=2), provider="openai", key_source=KeySource.BYOK, key_id="key_1"
        ),
        attempt_record(
            started_at=NOON,
            provider="openai_compatible",
            endpoint="mine",
            origin="https://llm.example.com:443",
            key_source=KeySource.CUSTOM,
        ),
        attempt_record(started_at=END),
        attempt_record(
            started_at=NOON, tenant="globex", provider="mistral", key_source=KeySource.PLATFORM, key_id="key_p"
        ),
    ]
    async with servers.in_process(), servers.operator() as operator:
        async with servers.installation.client(Role.KEY_VAULT) as vault:
            for one in EVENTS:
                await vault.jetstream().publish(f"kf.v1.audit.recorded.{Role.KEY_VAULT.value}", one.encode())
        async with servers.worker() as worker:
            await worker.publish([one.encode() for one in attempts])

        async def complete() -> ComplianceReport | None:
            found = await ask(operator)
            whole = len(found.deletions) == 2 and sum(each.attempts for each in found.destinations) == 4
            return found if whole and (await ask(operator, "globex")).keys else None

        found = await eventually_async("everything is recorded", complete)
        other = await ask(operator, "globex")
        for since, until, tenant, code in (
            (END, BEGIN, "acme", ErrorCode.INVALID),
            (BEGIN, END, "nobody", ErrorCode.NOT_FOUND),
        ):
            with pytest.raises(Refused) as caught:
                await ask(operator, tenant, since, until)
            assert caught.value.refusal.code is code

    assert (found.content, found.content_days, found.shortened) == (ContentPolicy.FULL, 7, [])
    done = [(each.actor, each.action, each.resource, each.count) for each in found.activities]
    assert done[0] == ("console:operator", "operator.access", "provider-keys", 2)
    assert ("console:operator", "operator.access", "export", 1) in done
    assert ("member:ann", "content.read", None, 1) in done
    assert ("usr_ann", "session.start", None, 1) in done
    assert "key.lease" not in [action for _, action, _, _ in done]
    first = found.activities[0]
    assert (first.first_at, first.last_at) == (NOON + timedelta(minutes=1), NOON + timedelta(minutes=2))
    assert [
        (each.provider, each.endpoint, each.origin, each.key_source.value, each.key_id, each.attempts)
        for each in found.destinations
    ] == [
        ("openai", None, None, "byok", "key_1", 2),
        ("echo", None, None, "none", None, 1),
        ("openai_compatible", "mine", "https://llm.example.com:443", "custom", None, 1),
    ]
    assert [(each.key_id, each.action, each.outcome.value, each.count) for each in found.keys] == [
        ("key_1", "key.add", "done", 1),
        ("key_1", "key.lease", "done", 2),
        ("key_1", "key.lease", "refused", 1),
        ("key_1", "key.remove", "done", 1),
    ]
    assert [(each.actor, each.details) for each in found.policy_changes] == [("member:ann", {"content": "off → full"})]
    assert [(each.action, each.target) for each in found.deletions] == [
        ("key.remove", "key_1"),
        ("member.remove", "mem_1"),
    ]
    assert [each.key_id for each in other.keys] == ["key_of_globex"]
    assert [(each.provider, each.key_id) for each in other.destinations] == [("mistral", None)]
    assert other.content is ContentPolicy.OFF


async def test_what_is_left_out_of_a_long_part_is_said(engine: AsyncEngine) -> None:
    count = MAX_LINES_OF_A_PART + 1
    many = [event(n, "key.add", tenant="busy", target=f"key_{n}", at=NOON) for n in range(1, count + 1)]
    await AuditStore(engine).append(many, NOON)
    found = await ComplianceStore(engine).read(GetComplianceReport(tenant="busy", since=BEGIN, until=END))
    assert (len(found.keys), found.shortened) == (MAX_LINES_OF_A_PART, ["keys"])
    assert [each.count for each in found.activities] == [count]
