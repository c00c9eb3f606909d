"""Automatic top-ups in PostgreSQL: their terms, their pauses, and the payments that they begin.

A payment is begun under the lock of its tenant's row, which counts what the month has taken: no two processes can exceed the
ceiling, and a stop at any moment leaves a stored payment that counts.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.credit_management import to_micro_usd
from keyferry.contracts.payment_management import PAYMENT_CHANGED
from keyferry.contracts.payments import PaymentChange
from keyferry.contracts.purchases import (
    FINAL_STATES,
    PurchaseKind,
    PurchaseState,
    ResumeTopUp,
    SaveTopUp,
    in_cents,
)
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.database.service_database import ServiceDatabase, ServiceTransaction
from services.billing.purchases.failure_events import failure_event
from services.billing.purchases.purchase_store import advance, write
from services.billing.purchases.rule_violation import PurchaseRefused
from services.billing.purchases.stored_purchase import StoredPurchase
from services.billing.purchases.tables import customers_table, purchases_table, top_ups_table
from services.billing.purchases.top_up_rules import MonthWindow, TopUpDecision, decide

CHECK_EVERY = timedelta(seconds=15)
_T = top_ups_table.c
_P = purchases_table.c
_NOT_TAKEN = (PurchaseState.FAILED.value, PurchaseState.CANCELLED.value, PurchaseState.EXPIRED.value)
_NEVER_SAVED = PurchaseRefused(ErrorCode.NOT_FOUND, "the tenant has no automatic top-up: save one first")


@dataclass(frozen=True, slots=True)
class StoredTopUp:
    """The terms of a tenant's automatic top-up, with times in UTC."""

    tenant: str
    enabled: bool
    threshold_micro_usd: int
    amount_cents: int
    ceiling_cents: int
    paused_at: datetime | None
    paused_reason: str | None
    held_until: datetime | None
    consent_at: datetime | None
    consent_by: str | None
    revision: int
    cycle: int
    check_at: datetime | None


@dataclass(frozen=True, slots=True)
class TopUpStatus:
    """All that a page shows of an automatic top-up."""

    terms: StoredTopUp | None
    under_way: StoredPurchase | None
    spent_cents: int
    payment_method: str | None


class TopUpStore:
    """The table of automatic top-ups. Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def status(self, tenant: str, month: MonthWindow) -> TopUpStatus:
        """Return a tenant's terms, the payment that is under way, and what the month has taken."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(top_ups_table).where(_T.tenant == tenant))).one_or_none()
            under_way = (await connection.execute(select(purchases_table).where(_under_way(tenant)))).one_or_none()
            labels = customers_table.c
            label = await connection.scalar(select(labels.payment_method_label).where(labels.tenant == tenant))
            return TopUpStatus(
                terms=None if row is None else _top_up(row),
                under_way=None if under_way is None else StoredPurchase.of(under_way),
                spent_cents=await _spent(connection, tenant, month),
                payment_method=label,
            )

    async def find(self, tenant: str) -> StoredTopUp | None:
        """Return a tenant's terms."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(top_ups_table).where(_T.tenant == tenant))).one_or_none()
        return None if row is None else _top_up(row)

    async def save(self, command: SaveTopUp, now: datetime) -> None:
        """Store terms, and the consent to them. Guard: the row's lock. Raises PurchaseRefused for another revision."""
        async with self._database.change() as transaction:
            before = await _lock(transaction, command.tenant)
            revision = 0 if before is None else before.revision
            if command.expected_revision is not None and command.expected_revision != revision:
                raise PurchaseRefused(
                    ErrorCode.CONFLICT,
                    "somebody else has changed the automatic top-up: read it again, then repeat the change",
                )
            values: dict[str, Any] = {
                "tenant": command.tenant,
                "enabled": command.enabled,
                "threshold_micro_usd": to_micro_usd(command.threshold),
                "amount_cents": in_cents(command.price_usd),
                "ceiling_cents": in_cents(command.monthly_ceiling_usd),
                "revision": revision + 1,
                "held_until": None,
                "check_at": now if command.enabled else None,
            }
            if command.enabled:
                values |= {"consent_at": now, "consent_by": command.actor}
            upsert = insert(top_ups_table).values(**values)
            upsert = upsert.on_conflict_do_update(index_elements=[_T.tenant], set_=values)
            await transaction.connection.execute(upsert)
            await transaction.audit(
                actor=command.actor,
                action="top_up.save",
                tenant=command.tenant,
                target=command.tenant,
                details={
                    "enabled": str(command.enabled).lower(),
                    "threshold_credits": f"{command.threshold:f}",
                    "price_usd": f"{command.price_usd:f}",
                    "monthly_ceiling_usd": f"{command.monthly_ceiling_usd:f}",
                    "consent": str(command.consent).lower(),
                },
            )

    async def resume(self, command: ResumeTopUp, now: datetime) -> None:
        """End a pause; without one nothing changes. Raises PurchaseRefused if there is no top-up."""
        async with self._database.change() as transaction:
            before = await _lock(transaction, command.tenant)
            if before is None:
                raise _NEVER_SAVED
            if before.paused_at is None:
                return
            values = {"paused_at": None, "paused_reason": None, "check_at": now, "cycle": before.cycle + 1}
            await transaction.connection.execute(
                update(top_ups_table).where(_T.tenant == command.tenant).values(**values)
            )
            await transaction.audit(
                actor=command.actor,
                action="top_up.resume",
                tenant=command.tenant,
                target=command.tenant,
                details={"paused_reason": before.paused_reason or ""},
            )

    async def claim_due(self, now: datetime, limit: int) -> Sequence[StoredTopUp]:
        """Return top-ups whose balance is to be looked at now, and keep other processes from them until the next time."""
        due = select(_T.tenant).where(_T.check_at <= now).order_by(_T.check_at).limit(limit)
        claimed = (
            update(top_ups_table)
            .where(_T.tenant.in_(due.with_for_update(skip_locked=True)))
            .values(check_at=now + CHECK_EVERY)
            .returning(top_ups_table)
        )
        async with self._database.change() as transaction:
            rows = (await transaction.connection.execute(claimed)).all()
        return [found for found in map(_top_up, rows) if found.enabled and found.paused_at is None]

    async def check_soon(self, tenant: str, now: datetime) -> None:
        """Have a tenant's balance looked at now."""
        async with self._database.change() as transaction:
            chosen = (_T.tenant == tenant) & _T.check_at.is_not(None)
            await transaction.connection.execute(update(top_ups_table).where(chosen).values(check_at=now))

    async def begin(
        self, seen: StoredTopUp, wanted: StoredPurchase, available_micro_usd: int, month: MonthWindow
    ) -> StoredPurchase | None:
        """Begin a payment if credits are low and the month allows it; return None if not.

        `available_micro_usd` was read after `seen`: if a payment began or ended since, nothing happens. Guards: the row's lock,
        the row's cycle, and the one payment that may be under way.
        """
        async with self._database.change() as transaction:
            now = await _lock(transaction, seen.tenant)
            if now is None or not now.enabled or now.paused_at is not None:
                return None
            if (now.cycle, now.revision) != (seen.cycle, seen.revision):
                return None
            busy = await transaction.connection.scalar(select(_P.purchase).where(_under_way(seen.tenant)))
            if busy is not None:
                return None
            decision = decide(
                available_micro_usd=available_micro_usd,
                threshold_micro_usd=now.threshold_micro_usd,
                spent_cents=await _spent(transaction.connection, seen.tenant, month),
                amount_cents=now.amount_cents,
                ceiling_cents=now.ceiling_cents,
            )
            if decision is not TopUpDecision.CHARGE:
                held = month.end if decision is TopUpDecision.CEILING_REACHED else None
                if held != now.held_until:
                    await _write(transaction, seen.tenant, held_until=held)
                return None
            await transaction.connection.execute(insert(purchases_table).values(**asdict(wanted)))
            await _write(transaction, seen.tenant, held_until=None, cycle=now.cycle + 1)
            await transaction.audit(
                actor=wanted.actor,
                action="top_up.charge",
                tenant=wanted.tenant,
                target=wanted.purchase,
                details={
                    "amount_cents": str(wanted.amount_cents),
                    "credits_micro_usd": str(wanted.credits_micro_usd),
                    "available_micro_usd": str(available_micro_usd),
                },
            )
        return wanted

    async def finish(self, purchase: StoredPurchase, state: PurchaseState, **values: Any) -> StoredPurchase:
        """Bring an automatic payment to its end, and let the balance be looked at again. Guards: both rows' locks."""
        async with self._database.change() as transaction:
            await _lock(transaction, purchase.tenant)
            done = await advance(transaction, purchase.purchase, state, **values)
            await _next_cycle(transaction, purchase.tenant)
        return done

    async def note_failure(
        self, purchase: StoredPurchase, reason: str, failures: int, retry_at: datetime, now: datetime
    ) -> StoredPurchase:
        """Store that a payment failed and is tried again, with the event about it; a repetition is harmless."""
        async with self._database.change() as transaction:
            values = {"failures": failures, "reason": reason, "next_step_at": retry_at}
            found = await write(transaction, purchase.purchase, values)
            await _publish(transaction, found, PaymentChange.TOP_UP_FAILED, now)
        return found

    async def pause(
        self, purchase: StoredPurchase, state: PurchaseState, reason: str, failures: int, now: datetime
    ) -> bool:
        """End a payment that failed for good, and pause the top-up with the reason; return whether this call did it.

        Guards: both rows' locks, and the state of the payment.
        """
        async with self._database.change() as transaction:
            await _lock(transaction, purchase.tenant)
            query = select(_P.state).where(_P.purchase == purchase.purchase).with_for_update()
            before = await transaction.connection.scalar(query)
            done = await advance(transaction, purchase.purchase, state, reason=reason, failures=failures)
            if done.state.value == before:
                return False
            await _next_cycle(transaction, purchase.tenant)
            await _write(transaction, purchase.tenant, paused_at=now, paused_reason=reason)
            await _publish(transaction, done, PaymentChange.TOP_UP_PAUSED, now)
            await transaction.audit(
                actor="billing",
                action="top_up.pause",
                tenant=purchase.tenant,
                target=purchase.purchase,
                details={"reason": reason, "failures": str(failures)},
            )
        return True


async def _publish(
    transaction: ServiceTransaction, purchase: StoredPurchase, change: PaymentChange, now: datetime
) -> None:
    """Publish an event about a failed payment with the transaction; each failure of a payment has one id."""
    event_id = f"{purchase.purchase}-{change}-{purchase.failures}"
    event = failure_event(purchase, change, purchase.reason or "", event_id, now)
    subject = PAYMENT_CHANGED.format(tenant=purchase.tenant)
    await transaction.publish(subject, event_id, event.encode())


def _under_way(tenant: str) -> Any:
    unfinished = _P.state.not_in([state.value for state in FINAL_STATES])
    return (_P.tenant == tenant) & (_P.kind == PurchaseKind.TOP_UP.value) & unfinished


async def _spent(connection: AsyncConnection, tenant: str, month: MonthWindow) -> int:
    """Return the automatic payments that count in a month, in cents.

    One that is under way counts in every month: it may be charged at any moment. One that was begun in a month and paid in the
    next counts in both.
    """
    in_month = or_(
        _P.created_at >= month.start, _P.paid_at >= month.start, _P.state.not_in([each.value for each in FINAL_STATES])
    )
    query = select(func.coalesce(func.sum(_P.amount_cents), 0)).where(
        _P.tenant == tenant, _P.kind == PurchaseKind.TOP_UP.value, _P.state.not_in(_NOT_TAKEN), in_month
    )
    return int(await connection.scalar(query) or 0)


async def _lock(transaction: ServiceTransaction, tenant: str) -> StoredTopUp | None:
    query = select(top_ups_table).where(_T.tenant == tenant).with_for_update()
    row = (await transaction.connection.execute(query)).one_or_none()
    return None if row is None else _top_up(row)


async def _write(transaction: ServiceTransaction, tenant: str, **values: Any) -> None:
    await transaction.connection.execute(update(top_ups_table).where(_T.tenant == tenant).values(**values))


async def _next_cycle(transaction: ServiceTransaction, tenant: str) -> None:
    await _write(transaction, tenant, cycle=_T.cycle + 1)


def _top_up(row: Any) -> StoredTopUp:
    values: dict[str, Any] = {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in row._mapping.items()
    }
    return StoredTopUp(**values)
