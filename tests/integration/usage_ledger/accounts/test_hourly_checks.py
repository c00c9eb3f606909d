"""The hourly check compares what has changed since the last one; a whole check finds the rest."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from keyferry.contracts.accounts import GRANTED, REVENUE
from keyferry.contracts.projections import CheckedProjection
from services.usage_ledger.accounts.rebuild import AccountBalances, AccountDays
from services.usage_ledger.accounts.store import apply_transfers
from services.usage_ledger.accounts.transfer import Transfer, TransferPhase, TransferPurpose
from services.usage_ledger.projections.store import CheckStore
from services.usage_ledger.projections.watch import CHECK_EVERY, ProjectionWatch
from tests.support.servers.migrated_database import migrated_database

NOW = datetime.now(UTC)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Provide an empty ledger."""
    engine = create_async_engine(migrated_database(tmp_path, "usage_ledger").url_files["usage_ledger"].read_text())
    yield engine
    await engine.dispose()


def transfer(name: str, debit: str, credit: str, amount: int, **fields: object) -> Transfer:
    values = {"transfer_id": name, "debit": debit, "credit": credit, "amount": amount, **fields}
    return Transfer(**{"purpose": TransferPurpose.GRANT, **values})  # type: ignore[arg-type]  # passed on


async def post(engine: AsyncEngine, *transfers: Transfer, at: datetime = NOW) -> None:
    async with engine.begin() as connection:
        await apply_transfers(connection, transfers, at)


async def damage(engine: AsyncEngine, statement: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("SELECT set_config('keyferry.rebuilding', 'on', true)"))
        await connection.execute(text(statement))


async def verified_end(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(text("SELECT verified_end FROM usage_ledger.account_verification")) or 0)


async def move_on(balances: AccountBalances) -> None:
    """Check twice: the position of the first check is safe at the second."""
    for _ in range(2):
        assert (await balances.check_recent()).different == 0


def subjects(report: CheckedProjection) -> list[str]:
    return [difference.subject for difference in report.differences]


async def test_only_accounts_with_new_transfers_are_compared_and_their_old_ones_count(engine: AsyncEngine) -> None:
    balances = AccountBalances(engine)
    pending = transfer("w", "credits/a", REVENUE, 5, phase=TransferPhase.PENDING)
    await post(engine, *(transfer(f"g-{name}", GRANTED, f"credits/{name}", 100) for name in "abcd"), pending)
    assert (await balances.check_recent()).compared == 6
    await move_on(balances)
    end = await verified_end(engine)
    assert end == 5
    assert (await balances.check_recent()).compared == 0
    later = [
        transfer("l", "credits/b", "lease/b", 30, purpose=TransferPurpose.LEASE),
        transfer("s", "lease/b", REVENUE, 7, purpose=TransferPurpose.SETTLEMENT),
        transfer("p", "credits/a", REVENUE, 3, phase=TransferPhase.POST, pending_id="w"),
    ]
    await post(engine, *later)
    report = await balances.check_recent()
    assert (report.compared, report.different) == (4, 0)
    await move_on(balances)
    assert await verified_end(engine) == end + 3
    assert (await balances.check()).different == 0


async def test_a_difference_stays_until_it_is_replaced(engine: AsyncEngine) -> None:
    balances = AccountBalances(engine)
    await post(engine, transfer("g", GRANTED, "credits/a", 100), transfer("h", GRANTED, "credits/b", 100))
    await move_on(balances)
    end = await verified_end(engine)
    await post(engine, transfer("i", GRANTED, "credits/a", 1))
    await damage(
        engine, "UPDATE usage_ledger.accounts SET credits_posted = credits_posted + 7 WHERE name = 'credits/a'"
    )
    for _ in range(3):
        found = await balances.check_recent()
        assert subjects(found) == ["credits/a"]
        assert "credits_posted is 108, its transfers give 101" in found.differences[0].detail
    assert await verified_end(engine) == end
    assert subjects(await balances.rebuild()) == ["credits/a"]
    await move_on(balances)
    assert await verified_end(engine) > end


async def test_a_transfer_that_is_committed_late_is_not_passed_over(engine: AsyncEngine) -> None:
    balances = AccountBalances(engine)
    await post(engine, transfer("g", GRANTED, "credits/a", 100))
    await move_on(balances)
    async with engine.begin() as late:
        lease = transfer("late", "credits/a", "lease/late", 5, purpose=TransferPurpose.LEASE)
        await apply_transfers(late, [lease], NOW)
        # Another one is committed with a later position.
        await post(engine, transfer("h", "platform/granted", "credits/b", 100))
        await move_on(balances)
        assert await verified_end(engine) == 1
    await move_on(balances)
    assert await verified_end(engine) == 3
    await post(engine, transfer("i", GRANTED, "credits/a", 1))
    assert subjects(await balances.check_recent()) == []


async def test_the_newest_transaction_is_waited_for_as_well(engine: AsyncEngine) -> None:
    """None that began after it has ended, so that no snapshot knows of it."""
    balances = AccountBalances(engine)
    await post(engine, transfer("g", GRANTED, "credits/a", 100))
    await move_on(balances)
    async with engine.begin() as late:
        await apply_transfers(late, [transfer("late", GRANTED, "credits/b", 5)], NOW)
        await move_on(balances)
        assert await verified_end(engine) == 1
    await move_on(balances)
    assert await verified_end(engine) == 2
    await post(engine, transfer("i", GRANTED, "credits/b", 1))
    assert subjects(await balances.check_recent()) == []


async def test_what_a_whole_check_finds_is_reported_until_it_is_replaced(engine: AsyncEngine) -> None:
    now = [NOW]

    async def audit(*_: object) -> None:
        raise AssertionError("a check changes nothing")

    balances = AccountBalances(engine)
    watch = ProjectionWatch(CheckStore(engine), [balances, AccountDays(engine)], audit, lambda: now[0])
    await post(engine, transfer("g", GRANTED, "credits/a", 100))
    for _ in range(3):
        assert await watch.check_due() == ["accounts", "account days"]
        now[0] += CHECK_EVERY + timedelta(seconds=1)
    await damage(engine, "UPDATE usage_ledger.accounts SET credits_posted = 90 WHERE name = 'credits/a'")
    await watch.check_due()
    assert watch.degraded() == [], "nobody has moved it since"
    await CheckStore(engine).save(await balances.check(), now[0])
    for _ in range(2):
        now[0] += CHECK_EVERY + timedelta(seconds=1)
        await watch.check_due()
        assert len(watch.degraded()) == 1
    await balances.rebuild()
    now[0] += CHECK_EVERY + timedelta(seconds=1)
    await watch.check_due()
    assert watch.degraded() == []


async def test_recent_days_are_compared_with_their_transfers(engine: AsyncEngine) -> None:
    days = AccountDays(engine)
    await post(engine, transfer("g", GRANTED, "credits/a", 100), at=NOW - timedelta(days=30))
    await post(engine, transfer("l", "credits/a", "lease/a", 50, purpose=TransferPurpose.LEASE))
    for ago in (20, 2, 0):
        settled = transfer(f"s-{ago}", "lease/a", REVENUE, 5, purpose=TransferPurpose.SETTLEMENT)
        await post(engine, settled, at=NOW - timedelta(days=ago))
    assert (await days.check_recent()).compared == 3
    assert (await days.check_recent()).compared == 1
    await damage(engine, "UPDATE usage_ledger.account_days SET amount = amount + 1")
    for _ in range(2):
        assert subjects(await days.check_recent()) == [f"credits/a on {NOW:%Y-%m-%d}"]
    assert (await days.check()).different == 3
    await days.rebuild()
    assert (await days.check_recent()).different == 0
