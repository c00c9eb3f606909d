"""Credits of tenants in PostgreSQL: balances, grants, corrections and their history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.accounts import debt_account
from keyferry.contracts.audit import AuditHead
from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.credit import credits_account
from keyferry.contracts.credit_management import (
    CreditBalance,
    CreditEntry,
    CreditEntryKind,
    CreditHistory,
    ListCreditHistory,
    from_micro_usd,
)
from keyferry.contracts.text import parse_digits
from keyferry.runtime.database.tenant_isolation import as_service
from services.usage_ledger.accounts.credit_events import ENTRY_KINDS, announce
from services.usage_ledger.accounts.credits import (
    DEFAULT_LOW_BELOW_MICRO_USD,
    RATE_DAYS,
    choose_state,
    estimate_days_left,
)
from services.usage_ledger.accounts.debts import lock_with_debt, pay_debt
from services.usage_ledger.accounts.posting import Balance
from services.usage_ledger.accounts.store import apply_transfers, read_balances, read_held
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.alerts.causes import mark_tenants
from services.usage_ledger.audit_log import AuditLog, OwnAction
from services.usage_ledger.database import TransactionalStore

_SPENT = text("SELECT day, amount FROM usage_ledger.account_days WHERE account = :account AND day >= :first")
_LOW_BELOW = text("SELECT low_below_micro_usd FROM usage_ledger.credit_settings WHERE tenant = :tenant")
_SET_LOW_BELOW = text("""
INSERT INTO usage_ledger.credit_settings (tenant, low_below_micro_usd) VALUES (:tenant, :amount)
ON CONFLICT (tenant) DO UPDATE SET low_below_micro_usd = excluded.low_below_micro_usd
""")
_HISTORY = text("""
WITH entries AS (
    SELECT id, purpose, amount AS change, recorded_at AS at, reason, actor, source, source_id, CAST(NULL AS bigint) AS owed
    FROM usage_ledger.transfers
    WHERE credit = :account AND debit LIKE 'platform/%' AND phase IN ('posted', 'post')
    UNION ALL
    SELECT id, purpose, -amount, recorded_at, reason, actor, source, source_id,
        CASE WHEN purpose = 'debt_payment' THEN -amount END
    FROM usage_ledger.transfers
    WHERE debit = :account AND credit LIKE 'platform/%' AND debit NOT LIKE 'lease/%' AND phase IN ('posted', 'post')
    UNION ALL
    SELECT id, purpose, 0, recorded_at, reason, actor, source, source_id, amount
    FROM usage_ledger.transfers
    WHERE credit = :debt AND debit LIKE 'platform/%' AND phase IN ('posted', 'post')
    UNION ALL
    SELECT 'usage:' || to_char(day, 'YYYY-MM-DD'), 'settlement', -amount, last_at, NULL, NULL, NULL, NULL, NULL
    FROM usage_ledger.account_days WHERE account = :account
), running AS (SELECT *, CAST(sum(change) OVER (ORDER BY at, id) AS bigint) AS balance FROM entries)
SELECT * FROM running
WHERE CAST(:id AS text) IS NULL OR (at, id) < (CAST(:at AS timestamptz), CAST(:id AS text))
ORDER BY at DESC, id DESC LIMIT :limit
""")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class InvalidHistoryCursor(Exception):
    """The cursor of a history is none that a page of it had."""


@dataclass(frozen=True, slots=True)
class PostedTransfer:
    """What posting a transfer of credits has done."""

    is_new: bool
    balance: CreditBalance
    head: AuditHead | None
    """The new head of the audit, which has yet to be published; None if nothing was done."""


def _with_balance(action: OwnAction, transfer: Transfer, after: Mapping[str, Balance], account: str) -> OwnAction:
    """Return the action with the balance before and after its transfer."""
    balance = after[account].posted
    before = balance + (transfer.amount if transfer.debit == account else -transfer.amount)
    old, new = ({"balance": from_micro_usd(amount)} for amount in (before, balance))
    return replace(action, details=action.details | describe_changes(old, new))


class CreditStore(TransactionalStore):
    """Credits of tenants. Every method raises DatabaseUnavailable."""

    async def read_balance(self, tenant: str, now: datetime) -> CreditBalance:
        """Return what a tenant has."""
        async with self.snapshot() as connection:
            return await read_balance(connection, tenant, now)

    async def post(
        self, tenant: str, transfer: Transfer, audit: AuditLog, action: OwnAction, now: datetime
    ) -> PostedTransfer:
        """Post a transfer of a tenant's credits and its audit event together. Raises TransferRefused."""
        async with self.transaction() as connection:
            # The other side of the transfer is an account of the platform.
            async with as_service(connection):
                await lock_with_debt(connection, tenant)
                applied = await apply_transfers(connection, [transfer], now)
                await announce(connection, tenant, [transfer], applied, now)
                if applied.new:
                    await pay_debt(connection, tenant, now)
            action = _with_balance(action, transfer, applied.balances, credits_account(tenant))
            head = await audit.append(connection, action) if applied.new else None
            return PostedTransfer(bool(applied.new), await read_balance(connection, tenant, now), head)

    async def set_low_below(
        self, tenant: str, amount: int | None, audit: AuditLog, action: OwnAction, now: datetime
    ) -> tuple[CreditBalance, AuditHead]:
        """Set the threshold of a tenant's state `low`, and its audit event together."""
        async with self.transaction() as connection:
            former = await connection.scalar(_LOW_BELOW, {"tenant": tenant})
            await connection.execute(_SET_LOW_BELOW, {"tenant": tenant, "amount": amount})
            await mark_tenants(connection, [tenant])
            old, new = ({"low_below": None if one is None else from_micro_usd(one)} for one in (former, amount))
            action = replace(action, details=action.details | describe_changes(old, new))
            head = await audit.append(connection, action)
            return await read_balance(connection, tenant, now), head

    async def list_history(self, command: ListCreditHistory) -> CreditHistory:
        """Return a page of what happened to a tenant's credits, newest first. Raises InvalidHistoryCursor."""
        at, entry_id = _parse_cursor(command.after) if command.after is not None else (None, None)
        values = {
            "account": credits_account(command.tenant),
            "debt": debt_account(command.tenant),
            "at": at,
            "id": entry_id,
            "limit": command.limit + 1,
        }
        async with self.transaction() as connection:
            rows = (await connection.execute(_HISTORY, values)).all()
        entries = [
            CreditEntry(
                entry_id=row.id,
                kind=ENTRY_KINDS.get(TransferPurpose(row.purpose), CreditEntryKind.ADJUSTMENT),
                credits=from_micro_usd(row.change),
                balance=from_micro_usd(row.balance),
                owed=None if row.owed is None else from_micro_usd(row.owed),
                at=row.at.astimezone(UTC),
                reason=row.reason,
                actor=row.actor,
                source=row.source,
                source_id=row.source_id,
            )
            for row in rows[: command.limit]
        ]
        following = _cursor_of(entries) if len(rows) > command.limit else None
        return CreditHistory(tenant=command.tenant, entries=entries, next=following)


async def read_balance(connection: AsyncConnection, tenant: str, now: datetime) -> CreditBalance:
    """Return what a tenant has, in the caller's transaction."""
    account, debt = credits_account(tenant), debt_account(tenant)
    balances = await read_balances(connection, [account, debt])
    held = (await read_held(connection, [account])).get(account, 0)
    available = balances[account].available if account in balances else 0
    balance = balances[account].posted + held if account in balances else 0
    first = now.astimezone(UTC).date() - timedelta(days=RATE_DAYS)
    rows = await connection.execute(_SPENT, {"account": account, "first": first})
    spent: dict[date, int] = {row.day: row.amount for row in rows}
    low_below = await connection.scalar(_LOW_BELOW, {"tenant": tenant})
    low_below = DEFAULT_LOW_BELOW_MICRO_USD if low_below is None else low_below
    return CreditBalance(
        tenant=tenant,
        balance=from_micro_usd(balance),
        available=from_micro_usd(available),
        held=from_micro_usd(balance - available),
        balance_usd=from_micro_usd(balance) / 1000,
        state=choose_state(balance, available, low_below, has_account=account in balances),
        low_below=from_micro_usd(low_below),
        owed=from_micro_usd(balances[debt].posted if debt in balances else 0),
        spent_7_days=from_micro_usd(sum(spent.values())),
        days_left=estimate_days_left(balance, spent, now),
        as_of=now,
    )


def _cursor_of(entries: Sequence[CreditEntry]) -> str:
    last = entries[-1]
    return f"{(last.at - _EPOCH) // _MICROSECOND}:{last.entry_id}"


def _parse_cursor(cursor: str) -> tuple[datetime, str]:
    microseconds, _, entry_id = cursor.partition(":")
    number = parse_digits(microseconds)
    if number is None or not entry_id:
        raise InvalidHistoryCursor
    try:
        return _EPOCH + number * _MICROSECOND, entry_id
    except OverflowError:
        raise InvalidHistoryCursor from None
