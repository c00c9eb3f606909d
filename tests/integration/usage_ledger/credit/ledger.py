"""The ledger's stores of credit on a real database, and what a router and a worker send to them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts import ids
from keyferry.contracts.accounts import GRANTED, lease_account
from keyferry.contracts.credit import MICRO, CreditLease, Hold, LeaseCredit, Reservation, ReturnCredit
from keyferry.contracts.usage import LedgerRow
from services.usage_ledger.accounts.posting import Balance
from services.usage_ledger.accounts.store import apply_transfers, read_balances
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.credit.settlement import CreditSettlement
from services.usage_ledger.credit.store import CreditLeaseStore
from services.usage_ledger.credit.worker_store import CreditWorkerStore
from services.usage_ledger.store import LedgerStore
from tests.support.ledger.attempt_records import attempt_record

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
ROUTER = "router-1"
EPOCH = "router-1-a"


class CreditLedger:
    """The stores, and one tenant."""

    def __init__(self, engine: AsyncEngine, tenant: str) -> None:
        self.tenant = tenant
        self.account = f"credits/{tenant}"
        self.credit = CreditLeaseStore(engine)
        self.workers = CreditWorkerStore(engine)
        self.settlement = CreditSettlement()
        self.store = LedgerStore(engine, [self.settlement])
        self._engine = engine

    async def fund(self, amount: int) -> None:
        """Give the tenant credits."""
        grant = Transfer(
            transfer_id=ids.new("trf"),
            debit=GRANTED,
            credit=self.account,
            amount=amount,
            purpose=TransferPurpose.GRANT,
        )
        async with self._engine.begin() as connection:
            await apply_transfers(connection, [grant], NOW)

    async def lease(
        self, need: int, want: int = 0, *, router: str = ROUTER, epoch: str = EPOCH, account: str = ""
    ) -> CreditLease:
        """Ask for a lease as a router does."""
        ask = LeaseCredit(
            tenant=self.tenant, account=account or self.account, need=need, want=max(need, want), epoch=epoch
        )
        return await self.credit.lease(ask, router, NOW)

    async def give_back(self, lease: CreditLease, total: int, *, router: str = ROUTER, epoch: str = EPOCH) -> int:
        """Give a part of a lease back as a router does."""
        assert lease.lease_id is not None
        given = ReturnCredit(tenant=self.tenant, lease_id=lease.lease_id, amount=total, epoch=epoch)
        return await self.credit.give_back(given, router, NOW)

    def attempt(self, lease: CreditLease, hold: int, charge: int | None, **changes: object) -> LedgerRow:
        """Return an attempt with a share of a lease, charged like this."""
        assert lease.lease_id is not None
        reservation = Reservation(
            holds=[Hold(lease_id=lease.lease_id, account=lease.account, amount=hold)],
            not_after_unix_ms=lease.not_after_unix_ms,
        )
        record = attempt_record(**({"tenant": self.tenant, "reservation": reservation.model_dump()} | changes))
        cost = None if charge is None else Decimal(charge) / MICRO
        return LedgerRow(
            record=record,
            pricing="unpriced" if charge is None else "priced",
            cost_usd=cost,
            price_version=None if charge is None else "2026-03-01",
            charge_micro_usd=charge,
            spend_micro_usd=charge,
            recorded_at=NOW,
        )

    async def record(self, rows: Sequence[LedgerRow]) -> set[str]:
        """Record attempts; return those that were new."""
        result = await self.store.record_attempts(rows)
        assert not result.rejected, result.rejected
        return result.new

    async def release_until(self, after: timedelta) -> int:
        """Release what ended before so long after now."""
        return await self.credit.release(NOW_MS + int(after.total_seconds() * 1000), NOW + after)

    async def available(self) -> int:
        """Return what the tenant has available."""
        found = await self.balances([self.account])
        return found[self.account].available

    async def left_in(self, lease: CreditLease) -> int:
        """Return what is left in the account of a lease."""
        name = lease_account(lease.lease_id or "")
        return (await self.balances([name]))[name].available

    async def posted_to(self, account: str) -> int:
        """Return what an account of the platform has got in all; 0 if there is none."""
        found = await self.balances([account])
        return found[account].posted if account in found else 0

    async def balances(self, names: Iterable[str]) -> dict[str, Balance]:
        async with self._engine.begin() as connection:
            return await read_balances(connection, list(names))
