"""What tenants have in credits, many at once, for the pages that show it."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import text

from keyferry.contracts.credit import credits_account
from keyferry.contracts.credit_management import from_micro_usd
from keyferry.contracts.live_events import CreditAmounts
from services.usage_ledger.accounts.credits import DEFAULT_LOW_BELOW_MICRO_USD, choose_state
from services.usage_ledger.accounts.store import read_balances, read_held
from services.usage_ledger.database import TransactionalStore

_LOW_BELOW = text("SELECT tenant, low_below_micro_usd FROM usage_ledger.credit_settings WHERE tenant = ANY(:tenants)")


class CreditAmountStore(TransactionalStore):
    """Reads credits. Every method raises DatabaseUnavailable."""

    async def read(self, tenants: Collection[str], now: datetime) -> list[CreditAmounts]:
        """Return what those of these tenants have that ever had credits."""
        accounts = {credits_account(tenant): tenant for tenant in sorted(tenants)}
        async with self.snapshot() as connection:
            balances = await read_balances(connection, accounts)
            held = await read_held(connection, balances)
            rows = await connection.execute(_LOW_BELOW, {"tenants": sorted(tenants)})
            low_below: dict[str, int | None] = {row.tenant: row.low_below_micro_usd for row in rows}
        found = []
        for account, posted in balances.items():
            tenant = accounts[account]
            balance, available = posted.posted + held.get(account, 0), posted.available
            threshold = low_below.get(tenant)
            threshold = DEFAULT_LOW_BELOW_MICRO_USD if threshold is None else threshold
            found.append(
                CreditAmounts(
                    tenant=tenant,
                    balance=from_micro_usd(balance),
                    available=from_micro_usd(available),
                    held=from_micro_usd(balance - available),
                    balance_usd=from_micro_usd(balance) / 1000,
                    state=choose_state(balance, available, threshold, has_account=True),
                    as_of=now,
                )
            )
        return found
