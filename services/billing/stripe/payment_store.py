"""Payments and their effects in PostgreSQL: what the ledger is to post is decided and stored before it is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Row, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.credit_management import from_micro_usd
from keyferry.contracts.payment_management import PAYMENT_CHANGED
from keyferry.contracts.payments import ListPayments, Payment, PaymentChanged, PaymentKind, Payments, PaymentState
from keyferry.contracts.text import parse_digits
from keyferry.runtime.database.service_database import ServiceDatabase, ServiceTransaction
from services.billing.stripe.currencies import show_amount
from services.billing.stripe.rules import PaidCredits, PaymentEffect, taken_back
from services.billing.stripe.tables import stripe_effects, stripe_payments

_P, _E = stripe_payments.c, stripe_effects.c
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class PendingEffect:
    """An effect that the ledger has to post, if `posted` is false."""

    effect: PaymentEffect
    posted: bool


@dataclass(frozen=True, slots=True)
class DecidedPayment:
    """The effects of a payment, and whether it was parked before."""

    effects: list[PendingEffect]
    was_parked: bool


class InvalidPaymentList(Exception):
    """The cursor is none that a page of payments had."""


class StripePaymentStore:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def decide(
        self,
        paid: PaidCredits,
        choose: Callable[[Sequence[PaymentEffect]], Sequence[PaymentEffect]],
        state: Callable[[Sequence[PaymentEffect]], PaymentState],
        charge: tuple[str | None, str | None],
        now: datetime,
    ) -> DecidedPayment:
        """Store a payment with the effects that `choose` adds to those known; return all, in order.

        Guard: the lock of the payment's row, so that two processes decide on each amount once. `charge` has the id of the charge
        and the address of its receipt.
        """
        async with self._database.change() as change:
            connection = change.connection
            await connection.execute(insert(stripe_payments).values(**_values(paid)).on_conflict_do_nothing())
            query = select(_P.state).where(_P.payment_id == paid.payment_id).with_for_update()
            was_parked = await connection.scalar(query) == PaymentState.PARKED.value
            known = await _effects(connection, paid.payment_id)
            added = choose([each.effect for each in known])
            for position, effect in enumerate(added, len(known)):
                await connection.execute(insert(stripe_effects).values(**_effect(effect, paid, position, now)))
            every = [*(each.effect for each in known), *added]
            refunded, taken = taken_back(every)
            values = {
                **_values(paid),
                "charge_id": charge[0],
                "receipt_url": charge[1],
                "state": state(every).value,
                "detail": None,
                "refunded_minor": max(0, refunded),
                "taken_micro_usd": max(0, taken),
            }
            chosen = _P.payment_id == paid.payment_id
            await connection.execute(update(stripe_payments).where(chosen).values(**values))
        return DecidedPayment([*known, *(PendingEffect(each, False) for each in added)], was_parked)

    async def mark_posted(
        self, effect: PaymentEffect, event: PaymentChanged, details: dict[str, str], now: datetime
    ) -> None:
        """Store that the ledger has posted an effect, with the event and the audit entry about it; once."""
        chosen = (_E.kind == effect.kind.value) & (_E.object_id == effect.object_id) & _E.posted_at.is_(None)
        async with self._database.change() as change:
            statement = update(stripe_effects).where(chosen).values(posted_at=now)
            if (await change.connection.execute(statement)).rowcount:
                await _announce(change, event)
                await change.audit(
                    actor="billing",
                    action=f"payment.{effect.kind.value}",
                    tenant=event.tenant,
                    target=effect.object_id,
                    details=details,
                )

    async def park(self, payment: PaidCredits, event: PaymentChanged, reason: str) -> bool:
        """Store that a payment is paid and not credited; return whether that is new."""
        values = _values(payment) | {"state": PaymentState.PARKED.value, "detail": reason}
        async with self._database.change() as change:
            connection = change.connection
            row = (
                await connection.execute(
                    select(_P.state, _P.detail).where(_P.payment_id == payment.payment_id).with_for_update()
                )
            ).one_or_none()
            if row is not None and (row.state, row.detail) == (PaymentState.PARKED.value, reason):
                return False
            statement = insert(stripe_payments).values(**values)
            changed = {"state": PaymentState.PARKED.value, "detail": reason}
            await connection.execute(statement.on_conflict_do_update(index_elements=["payment_id"], set_=changed))
            await _announce(change, event)
            await change.audit(
                actor="billing",
                action="payment.parked",
                tenant=payment.tenant,
                target=payment.payment_id,
                details={"reason": reason},
            )
        return True

    async def unposted(self, before: datetime, limit: int) -> list[str]:
        """Return payments with effects that were decided before a moment and are not posted."""
        query = select(_E.payment_id).where(_E.posted_at.is_(None), _E.decided_at < before).distinct().limit(limit)
        async with self._database.read() as connection:
            return list(await connection.scalars(query))

    async def list_payments(self, command: ListPayments) -> Payments:
        """Return a page of a tenant's payments, newest first. Raises InvalidPaymentList."""
        query = select(stripe_payments).where(_P.tenant == command.tenant)
        if command.after is not None:
            query = query.where(tuple_(_P.paid_at, _P.payment_id) < tuple_(*_parse(command.after)))
        query = query.order_by(_P.paid_at.desc(), _P.payment_id.desc()).limit(command.limit + 1)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        found = [_payment(row) for row in rows[: command.limit]]
        following = None
        if len(rows) > command.limit:
            following = f"{(found[-1].paid_at - _EPOCH) // _MICROSECOND}:{found[-1].payment_id}"
        return Payments(tenant=command.tenant, payments=found, next=following)


async def _effects(connection: AsyncConnection, payment_id: str) -> list[PendingEffect]:
    query = select(stripe_effects).where(_E.payment_id == payment_id).order_by(_E.position)
    return [
        PendingEffect(
            PaymentEffect(
                PaymentKind(row.kind),
                row.object_id,
                row.amount_minor,
                row.amount_micro_usd,
                row.happened_at.astimezone(UTC),
            ),
            row.posted_at is not None,
        )
        for row in (await connection.execute(query)).all()
    ]


async def _announce(change: ServiceTransaction, event: PaymentChanged) -> None:
    await change.publish(PAYMENT_CHANGED.address(event), event.event_id, event.encode())


def _values(paid: PaidCredits) -> dict[str, object]:
    return {
        "payment_id": paid.payment_id,
        "tenant": paid.tenant,
        "purchase_id": paid.purchase_id,
        "credits_micro_usd": paid.credits_micro_usd,
        "amount_minor": paid.amount_minor,
        "currency": paid.currency,
        "livemode": paid.livemode,
        "state": PaymentState.PAID.value,
        "refunded_minor": 0,
        "taken_micro_usd": 0,
        "paid_at": paid.paid_at,
    }


def _effect(effect: PaymentEffect, paid: PaidCredits, position: int, now: datetime) -> dict[str, object]:
    return {
        "kind": effect.kind.value,
        "object_id": effect.object_id,
        "payment_id": paid.payment_id,
        "position": position,
        "amount_minor": effect.amount_minor,
        "amount_micro_usd": effect.amount_micro_usd,
        "happened_at": effect.at,
        "decided_at": now,
    }


def _payment(row: Row[tuple[object, ...]]) -> Payment:
    return Payment(
        payment_id=row.payment_id,
        tenant=row.tenant,
        purchase_id=row.purchase_id,
        credits=from_micro_usd(row.credits_micro_usd),
        taken_back=from_micro_usd(row.taken_micro_usd),
        amount_minor=row.amount_minor,
        refunded_minor=row.refunded_minor,
        currency=row.currency,
        amount=show_amount(row.amount_minor, row.currency),
        state=PaymentState(row.state),
        detail=row.detail,
        receipt_url=row.receipt_url,
        livemode=row.livemode,
        paid_at=row.paid_at.astimezone(UTC),
    )


def _parse(cursor: str) -> tuple[datetime, str]:
    microseconds, _, payment_id = cursor.partition(":")
    number = parse_digits(microseconds)
    if number is None or not payment_id:
        raise InvalidPaymentList
    return _EPOCH + number * _MICROSECOND, payment_id
