"""A key's monthly limit at the turn of a month: the old month's figures neither block nor release a key in the new one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from keyferry.contracts.key import KeySpend
from services.key_vault.keys.lifecycle import month_of
from services.key_vault.keys.spend_limits import SpendLimits
from tests.integration.key_vault.vault_database import VaultDatabase

TURN = datetime(2026, 11, 1, tzinfo=UTC)
BEFORE = TURN - timedelta(microseconds=1)
OLD, NEW = "2026-10", "2026-11"


class Spending:
    """A key with a limit of 10 USD, and a vault whose clock is set."""

    def __init__(self, vault: VaultDatabase, key_id: str) -> None:
        self.now = BEFORE
        self.changes = 0
        self._keys = vault.stores.keys
        self._key_id = key_id
        self._limits = SpendLimits(self._keys, self._count, lambda: self.now)

    async def report(self, month: str, usd: int) -> bool:
        """Apply a figure of the ledger; return whether the key is blocked afterwards."""
        spent = KeySpend(
            key_id=self._key_id,
            tenant="acme",
            month=month,
            spent_usd=Decimal(usd),
            attempts=1,
            unpriced=0,
            last_used_at=self.now,
        )
        await self._limits.apply([spent])
        stored = await self._keys.get("acme", self._key_id)
        assert stored is not None
        return stored.over_limit

    def _count(self) -> None:
        self.changes += 1


@pytest.fixture
async def spending(vault: VaultDatabase) -> Spending:
    key, _ = await vault.add("acme")
    vault.execute("UPDATE key_vault.provider_keys SET monthly_limit_usd = 10")
    return Spending(vault, key.key_id)


async def test_a_late_figure_of_the_old_month_does_not_block_in_the_new_one(spending: Spending) -> None:
    assert not await spending.report(OLD, 9)
    spending.now = TURN
    assert not await spending.report(OLD, 10)
    assert not await spending.report(NEW, 1)
    assert not await spending.report(OLD, 99)
    assert spending.changes == 0
    assert await spending.report(NEW, 10)
    assert spending.changes == 1


async def test_the_new_months_first_figure_releases_a_key_that_the_old_month_blocked(spending: Spending) -> None:
    assert await spending.report(OLD, 10)
    spending.now = TURN
    assert await spending.report(OLD, 11), "a figure of the old month says nothing about the new one"
    assert not await spending.report(NEW, 1)
    assert not await spending.report(OLD, 12)


@pytest.mark.parametrize(("moment", "month"), [(BEFORE, OLD), (TURN, NEW)])
def test_the_month_begins_at_midnight_utc(moment: datetime, month: str) -> None:
    assert month_of(moment) == month
