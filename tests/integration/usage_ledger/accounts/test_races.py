"""Many clients race for the last credit of an account: one gets it, and nobody overdraws it."""

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from keyferry.contracts.accounts import GRANTED
from services.usage_ledger.accounts.store import apply_transfers, read_balances
from services.usage_ledger.accounts.transfer import InsufficientFunds, Transfer, TransferPurpose

CLIENTS = 64
LONG_RACES = 10_000
_PART = 50
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
async def clients(url: str) -> AsyncIterator[AsyncEngine]:
    """Provide a connection for each client."""
    engine = create_async_engine(
        url, pool_size=CLIENTS, max_overflow=0, connect_args={"options": "-c synchronous_commit=off"}
    )
    yield engine
    await engine.dispose()


def take(race: int, client: int) -> Transfer:
    return Transfer(
        transfer_id=f"take-{race}-{client}",
        debit=f"credits/race-{race}",
        credit=f"lease/race-{race}-{client}",
        amount=1,
        purpose=TransferPurpose.LEASE,
    )


async def one_race(clients: AsyncEngine, race: int, racers: int, credit: int, twice: Collection[int]) -> None:
    """Let clients take the last credits of an account at once, some of them twice with the same transfer."""
    account = f"credits/race-{race}"
    grant = Transfer(
        transfer_id=f"grant-{race}", debit=GRANTED, credit=account, amount=credit, purpose=TransferPurpose.GRANT
    )
    async with clients.begin() as connection:
        await apply_transfers(connection, [grant], NOW)

    async def race_once(client: int) -> bool:
        try:
            async with clients.begin() as connection:
                await apply_transfers(connection, [take(race, client)], NOW)
        except InsufficientFunds as refused:
            return (refused.account, refused.available) != (account, 0)
        return True

    runs = [*range(racers), *twice]
    won = await asyncio.gather(*(race_once(client) for client in runs))
    winners = {client for client, got_it in zip(runs, won, strict=True) if got_it}
    assert len(winners) == min(credit, racers)
    async with clients.connect() as connection:
        balances = await read_balances(connection, [account, *(take(race, client).credit for client in range(racers))])
    taken = {name for name, balance in balances.items() if balance.posted and name != account}
    assert taken == {take(race, client).credit for client in winners}
    assert (balances[account].available, balances[account].debits_posted) == (credit - len(winners), len(winners))


async def test_64_clients_race_for_the_last_credit(clients: AsyncEngine) -> None:
    await one_race(clients, 0, CLIENTS, credit=1, twice=range(CLIENTS))
    for first in range(1000, 1200, 20):
        # Many small races at once: each of the clients is in one of them.
        races = ((race, 2 + race % 2) for race in range(first, first + 20))
        await asyncio.gather(*(one_race(clients, race, racers, 1, range(racers)) for race, racers in races))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(LONG_RACES // _PART))
async def test_64_clients_race_for_the_last_credit_ten_thousand_times(clients: AsyncEngine, part: int) -> None:
    first = 10_000 + part * _PART
    for race in range(first, first + _PART):
        # One of them repeats its transfer, another one in each race: twice as many transactions would take twice as long.
        await one_race(clients, race, CLIENTS, credit=1, twice=[race % CLIENTS])
