"""The inbox of Stripe's events in PostgreSQL, and how often in a row something failed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Row, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from keyferry.contracts.stripe_events import EventState, ListStripeEvents, StripeEvent, StripeEvents
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.text import parse_digits
from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.stripe.received_event import ReceivedEvent
from services.billing.stripe.tables import stripe_events, stripe_health

_C, _H = stripe_events.c, stripe_health.c
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class InvalidEventCursor(Exception):
    """The cursor is none that a page of events had."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event to be processed."""

    event_id: str
    type: str
    object_type: str
    object_id: str | None
    payment_id: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class FailureStreak:
    """How often in a row something has failed, and whether an alert was raised over it."""

    failures: int
    reported: bool


class StripeEventStore:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def receive(
        self, event: ReceivedEvent, state: EventState, detail: str | None, now: datetime
    ) -> tuple[EventState, bool]:
        """Store an event, or count its delivery if it is known; return its state, and whether it was known.

        Once this returns, the event may be acknowledged.
        """
        values = {
            "event_id": event.event_id,
            "type": event.type,
            "object_type": event.object_type,
            "object_id": event.object_id,
            "payment_id": event.payment_id,
            "livemode": event.livemode,
            "created_at": event.created_at,
            "received_at": now,
            "deliveries": 1,
            "state": state.value,
            "attempts": 0,
            "next_attempt_at": now if state is EventState.PENDING else None,
            "detail": detail,
        }
        statement = insert(stripe_events).values(**values)
        statement = statement.on_conflict_do_update(index_elements=["event_id"], set_={"deliveries": _C.deliveries + 1})
        async with self._database.change() as change:
            row = (await change.connection.execute(statement.returning(_C.state, _C.deliveries))).one()
        return EventState(row.state), row.deliveries > 1

    async def claim(self, now: datetime, until: datetime, limit: int) -> list[StoredEvent]:
        """Return events that are due, and keep other processes from them until then; after a stop they are due again."""
        due = (
            select(_C.event_id)
            .where(_C.state == EventState.PENDING.value, _C.next_attempt_at <= now)
            .order_by(_C.next_attempt_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        statement = update(stripe_events).where(_C.event_id.in_(due)).values(next_attempt_at=until)
        columns = (_C.event_id, _C.type, _C.object_type, _C.object_id, _C.payment_id, _C.attempts)
        async with self._database.change() as change:
            rows = (await change.connection.execute(statement.returning(*columns))).all()
        return [StoredEvent(*row) for row in rows]

    async def finish(self, event_ids: Collection[str], state: EventState, detail: str) -> None:
        """Store what became of events."""
        values = {"state": state.value, "detail": detail, "attempts": 0, "next_attempt_at": None}
        await self._update(event_ids, values)

    async def put_off(self, event_ids: Collection[str], until: datetime, detail: str) -> None:
        """Store that processing has failed, and when it is tried again."""
        values = {"attempts": _C.attempts + 1, "next_attempt_at": until, "detail": detail}
        await self._update(event_ids, values)

    async def replay(self, event_ids: Sequence[str], *, all_parked: bool, actor: str, now: datetime) -> int:
        """Make events due again, with an audit event; return how many there were."""
        chosen = _C.state == EventState.PARKED.value if all_parked else _C.event_id.in_(event_ids)
        values = {"state": EventState.PENDING.value, "next_attempt_at": now, "attempts": 0}
        async with self._database.change() as change:
            found = list(
                await change.connection.scalars(
                    update(stripe_events).where(chosen).values(**values).returning(_C.event_id)
                )
            )
            if found:
                await change.audit(
                    actor=actor,
                    action="stripe_events.replay",
                    tenant=PLATFORM_TENANT,
                    target=found[0] if len(found) == 1 else f"{len(found)} events of Stripe",
                    details={"events": str(len(found))},
                )
        return len(found)

    async def page(self, command: ListStripeEvents) -> StripeEvents:
        """Return a page of events, newest first. Raises InvalidEventCursor."""
        query = select(stripe_events)
        if command.state is not None:
            query = query.where(_C.state == command.state.value)
        if command.after is not None:
            query = query.where(tuple_(_C.received_at, _C.event_id) < tuple_(*_parse(command.after)))
        query = query.order_by(_C.received_at.desc(), _C.event_id.desc()).limit(command.limit + 1)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
            counted = (await connection.execute(select(_C.state, func.count()).group_by(_C.state))).all()
        found = [_event(row) for row in rows[: command.limit]]
        following = None
        if len(rows) > command.limit:
            following = f"{(found[-1].received_at - _EPOCH) // _MICROSECOND}:{found[-1].event_id}"
        return StripeEvents(events=found, counts={EventState(state): count for state, count in counted}, next=following)

    # --- failures in a row

    async def note_failure(self, subject: str, detail: str) -> FailureStreak:
        """Count a failure."""
        statement = insert(stripe_health).values(subject=subject, failures=1, detail=detail, reported=False)
        changed = {"failures": _H.failures + 1, "detail": detail}
        statement = statement.on_conflict_do_update(index_elements=["subject"], set_=changed)
        async with self._database.change() as change:
            row = (await change.connection.execute(statement.returning(_H.failures, _H.reported))).one()
        return FailureStreak(row.failures, row.reported)

    async def note_success(self, subject: str) -> FailureStreak | None:
        """Forget failures; return what there was, or None if there was none."""
        chosen = (_H.subject == subject) & ((_H.failures > 0) | _H.reported)
        async with self._database.change() as change:
            row = (await change.connection.execute(select(stripe_health).where(chosen).with_for_update())).one_or_none()
            if row is None:
                return None
            await change.connection.execute(update(stripe_health).where(chosen).values(failures=0))
        return FailureStreak(row.failures, row.reported)

    async def mark_reported(self, subject: str, *, reported: bool) -> None:
        """Store whether an alert stands."""
        async with self._database.change() as change:
            await change.connection.execute(
                update(stripe_health).where(_H.subject == subject).values(reported=reported)
            )

    async def _update(self, event_ids: Collection[str], values: Mapping[str, object]) -> None:
        async with self._database.change() as change:
            await change.connection.execute(
                update(stripe_events).where(_C.event_id.in_(list(event_ids))).values(**values)
            )


def _event(row: Row[tuple[object, ...]]) -> StripeEvent:
    return StripeEvent(
        event_id=row.event_id,
        type=row.type,
        object_id=row.object_id,
        payment_id=row.payment_id,
        livemode=row.livemode,
        created_at=row.created_at.astimezone(UTC),
        received_at=row.received_at.astimezone(UTC),
        deliveries=row.deliveries,
        state=EventState(row.state),
        attempts=row.attempts,
        next_attempt_at=None if row.next_attempt_at is None else row.next_attempt_at.astimezone(UTC),
        detail=row.detail,
    )


def _parse(cursor: str) -> tuple[datetime, str]:
    microseconds, _, event_id = cursor.partition(":")
    number = parse_digits(microseconds)
    if number is None or not event_id:
        raise InvalidEventCursor
    return _EPOCH + number * _MICROSECOND, event_id
