"""Leases in PostgreSQL: granted, settled once, given back once, released after their end, and never more than there is."""

import asyncio
import random
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.accounts import ABSORBED, ALLOWANCES, BUDGETS, REVENUE, AccountKind
from keyferry.contracts.credit import LEASE_MS, CreditLease, LeaseResult, Reservation
from keyferry.contracts.usage import Outcome
from services.router.credit.wallet import CreditWallet
from services.usage_ledger.accounts.store import apply_transfers
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.credit.rules import PLENTY
from tests.integration.usage_ledger.credit.ledger import NOW, NOW_MS, CreditLedger

MINUTE = timedelta(minutes=1)
LONG_RACES = 10_000
_PART = 50


async def test_a_lease_is_taken_out_of_the_account(ledger: CreditLedger) -> None:
    await ledger.fund(1_000_000)
    lease = await ledger.lease(100, 5000)
    assert (lease.result, lease.amount, lease.account) == (LeaseResult.GRANTED, 5000, ledger.account)
    assert lease.available == await ledger.available() == 995_000
    assert await ledger.left_in(lease) == 5000
    assert lease.not_after_unix_ms == NOW_MS + LEASE_MS


async def test_near_zero_a_lease_is_one_hold_which_returns_at_once(ledger: CreditLedger) -> None:
    await ledger.fund(PLENTY * 100 - 1)
    lease = await ledger.lease(100, 5000)
    assert lease.amount == 100
    await ledger.record([ledger.attempt(lease, 100, 30)])
    assert await ledger.available() == PLENTY * 100 - 1 - 30
    assert await ledger.left_in(lease) == 0


async def test_a_lease_beyond_what_is_left_is_refused_with_what_there_is(ledger: CreditLedger) -> None:
    assert (await ledger.lease(1)).result is LeaseResult.INSUFFICIENT
    await ledger.fund(150)
    await ledger.lease(100)
    refused = await ledger.lease(51)
    assert (refused.result, refused.available, refused.held) == (LeaseResult.INSUFFICIENT, 50, 100)


@pytest.mark.parametrize("account", ["platform/revenue", "lease/lea_1", "credits/somebody-else", "nonsense/x"])
async def test_what_is_not_the_tenants_own_account_is_not_leased(ledger: CreditLedger, account: str) -> None:
    assert (await ledger.lease(1, account=account)).result is LeaseResult.UNKNOWN_ACCOUNT


async def test_processes_of_one_name_lease_side_by_side_and_give_back_only_their_own(ledger: CreditLedger) -> None:
    await ledger.fund(10_000)
    first = await ledger.lease(100, epoch="a")
    leases = [first, *[await ledger.lease(100, epoch=epoch) for epoch in "baba"]]
    assert [one.result for one in leases] == [LeaseResult.GRANTED] * 5
    assert len({one.lease_id for one in leases}) == 5
    assert await ledger.available() == 10_000 - sum(one.amount for one in leases)
    assert await ledger.give_back(first, 100, epoch="b") == 0
    assert await ledger.give_back(first, 100, router="router-2", epoch="a") == 0
    assert await ledger.give_back(first, 100, epoch="a") == 100


async def test_what_a_dead_process_held_is_free_after_its_lease_while_others_go_on(ledger: CreditLedger) -> None:
    await ledger.fund(1_000_000)
    dead, alive = await ledger.lease(1000, 50_000, epoch="dead"), await ledger.lease(1000, 50_000, epoch="alive")
    await ledger.record([ledger.attempt(dead, 1000, 400), ledger.attempt(alive, 1000, 300)])
    assert await ledger.give_back(alive, 49_000, epoch="alive") == 49_000
    assert await ledger.available() == 1_000_000 - 700 - 49_000
    assert await ledger.release_until(timedelta(milliseconds=LEASE_MS)) == 0, "not before its end"
    assert await ledger.release_until(timedelta(milliseconds=LEASE_MS + 1)) >= 1
    assert await ledger.available() == 1_000_000 - 700
    assert await ledger.give_back(dead, 49_000, epoch="dead") == 0, "its last message comes late"
    assert await ledger.available() == 1_000_000 - 700


async def test_attempts_pay_what_they_cost_and_free_the_rest_of_their_holds(ledger: CreditLedger) -> None:
    before = await ledger.posted_to(REVENUE)
    await ledger.fund(1_000_000)
    lease = await ledger.lease(1000, 10_000)
    await ledger.record([ledger.attempt(lease, 1000, 10), ledger.attempt(lease, 1000, None)])
    assert await ledger.left_in(lease) == 8000
    assert await ledger.available() == 991_990
    assert await ledger.posted_to(REVENUE) - before == 10


async def test_each_attempt_is_settled_once_however_often_and_in_which_order_it_comes(ledger: CreditLedger) -> None:
    await ledger.fund(1_000_000)
    lease = await ledger.lease(1000, 50_000)
    chance = random.Random(4)
    rows = [ledger.attempt(lease, 1000, chance.randrange(1000)) for _ in range(40)]
    delivered = [row for row in rows for _ in range(chance.randint(1, 5))]
    chance.shuffle(delivered)
    batches = [delivered[first : first + 7] for first in range(0, len(delivered), 7)]
    await asyncio.gather(*(ledger.record(batch) for batch in batches))
    spent = sum(row.charge_micro_usd or 0 for row in rows)
    assert await ledger.left_in(lease) == 10_000
    assert await ledger.available() == 1_000_000 - 10_000 - spent


async def test_a_repeated_return_gives_back_once(ledger: CreditLedger) -> None:
    await ledger.fund(1_000_000)
    lease = await ledger.lease(1000, 50_000)
    returned = await asyncio.gather(*(ledger.give_back(lease, 30_000) for _ in range(5)))
    assert sorted(returned) == [0, 0, 0, 0, 30_000]
    assert await ledger.give_back(lease, 50_000) == 20_000
    assert await ledger.available() == 1_000_000


async def test_an_ended_lease_is_released_and_what_comes_later_is_absorbed(ledger: CreditLedger) -> None:
    absorbed = await ledger.posted_to(ABSORBED)
    await ledger.fund(1_000_000)
    lease = await ledger.lease(1000, 50_000)
    assert await ledger.release_until(timedelta(milliseconds=LEASE_MS)) == 0
    assert await ledger.release_until(timedelta(milliseconds=LEASE_MS + 1)) >= 1
    assert await ledger.available() == 1_000_000
    await ledger.record([ledger.attempt(lease, 1000, 400)])
    assert await ledger.available() == 1_000_000
    assert await ledger.posted_to(ABSORBED) - absorbed == -400
    assert ledger.settlement.uncollected_micro_usd == 400
    assert await ledger.give_back(lease, 50_000) == 0


async def test_a_hold_of_another_tenants_lease_takes_nothing_of_it(ledger: CreditLedger) -> None:
    await ledger.fund(1_000_000)
    lease = await ledger.lease(1000, 50_000)
    await ledger.record([ledger.attempt(lease, 1000, 400, tenant="intruder")])
    assert await ledger.left_in(lease) == 50_000


@pytest.mark.parametrize(
    ("kind", "name", "paid_to", "charge", "cost"),
    [(AccountKind.ALLOWANCE, "2026-03", ALLOWANCES, 0, 1), (AccountKind.BUDGET, "2026-03-01", BUDGETS, 70, 70)],
)
async def test_allowances_and_budgets_are_funded_on_first_use(
    ledger: CreditLedger, kind: AccountKind, name: str, paid_to: str, charge: int, cost: int
) -> None:
    account = f"{kind}/{ledger.tenant}/{name}"
    assert (await ledger.lease(1, account=account)).result is LeaseResult.UNKNOWN_ACCOUNT

    async def fund(connection: object, tenant: str, opened: str, now: object) -> bool:
        if tenant != ledger.tenant:
            return False
        funding = Transfer(
            transfer_id=f"fund:{opened}",
            debit=paid_to,
            credit=opened,
            amount=2000,
            purpose=TransferPurpose.FUNDING,
        )
        await apply_transfers(connection, [funding], NOW)  # type: ignore[arg-type]
        return True

    ledger.credit.open_with(kind, fund)
    lease = await ledger.lease(100, account=account)
    assert (lease.result, lease.amount) == (LeaseResult.GRANTED, 100)
    await ledger.record([ledger.attempt(lease, 100, charge)])
    assert (await ledger.balances([account]))[account].available == 2000 - cost


async def test_no_free_request_is_idle_in_a_router_while_another_one_has_none(ledger: CreditLedger) -> None:
    account = f"{AccountKind.ALLOWANCE}/{ledger.tenant}/2026-03"

    async def fund(connection: AsyncConnection, tenant: str, opened: str, now: object) -> bool:
        funding = Transfer(
            transfer_id=f"fund:{opened}",
            debit=ALLOWANCES,
            credit=opened,
            amount=50,
            purpose=TransferPurpose.FUNDING,
        )
        await apply_transfers(connection, [funding], NOW)
        return True

    ledger.credit.open_with(AccountKind.ALLOWANCE, fund)
    leases = [await ledger.lease(1, 8, account=account, router=f"router-{number % 2}") for number in range(51)]
    assert [(one.result, one.amount) for one in leases[:50]] == [(LeaseResult.GRANTED, 1)] * 50
    assert leases[50].result is LeaseResult.INSUFFICIENT


async def test_an_attempt_without_known_use_takes_nothing_of_an_allowance(ledger: CreditLedger) -> None:
    await ledger.fund(1_000_000)
    lease = await ledger.lease(1000)
    lost = ledger.attempt(
        lease, 1000, None, outcome=Outcome.INDETERMINATE, token_usage={"input": 0}, usage_source="none"
    )
    await ledger.record([lost])
    assert await ledger.available() == 1_000_000


async def race(ledger: CreditLedger, routers: int, balance: int, need: int) -> tuple[int, int]:
    """Let routers of one name race for an account until it is empty; return what was leased, and what is available."""
    await ledger.fund(balance)
    leased = 0

    async def router(number: int) -> None:
        nonlocal leased
        while True:
            lease = await ledger.lease(need, need * 3, epoch=str(number))
            if lease.result is LeaseResult.INSUFFICIENT:
                return
            assert lease.result is LeaseResult.GRANTED
            leased += lease.amount

    await asyncio.gather(*(router(number) for number in range(routers)))
    return leased, await ledger.available()


async def test_sixty_four_routers_race_for_the_last_credit(ledger: CreditLedger) -> None:
    leased, available = await race(ledger, 64, 7305, 100)
    assert (leased, available) == (7300, 5)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(LONG_RACES // _PART))
async def test_ten_thousand_races_for_the_last_credit(engine: AsyncEngine, part: int) -> None:
    for number in range(part * _PART, (part + 1) * _PART):
        ledger = CreditLedger(engine, f"race-{number}")
        assert await race(ledger, 64, 150, 100) == (100, 50)


async def test_a_request_makes_no_statement_while_there_are_leases(ledger: CreditLedger, engine: AsyncEngine) -> None:
    """Ten thousand requests in five seconds at one router: what is asked of PostgreSQL for their holds."""
    await ledger.fund(10**9)
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    event.listen(engine.sync_engine, "before_cursor_execute", count)
    wallet = CreditWallet("router-1-a")
    leases = 0
    for number in range(10_000):
        now_ms = NOW_MS + number // 2
        found = wallet.reserve(ledger.tenant, {ledger.account: 1000}, now_ms)
        while not isinstance(found, Reservation):
            [ask] = found
            lease: CreditLease = await ledger.lease(ask.need, ask.want)
            assert lease.result is LeaseResult.GRANTED
            leases += 1
            wallet.install(ledger.tenant, lease, now_ms)
            found = wallet.reserve(ledger.tenant, {ledger.account: 1000}, now_ms, again=True)
    event.remove(engine.sync_engine, "before_cursor_execute", count)
    assert leases <= 20
    assert statements <= 100
