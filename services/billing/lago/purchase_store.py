"""Payments that have to be booked in Lago, in PostgreSQL."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from keyferry.contracts.money import plain
from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.lago.purchases import Booking, BookingKind, BookingState
from services.billing.lago.tables import lago_purchases

CLAIM = timedelta(minutes=2)
"""For so long a booking belongs to the process that took it, and a call whose answer was lost may still have its effect."""
_OPEN = (BookingState.PENDING.value, BookingState.BOOKED.value)


class PurchaseStore:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def add(self, booking: Booking, now: datetime) -> None:
        """Keep a booking; one that is known has no effect."""
        statement = insert(lago_purchases).values(
            payment_id=booking.booking_id,
            tenant=booking.tenant,
            kind=booking.kind.value,
            credits=plain(booking.credits),
            amount_minor=booking.amount_minor,
            currency=booking.currency,
            paid_at=booking.paid_at,
            state=BookingState.PENDING.value,
            attempts=0,
            next_attempt_at=now,
        )
        async with self._database.change() as change:
            await change.connection.execute(statement.on_conflict_do_nothing())

    async def claim(self, now: datetime) -> Booking | None:
        """Take the oldest booking that is due; None if there is none."""
        columns = lago_purchases.c
        due = (
            select(columns.payment_id)
            .where(columns.state.in_(_OPEN), columns.next_attempt_at <= now)
            .order_by(columns.next_attempt_at, columns.payment_id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        statement = (
            update(lago_purchases)
            .where(columns.payment_id == due.scalar_subquery())
            .values(attempts=columns.attempts + 1, next_attempt_at=now + CLAIM)
            .returning(lago_purchases)
        )
        async with self._database.change() as change:
            row = (await change.connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _booking(row)

    async def update(
        self,
        booking_id: str,
        state: BookingState,
        *,
        next_attempt_at: datetime,
        detail: str | None = None,
        transaction_id: str | None = None,
        invoice_id: str | None = None,
    ) -> None:
        """Store how far a booking is."""
        known = {"transaction_id": transaction_id, "invoice_id": invoice_id}
        values = {"state": state.value, "next_attempt_at": next_attempt_at, "detail": detail}
        values |= {name: value for name, value in known.items() if value is not None}
        statement = update(lago_purchases).where(lago_purchases.c.payment_id == booking_id).values(**values)
        async with self._database.change() as change:
            await change.connection.execute(statement)

    async def count_open(self) -> int:
        """Return how many bookings wait."""
        query = select(func.count()).select_from(lago_purchases).where(lago_purchases.c.state.in_(_OPEN))
        async with self._database.read() as connection:
            return int((await connection.execute(query)).scalar_one())


def _booking(row: Mapping[Any, Any]) -> Booking:
    return Booking(
        booking_id=row["payment_id"],
        tenant=row["tenant"],
        kind=BookingKind(row["kind"]),
        credits=Decimal(row["credits"]),
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        paid_at=row["paid_at"].astimezone(UTC),
        state=BookingState(row["state"]),
        attempts=row["attempts"],
    )
