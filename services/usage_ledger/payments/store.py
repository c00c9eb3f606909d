"""Recorded payments in PostgreSQL: each has an effect once per source, kind and id, committed with its transfers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.accounts import PAYMENTS
from keyferry.contracts.audit import AuditHead
from keyferry.contracts.credit import credits_account
from keyferry.contracts.credit_management import CreditBalance, from_micro_usd
from keyferry.contracts.money import plain
from keyferry.contracts.payments import (
    LedgerPayment,
    LedgerPayments,
    ListRecordedPayments,
    PaymentKind,
    PaymentReceipt,
    RecordPayment,
)
from keyferry.contracts.text import parse_digits
from keyferry.runtime.database.tenant_isolation import as_service
from services.usage_ledger.accounts.credit_events import announce
from services.usage_ledger.accounts.credit_store import read_balance
from services.usage_ledger.accounts.debts import lock_with_debt, pay_debt
from services.usage_ledger.accounts.store import apply_transfers
from services.usage_ledger.audit_log import AuditLog, OwnAction
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.payments.rules import ACTOR, COUNTERPARTS, taken_of, transfers_of

_ADD = text("""
INSERT INTO usage_ledger.credit_payments
    (source, kind, source_id, tenant, amount_micro_usd, taken_micro_usd, owed_micro_usd, already_granted, reason, receipt,
     happened_at, recorded_at)
VALUES (:source, :kind, :source_id, :tenant, :amount, :taken, :owed, :already_granted, :reason, CAST(:receipt AS jsonb),
    :at, :now)
""")
_FIND = text("""
SELECT * FROM usage_ledger.credit_payments WHERE source = :source AND kind = :kind AND source_id = :source_id
""")
_GRANTED = text("""
SELECT credit FROM usage_ledger.transfers
WHERE source = :source AND source_id = :source_id AND purpose = 'grant' AND debit = :payments
""")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_PAGE = text("""
SELECT * FROM usage_ledger.credit_payments
WHERE source = :source AND happened_at >= :since AND happened_at < :until
    AND (CAST(:at AS timestamptz) IS NULL OR (happened_at, kind, source_id) > (:at, :kind, :source_id))
ORDER BY happened_at, kind, source_id LIMIT :limit
""")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class OtherPayment(Exception):
    """Another payment of this source, kind and id is recorded; the message says which."""


class InvalidPaymentCursor(Exception):
    """The cursor is none that a page of payments had."""


@dataclass(frozen=True, slots=True)
class PostedPayment:
    """What recording a payment has done."""

    row: LedgerPayment
    already_granted: bool
    is_new: bool
    balance: CreditBalance
    head: AuditHead | None
    """The new head of the audit, which has yet to be published; None if nothing was done."""


class PaymentStore(TransactionalStore):
    """The payments of one installation. Every method raises DatabaseUnavailable."""

    async def record(self, payment: RecordPayment, audit: AuditLog, now: datetime) -> PostedPayment:
        """Record a payment with its transfers, its event and its audit entry, once.

        Guards: an advisory lock of the object, the primary key, and the accounts' locks. Raises OtherPayment, and
        TransferRefused for an amount that no account can hold.
        """
        async with self.transaction() as connection:
            # The other side of each transfer is an account of the platform.
            async with as_service(connection):
                await connection.execute(_LOCK, {"name": f"payment {payment.source} {payment.source_id}"})
                known = await _find(connection, payment, payment.kind)
                if known is None:
                    counterpart = COUNTERPARTS.get(payment.kind)
                    if counterpart is not None and await _find(connection, payment, counterpart) is None:
                        # It arrived first. Giving back what was never taken would lend credits until the other one comes.
                        await _post(connection, payment.model_copy(update={"kind": counterpart}), now)
                    await _post(connection, payment, now)
                row = await _find(connection, payment, payment.kind)
            assert row is not None
            _require_same(payment, row)
            head = None if known is not None else await audit.append(connection, _action(payment, row))
            balance = await read_balance(connection, payment.tenant, now)
        return PostedPayment(_payment(row), row.already_granted, known is None, balance, head)

    async def page(self, command: ListRecordedPayments) -> LedgerPayments:
        """Return a page of what was recorded. Raises InvalidPaymentCursor."""
        at, kind, source_id = _parse_cursor(command.after)
        values = {
            "source": command.source,
            "since": command.since,
            "until": command.until,
            "at": at,
            "kind": kind,
            "source_id": source_id,
            "limit": command.limit + 1,
        }
        async with self.transaction() as connection:
            rows = (await connection.execute(_PAGE, values)).all()
        found = [_payment(row) for row in rows[: command.limit]]
        return LedgerPayments(payments=found, next=_cursor_of(found) if len(rows) > command.limit else None)


async def _find(
    connection: AsyncConnection, payment: RecordPayment, kind: PaymentKind
) -> Row[tuple[object, ...]] | None:
    values = {"source": payment.source, "kind": kind.value, "source_id": payment.source_id}
    return (await connection.execute(_FIND, values)).one_or_none()


async def _post(connection: AsyncConnection, payment: RecordPayment, now: datetime) -> None:
    """Post a payment that is not recorded yet, and have credits that it brought pay what is owed."""
    account = credits_account(payment.tenant)
    granted = await _is_granted(connection, payment, account)
    balances = await lock_with_debt(connection, payment.tenant, opened_at=now)
    available = balances[account].available if account in balances else 0
    taken = taken_of(payment, available)
    transfers = [] if granted else transfers_of(payment, available)
    if transfers:
        applied = await apply_transfers(connection, transfers, now)
        await announce(connection, payment.tenant, transfers, applied, now)
    values = {
        "source": payment.source,
        "kind": payment.kind.value,
        "source_id": payment.source_id,
        "tenant": payment.tenant,
        "amount": payment.amount_micro_usd,
        "taken": taken,
        "owed": payment.amount_micro_usd - taken if payment.kind in COUNTERPARTS.values() else 0,
        "already_granted": granted,
        "reason": payment.reason,
        "receipt": payment.receipt.encode().decode(),
        "at": payment.at,
        "now": now,
    }
    await connection.execute(_ADD, values)
    await pay_debt(connection, payment.tenant, now)


async def _is_granted(connection: AsyncConnection, payment: RecordPayment, account: str) -> bool:
    """Return whether an operator has granted the credits of a purchase by hand. Raises OtherPayment if to another tenant."""
    if payment.kind is not PaymentKind.PURCHASE:
        return False
    values = {"source": payment.source, "source_id": payment.source_id, "payments": PAYMENTS}
    found = await connection.scalar(_GRANTED, values)
    if found not in (None, account):
        raise OtherPayment(f"an operator has granted the credits of {payment.source_id} to {found}")
    return found is not None


def _require_same(payment: RecordPayment, row: Row[tuple[object, ...]]) -> None:
    if (row.tenant, row.amount_micro_usd) != (payment.tenant, payment.amount_micro_usd):
        raise OtherPayment(
            f"the {payment.kind.value} {payment.source_id} is recorded for {row.tenant} with"
            f" {plain(from_micro_usd(row.amount_micro_usd))} credits, not for {payment.tenant} with"
            f" {plain(from_micro_usd(payment.amount_micro_usd))}: nothing was changed"
        )


def _action(payment: RecordPayment, row: Row[tuple[object, ...]]) -> OwnAction:
    details = {
        "kind": payment.kind.value,
        "credits": plain(from_micro_usd(payment.amount_micro_usd)),
        "source": payment.source,
        "source_id": payment.source_id,
        "payment": payment.receipt.payment_id,
        "paid": f"{payment.receipt.amount_minor} {payment.receipt.currency}",
    } | ({"owed": plain(from_micro_usd(row.owed_micro_usd))} if row.owed_micro_usd else {})
    return OwnAction(ACTOR, "credits.payment", f"credits of {payment.tenant}", details)


def _payment(row: Row[tuple[object, ...]]) -> LedgerPayment:
    return LedgerPayment(
        tenant=row.tenant,
        kind=PaymentKind(row.kind),
        source_id=row.source_id,
        amount_micro_usd=row.amount_micro_usd,
        taken_micro_usd=row.taken_micro_usd,
        owed_micro_usd=row.owed_micro_usd,
        receipt=PaymentReceipt.model_validate(row.receipt),
        at=row.happened_at.astimezone(UTC),
        recorded_at=row.recorded_at.astimezone(UTC),
    )


def _cursor_of(found: Sequence[LedgerPayment]) -> str:
    last = found[-1]
    return f"{(last.at - _EPOCH) // _MICROSECOND}:{last.kind.value}:{last.source_id}"


def _parse_cursor(cursor: str | None) -> tuple[datetime | None, str, str]:
    if cursor is None:
        return None, "", ""
    microseconds, _, rest = cursor.partition(":")
    kind, _, source_id = rest.partition(":")
    number = parse_digits(microseconds)
    if number is None or not kind or not source_id:
        raise InvalidPaymentCursor
    return _EPOCH + number * _MICROSECOND, kind, source_id
