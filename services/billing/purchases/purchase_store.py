"""Purchases in PostgreSQL. What is to be asked of Stripe is stored before it is asked, so that a stop loses nothing."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert

from keyferry.contracts.purchases import FINAL_STATES, PurchaseState
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.database.service_database import ServiceDatabase, ServiceTransaction
from services.billing.purchases.payment_states import may_become
from services.billing.purchases.rule_violation import PurchaseRefused
from services.billing.purchases.stored_purchase import StoredPurchase
from services.billing.purchases.tables import purchases_table

CLAIM = timedelta(minutes=2)
"""For so long a process works on a purchase before another one may: longer than its requests to Stripe take."""
_MAX_OPEN_CHECKOUTS = 50
_C = purchases_table.c


class CreditPurchaseStore:
    """The table of purchases. Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def begin_checkout(self, wanted: StoredPurchase) -> StoredPurchase:
        """Store a checkout before Stripe is asked for it; one with the same idempotency key is returned as it is.

        Guard: the unique key. Raises PurchaseRefused if that is another order, or if too many are open.
        """
        async with self._database.change() as transaction:
            await _lock_tenant(transaction, wanted.tenant)
            chosen = (_C.tenant == wanted.tenant) & (_C.idempotency_key == wanted.idempotency_key)
            row = (await transaction.connection.execute(select(purchases_table).where(chosen))).one_or_none()
            if row is not None:
                found = StoredPurchase.of(row)
                if not found.is_same_order(wanted):
                    raise PurchaseRefused(
                        ErrorCode.CONFLICT,
                        "this idempotency key was used for another purchase: use a new key for a new purchase",
                    )
                return found
            await _require_space(transaction, wanted.tenant)
            await transaction.connection.execute(insert(purchases_table).values(**asdict(wanted)))
            details = {
                "amount_cents": str(wanted.amount_cents),
                "credits_micro_usd": str(wanted.credits_micro_usd),
            } | ({"package": wanted.package} if wanted.package else {})
            await transaction.audit(
                actor=wanted.actor,
                action="checkout.create",
                tenant=wanted.tenant,
                target=wanted.purchase,
                details=details,
            )
        return wanted

    async def get(self, tenant: str, purchase: str) -> StoredPurchase:
        """Return a tenant's purchase. Raises PurchaseRefused if it has none of this id."""
        chosen = (_C.tenant == tenant) & (_C.purchase == purchase)
        async with self._database.read() as connection:
            row = (await connection.execute(select(purchases_table).where(chosen))).one_or_none()
        if row is None:
            raise PurchaseRefused(
                ErrorCode.NOT_FOUND,
                f"tenant {tenant!r} has no purchase {purchase!r}: list its purchases to see the ids",
            )
        return StoredPurchase.of(row)

    async def newest(self, tenant: str, limit: int) -> list[StoredPurchase]:
        """Return a tenant's purchases, the newest first."""
        query = select(purchases_table).where(_C.tenant == tenant)
        query = query.order_by(_C.created_at.desc(), _C.purchase.desc()).limit(limit)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [StoredPurchase.of(row) for row in rows]

    async def of_payment_intent(self, payment_intent: str) -> StoredPurchase | None:
        """Return the purchase that a payment intent belongs to."""
        async with self._database.read() as connection:
            query = select(purchases_table).where(_C.payment_intent == payment_intent)
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else StoredPurchase.of(row)

    async def claim_due(self, now: datetime, limit: int) -> Sequence[StoredPurchase]:
        """Return purchases that are due for a step, and keep other processes from them for the time of a claim."""
        due = select(_C.purchase).where(_C.next_step_at <= now).order_by(_C.next_step_at).limit(limit)
        claimed = (
            update(purchases_table)
            .where(_C.purchase.in_(due.with_for_update(skip_locked=True)))
            .values(next_step_at=now + CLAIM)
            .returning(purchases_table)
        )
        async with self._database.change() as transaction:
            rows = (await transaction.connection.execute(claimed)).all()
        return [StoredPurchase.of(row) for row in rows]

    async def note(self, purchase: StoredPurchase, **values: Any) -> StoredPurchase:
        """Store what was learned about a purchase without a change of its state, and return it."""
        async with self._database.change() as transaction:
            return await write(transaction, purchase.purchase, values)

    async def set_payment_intent(self, purchase: StoredPurchase, payment_intent: str) -> StoredPurchase:
        """Store the payment intent of a purchase, unless one is stored; return the purchase as it is then.

        Guard: the condition.
        """
        async with self._database.change() as transaction:
            chosen = (_C.purchase == purchase.purchase) & _C.payment_intent.is_(None)
            await transaction.connection.execute(
                update(purchases_table).where(chosen).values(payment_intent=payment_intent)
            )
            query = select(purchases_table).where(_C.purchase == purchase.purchase)
            return StoredPurchase.of((await transaction.connection.execute(query)).one())

    async def advance(self, purchase: StoredPurchase, state: PurchaseState, **values: Any) -> StoredPurchase:
        """Bring a purchase to a state, with further columns, unless it is beyond that already; return it as it is then.

        Guard: the row's lock, held from reading to commit.
        """
        async with self._database.change() as transaction:
            return await advance(transaction, purchase.purchase, state, **values)


async def advance(
    transaction: ServiceTransaction, purchase: str, state: PurchaseState, **values: Any
) -> StoredPurchase:
    """Bring a purchase to a state in the caller's transaction, unless it is beyond that already."""
    query = select(purchases_table).where(_C.purchase == purchase).with_for_update()
    current = StoredPurchase.of((await transaction.connection.execute(query)).one())
    if not may_become(current.state, state):
        return current
    if state in FINAL_STATES:
        values.setdefault("next_step_at", None)
    return await write(transaction, purchase, {**values, "state": state.value})


async def write(transaction: ServiceTransaction, purchase: str, values: dict[str, Any]) -> StoredPurchase:
    """Write columns of a purchase, and return it."""
    statement = update(purchases_table).where(_C.purchase == purchase).values(**values).returning(purchases_table)
    return StoredPurchase.of((await transaction.connection.execute(statement)).one())


async def _lock_tenant(transaction: ServiceTransaction, tenant: str) -> None:
    """Let one checkout of a tenant begin at a time, so that two requests with one key find each other."""
    await transaction.connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"checkouts of {tenant}"}
    )


async def _require_space(transaction: ServiceTransaction, tenant: str) -> None:
    open_ones = (_C.tenant == tenant) & _C.state.in_([PurchaseState.OPENING.value, PurchaseState.OPEN.value])
    query = select(_C.purchase).where(open_ones).limit(_MAX_OPEN_CHECKOUTS)
    if len((await transaction.connection.execute(query)).all()) >= _MAX_OPEN_CHECKOUTS:
        raise PurchaseRefused(
            ErrorCode.CONFLICT,
            f"the tenant has {_MAX_OPEN_CHECKOUTS} payments that are begun and not paid: pay or cancel one first",
        )
