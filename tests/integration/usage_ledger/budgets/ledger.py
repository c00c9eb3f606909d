"""A ledger's stores for tests of budgets: budgets, attempts, and what routers and workers would do with leases."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.accounts import BUDGETS, lease_account
from keyferry.contracts.audit import AuditHead
from keyferry.contracts.budget import BudgetState, ListBudgets, SaveBudget
from keyferry.contracts.usage import LedgerRow
from services.usage_ledger.accounts.store import apply_transfers, lock_accounts, read_balances
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.audit_log import AuditLog
from services.usage_ledger.audit_store import AuditStore
from services.usage_ledger.audit_verification import AuditVerifier
from services.usage_ledger.budgets.funding import prepare_account
from services.usage_ledger.budgets.spending_store import BudgetSpending
from services.usage_ledger.budgets.store import BudgetStore
from services.usage_ledger.dead_letter import RejectedRecord
from services.usage_ledger.store import LedgerStore
from tests.support.ledger.attempt_records import attempt_record

NOW = datetime(2026, 11, 29, 9, 30, tzinfo=UTC)
DOLLAR = 1_000_000


def new_tenant() -> str:
    """Return a tenant that no other test has."""
    return f"t{secrets.token_hex(6)}"


def attempt(tenant: str, spend: int | None = DOLLAR, at: datetime = NOW, **fields: object) -> LedgerRow:
    """Return an attempt that counts with `spend`; a null is unknown."""
    recorded_at = fields.pop("recorded_at", at)
    assert isinstance(recorded_at, datetime)
    record = attempt_record(tenant=tenant, started_at=at, **fields)
    return LedgerRow(
        record=record,
        cost_usd=None if spend is None else 0,
        price_version=None if spend is None else "1",
        pricing="unpriced" if spend is None else "priced",
        spend_micro_usd=spend,
        recorded_at=recorded_at,
    )


class BudgetLedger:
    """The stores of one ledger process."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.heads: list[AuditHead] = []
        self.audit = AuditLog(
            store=AuditStore(engine),
            key=Ed25519PrivateKey.generate(),
            save_head=self._save_head,
            verifier=cast(AuditVerifier, None),  # nothing here verifies a chain
            publish_dead_letter=self._no_dead_letter,
            clock=lambda: NOW,
        )
        self.budgets = BudgetStore(engine, self.audit.append)
        self.store = LedgerStore(engine, [BudgetSpending()])

    async def record(self, rows: Sequence[LedgerRow]) -> None:
        """Record attempts, of which none may be rejected."""
        assert not (await self.store.record_attempts(rows)).rejected

    async def save(self, tenant: str, *, now: datetime = NOW, **terms: Any) -> BudgetState:
        """Save a budget: of the tenant by UTC months if nothing else is given."""
        usual: dict[str, Any] = {
            "tenant": tenant,
            "scope": "tenant",
            "window": {"calendar": "month"},
            "limit_micro_usd": 100 * DOLLAR,
        }
        state, head = await self.budgets.save(SaveBudget.model_validate(usual | terms), now)
        await self.audit.publish(head)
        return state

    async def state(self, tenant: str, budget_id: str, now: datetime = NOW) -> BudgetState:
        """Return the state of one budget."""
        return (await self.budgets.list_states(ListBudgets(tenant=tenant, budget_id=budget_id), now)).budgets[0]

    async def states(self, tenant: str, now: datetime = NOW) -> list[BudgetState]:
        """Return the states of all budgets of a tenant."""
        return (await self.budgets.list_states(ListBudgets(tenant=tenant), now)).budgets

    async def prepare(self, tenant: str, account: str, now: datetime = NOW) -> bool:
        """Prepare an account as a request for a lease does."""
        async with self.engine.begin() as connection:
            return await prepare_account(connection, tenant, account, now)

    async def available(self, account: str) -> int | None:
        """Return what an account has available; None if it is not open."""
        async with self.engine.begin() as connection:
            balance = (await read_balances(connection, [account])).get(account)
        return None if balance is None else balance.available

    async def lease(self, tenant: str, account: str, amount: int, now: datetime = NOW) -> str | None:
        """Lease a part of an account if it has so much, as the ledger does for a router; return the lease's account."""
        lease = lease_account(f"lea_{secrets.token_hex(8)}")
        async with self.engine.begin() as connection:
            assert await prepare_account(connection, tenant, account, now)
            if (await lock_accounts(connection, [account]))[account].available < amount:
                return None
            await apply_transfers(connection, [_transfer(account, lease, amount, TransferPurpose.LEASE)], now)
        return lease

    async def settle(self, account: str, lease: str, held: int, row: LedgerRow) -> None:
        """Record an attempt and settle its hold, which is all of its lease, in one transaction."""
        due = min(row.spend_micro_usd or 0, held)
        transfers = [
            *([_transfer(lease, BUDGETS, due, TransferPurpose.SETTLEMENT)] if due else []),
            *([_transfer(lease, account, held - due, TransferPurpose.RETURN)] if due < held else []),
        ]
        await LedgerStore(self.engine, [_Settlement(transfers), BudgetSpending()]).record_attempts([row])

    async def _save_head(self, head: AuditHead) -> None:
        self.heads.append(head)

    async def _no_dead_letter(self, rejected: RejectedRecord) -> None:
        raise AssertionError(rejected.reason)


class _Settlement:
    """The settlement of one attempt's hold."""

    def __init__(self, transfers: Sequence[Transfer]) -> None:
        self._transfers = transfers

    async def apply(self, connection: Any, rows: Sequence[LedgerRow]) -> None:
        """Apply the transfers."""
        await apply_transfers(connection, self._transfers, rows[0].recorded_at)


def _transfer(debit: str, credit: str, amount: int, purpose: TransferPurpose) -> Transfer:
    return Transfer(
        transfer_id=f"test:{secrets.token_hex(12)}", debit=debit, credit=credit, amount=amount, purpose=purpose
    )
