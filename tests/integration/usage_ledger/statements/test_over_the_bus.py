"""Statements as the console asks for them: from a running ledger, which confines its statements to the tenant."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from keyferry.contracts.credit_management import GrantCredits
from keyferry.contracts.ledger_management import CREDIT_GRANT
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.statement_management import STATEMENT_GET, STATEMENT_LIST
from keyferry.contracts.statements import GetStatement, ListStatements, Statement
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import TENANTS_VIEW, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import ViewWriter
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.ledger.attempt_records import attempt_record
from tests.support.waiting import eventually_async

ZONE = "Pacific/Kiritimati"


async def test_a_running_ledger_answers_for_each_tenant_alone(servers: LedgerServers) -> None:
    tenants = {
        name: Tenant(tenant=name, name=name.title(), tier=Tier.STARTER, time_zone=ZONE).encode()
        for name in ("acme", "globex")
    }
    async with servers.installation.client(Role.TENANT_DIRECTORY) as directory:
        await ViewWriter(directory, TENANTS_VIEW).reconcile(tenants)
    async with servers.in_process(), servers.operator() as operator:
        for name, amount in (("acme", "5000"), ("globex", "70")):
            grant = GrantCredits(tenant=name, credits=Decimal(amount), idempotency_key="g", reason="welcome")
            await operator.ask(CREDIT_GRANT, grant, timeout_seconds=20)
        async with servers.worker() as worker:
            now = datetime.now(UTC)
            records = [attempt_record(tenant=name, started_at=now) for name in ("acme", "acme", "globex")]
            await worker.publish([each.encode() for each in records])

        async def both() -> Statement | None:
            found = await newest(operator, "acme")
            return found if found.total.attempts == 2 else None

        found = await eventually_async("both attempts are in the statement", both)
        assert (found.tenant, found.tenant_name, found.tz) == ("acme", "Acme", ZONE)
        assert found.account.closing_micro_usd == 5_000_000
        assert (await newest(operator, "globex")).account.closing_micro_usd == 70_000
        for tenant, month in (("acme", "2020-01"), ("nobody", found.month)):
            query = GetStatement(tenant=tenant, month=month)
            with pytest.raises(Refused) as caught:
                await operator.ask(STATEMENT_GET, query, timeout_seconds=20)
            assert caught.value.refusal.code is ErrorCode.NOT_FOUND


async def newest(bus: Bus, tenant: str) -> Statement:
    listed = await bus.ask(STATEMENT_LIST, ListStatements(tenant=tenant), timeout_seconds=20)
    query = GetStatement(tenant=tenant, month=listed.statements[0].month)
    return await bus.ask(STATEMENT_GET, query, timeout_seconds=20)
