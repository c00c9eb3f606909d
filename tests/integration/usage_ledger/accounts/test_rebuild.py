"""Balances and days are computed from the transfers again: a difference is found, named, reported and replaced."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from keyferry.cli import main
from keyferry.contracts.accounts import GRANTED, REVENUE
from keyferry.contracts.audit import ListAudit
from keyferry.contracts.ledger_management import PROJECTION_REBUILD
from keyferry.contracts.projections import RebuildProjections
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import AUDIT_LIST, Role
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.accounts.rebuild import AccountBalances, AccountDays
from services.usage_ledger.accounts.store import apply_transfers, expire_transfers, read_balances
from services.usage_ledger.accounts.transfer import Transfer, TransferPhase, TransferPurpose
from services.usage_ledger.projections.registry import Rebuildable
from services.usage_ledger.projections.store import CheckStore
from services.usage_ledger.projections.watch import CHECK_EVERY, ProjectionWatch
from tests.integration.usage_ledger.processes import LedgerServers, reports

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAMAGES = (
    "UPDATE usage_ledger.accounts SET credits_posted = credits_posted + 7 WHERE name = 'credits/acme'",
    "UPDATE usage_ledger.accounts SET debits_pending = 0 WHERE name = 'credits/acme'",
    "UPDATE usage_ledger.account_days SET amount = amount + 1 WHERE account = 'credits/acme'",
)


def transfer(name: str, debit: str, credit: str, amount: int, **fields: object) -> Transfer:
    values = {"transfer_id": name, "debit": debit, "credit": credit, "amount": amount, **fields}
    return Transfer(**{"purpose": TransferPurpose.GRANT, **values})  # type: ignore[arg-type]  # passed on


async def post_some(engine: AsyncEngine) -> None:
    """Post transfers of every phase, on two days."""
    first = [
        transfer("r-1", GRANTED, "credits/acme", 1000),
        transfer("r-2", "credits/acme", "lease/r", 100, purpose=TransferPurpose.LEASE),
        transfer("r-3", "lease/r", REVENUE, 30, purpose=TransferPurpose.SETTLEMENT),
        transfer("r-4", "credits/acme", REVENUE, 50, phase=TransferPhase.PENDING),
        transfer("r-5", "credits/acme", REVENUE, 20, phase=TransferPhase.PENDING, expires_at=NOW + timedelta(days=1)),
    ]
    later = [
        transfer("r-6", "credits/acme", REVENUE, 40, phase=TransferPhase.POST, pending_id="r-4"),
        transfer("r-7", "credits/acme", REVENUE, 10, phase=TransferPhase.PENDING),
        transfer("r-8", "lease/r", REVENUE, 5, purpose=TransferPurpose.SETTLEMENT),
    ]
    async with engine.begin() as connection:
        await apply_transfers(connection, first, NOW)
        await apply_transfers(connection, later, NOW + timedelta(days=1))
        assert await expire_transfers(connection, NOW + timedelta(days=1)) == 1


async def test_differences_are_found_reported_and_replaced(
    servers: LedgerServers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYFERRY_NATS_URL", servers.installation.nats_url)
    monkeypatch.setenv("KEYFERRY_NATS_NKEY_FILE", str(servers.installation.seed_file(Role.OPERATOR)))
    engine = create_async_engine(servers.settings().database_url().reveal())

    async def rebuild(*arguments: str) -> tuple[int, str]:
        status = await asyncio.to_thread(main.run, ["ledger", "rebuild", *arguments])
        return status, "".join(capsys.readouterr())

    async def degraded() -> list[str]:
        async with servers.operator() as operator:
            return [text for report in await reports(operator, 1) for text in report.degraded]

    async with servers.in_process(), servers.operator() as operator:
        await post_some(engine)
        assert (await rebuild("--check"))[0] == 0
        async with engine.connect() as connection:
            true = await read_balances(connection, ["credits/acme", "lease/r", REVENUE, GRANTED])
        for damage in DAMAGES:
            servers.query(f"SET session_replication_role = replica; {damage}")
        status, shown = await rebuild("--check")
        assert status == 1
        assert "credits/acme: credits_posted is 1007, its transfers give 1000" in shown
        assert "debits_pending is 0, its transfers give 10" in shown
        assert "credits/acme on 2026-11-29: 31 is kept, 30 was charged" in shown
        assert "accounts: 6 compared, 1 DIFFERENT" in shown
        assert any("credits/acme" in text for text in await degraded())
        assert (await rebuild("--check", "--projection", "accounts"))[0] == 1

        status, shown = await rebuild()
        assert (status, "1 replaced" in shown) == (0, True)
        assert (await rebuild("--check"))[0] == 0
        assert await degraded() == []
        async with engine.connect() as connection:
            assert await read_balances(connection, list(true)) == true
        audit = (await operator.ask(AUDIT_LIST, ListAudit(tenant="platform"), timeout_seconds=10)).entries
        assert [entry.event.action for entry in audit] == ["ledger.rebuild"]
        with pytest.raises(Refused) as refused:
            await operator.ask(PROJECTION_REBUILD, RebuildProjections(projection="moods"), timeout_seconds=10)
        assert refused.value.refusal.code is ErrorCode.NOT_FOUND
    await engine.dispose()


async def test_one_process_checks_each_hour_and_all_report_what_it_found(servers: LedgerServers) -> None:
    engine = create_async_engine(servers.settings().database_url().reveal())
    now = [NOW]

    async def audit(*_: object) -> None:
        raise AssertionError("a check changes nothing")

    def watch() -> ProjectionWatch:
        projections: list[Rebuildable] = [AccountBalances(engine), AccountDays(engine)]
        return ProjectionWatch(CheckStore(engine), projections, audit, lambda: now[0])

    first, second = watch(), watch()
    await post_some(engine)
    async with CheckStore(engine).elected() as elected:
        assert elected
        assert await first.check_due() == [], "another process checks"
    assert await first.check_due() == ["accounts", "account days"]
    assert await second.check_due() == []
    servers.query(f"SET session_replication_role = replica; {DAMAGES[0]}")
    assert await first.check_due() == []
    assert first.degraded() == []
    now[0] += CHECK_EVERY + timedelta(seconds=1)
    assert await second.check_due() == ["accounts", "account days"]
    assert await first.check_due() == []
    for each in (first, second):
        assert [text.split(":")[0] for text in each.degraded()] == [
            "1 of 4 accounts are not what the records give (credits/acme)"
        ]
    await engine.dispose()


async def test_transfers_that_are_posted_meanwhile_are_in_the_rebuilt_balances(engine: AsyncEngine) -> None:
    balances, days = AccountBalances(engine), AccountDays(engine)

    async def spend(worker: int) -> None:
        account, lease = f"credits/busy-{worker}", f"lease/busy-{worker}"
        for number in range(10):
            name = f"busy-{worker}-{number}"
            transfers = [
                transfer(f"{name}-a", GRANTED, account, 10),
                transfer(f"{name}-b", account, lease, 5),
                transfer(f"{name}-c", lease, REVENUE, 2),
            ]
            async with engine.begin() as connection:
                await apply_transfers(connection, transfers, NOW)

    async def rebuild() -> None:
        for _ in range(3):
            await balances.rebuild()
            await days.rebuild()

    await asyncio.gather(*(spend(worker) for worker in range(4)), rebuild())
    for projection in (balances, days):
        report = await projection.check()
        assert (report.different, report.compared > 0) == (0, True), report
