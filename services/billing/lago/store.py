"""What is kept about Lago in PostgreSQL: customers, refused events, and progress."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from keyferry.contracts.lago import LagoCustomer, LagoOutcome, ListParkedLagoEvents, ParkedLagoEvent
from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.lago.events import UsageEvent
from services.billing.lago.tables import lago_customers, lago_events, lago_progress


class LagoStore:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    # --- customers

    async def read_customers(self, tenants: Collection[str]) -> dict[str, LagoCustomer]:
        """Return the customers of these tenants, of those that have one."""
        query = select(lago_customers).where(lago_customers.c.tenant.in_(tenants))
        async with self._database.read() as connection:
            return {row["tenant"]: _customer(row) for row in (await connection.execute(query)).mappings()}

    async def list_customers(self, only: str | None, after: str | None, limit: int) -> list[LagoCustomer]:
        """Return a page of customers in the order of tenants."""
        query = select(lago_customers).order_by(lago_customers.c.tenant).limit(limit)
        if only is not None:
            query = query.where(lago_customers.c.tenant == only)
        if after is not None:
            query = query.where(lago_customers.c.tenant > after)
        async with self._database.read() as connection:
            return [_customer(row) for row in (await connection.execute(query)).mappings()]

    async def save_customer(self, customer: LagoCustomer, *, actor: str, replace: bool) -> LagoCustomer:
        """Store a customer with its audit event; without `replace` one that is there stays. Return what is stored."""
        values = customer.model_dump(mode="python") | {"state": customer.state.value}
        statement = insert(lago_customers).values(**values)
        added = {name: value for name, value in values.items() if name != "tenant"}
        statement = (
            statement.on_conflict_do_update(index_elements=["tenant"], set_=added)
            if replace
            else statement.on_conflict_do_nothing()
        )
        async with self._database.change() as change:
            done = (await change.connection.execute(statement.returning(lago_customers.c.tenant))).one_or_none()
            if done is None:
                query = select(lago_customers).where(lago_customers.c.tenant == customer.tenant)
                return _customer((await change.connection.execute(query)).mappings().one())
            await change.audit(
                actor=actor,
                action="lago.customer",
                tenant=customer.tenant,
                target=customer.external_customer_id,
                details={"state": customer.state.value, "subscription": customer.external_subscription_id},
            )
        return customer

    # --- refused events

    async def park(self, events: Sequence[tuple[UsageEvent, str]], now: datetime) -> None:
        """Keep events that Lago refuses, each with the reason; one that is kept already gets the new reason."""
        rows = [
            {
                "attempt_id": event.attempt_id,
                "tenant": event.tenant,
                "ended_at": event.ended_at,
                "properties": event.properties,
                "reason": reason,
                "parked_at": now,
                "replays": 0,
            }
            for event, reason in events
        ]
        statement = insert(lago_events)
        statement = statement.on_conflict_do_update(
            index_elements=["attempt_id"],
            set_={"reason": statement.excluded.reason, "replays": lago_events.c.replays + 1},
        )
        async with self._database.change() as change:
            await change.connection.execute(statement, rows)

    async def list_parked(self, command: ListParkedLagoEvents) -> tuple[int, list[ParkedLagoEvent]]:
        """Return how many events are kept, and a page of them in the order of their ids, which is that of time."""
        columns = lago_events.c
        wanted = [columns.tenant == command.only] if command.only is not None else []
        query = select(lago_events).where(*wanted).order_by(columns.attempt_id).limit(command.limit)
        if command.after is not None:
            query = query.where(columns.attempt_id > command.after)
        async with self._database.read() as connection:
            total = (
                await connection.execute(select(func.count()).select_from(lago_events).where(*wanted))
            ).scalar_one()
            rows = (await connection.execute(query)).mappings().all()
        return total, [_parked(row) for row in rows]

    async def read_parked(self, attempt_ids: Sequence[str], limit: int) -> list[UsageEvent]:
        """Return kept events by their ids, or the oldest ones for no ids."""
        query = select(lago_events).order_by(lago_events.c.attempt_id).limit(limit)
        if attempt_ids:
            query = query.where(lago_events.c.attempt_id.in_(attempt_ids))
        async with self._database.read() as connection:
            return [_event(row) for row in (await connection.execute(query)).mappings()]

    async def remove_parked(self, attempt_ids: Collection[str]) -> None:
        """Forget kept events that Lago has now."""
        if attempt_ids:
            async with self._database.change() as change:
                await change.connection.execute(delete(lago_events).where(lago_events.c.attempt_id.in_(attempt_ids)))

    async def audit_replay(self, actor: str, tenant: str, target: str, details: dict[str, str]) -> None:
        """Record in the audit that somebody had events reported again."""
        async with self._database.change() as change:
            await change.audit(actor=actor, action="lago.replay", tenant=tenant, target=target, details=details)

    # --- progress

    async def begin(self, now: datetime) -> datetime:
        """Remember that attempts are reported from now on, unless they have been before; return since when."""
        statement = insert(lago_progress).values(only_row=1, since=now, accepted=0, known=0, skipped=0)
        statement = statement.on_conflict_do_update(
            index_elements=["only_row"], set_={"since": func.coalesce(lago_progress.c.since, now)}
        )
        async with self._database.change() as change:
            found = await change.connection.execute(statement.returning(lago_progress.c.since))
            return found.scalar_one().astimezone(UTC)  # type: ignore[no-any-return]

    async def end(self) -> None:
        """Remember that attempts are not reported any more."""
        async with self._database.change() as change:
            await change.connection.execute(update(lago_progress).values(since=None))

    async def count(self, outcome: LagoOutcome, now: datetime) -> None:
        """Add what became of events."""
        columns = lago_progress.c
        statement = update(lago_progress).values(
            accepted=columns.accepted + outcome.accepted,
            known=columns.known + outcome.known,
            skipped=columns.skipped + outcome.skipped,
        )
        if outcome.accepted:
            statement = statement.values(last_accepted_at=now)
        async with self._database.change() as change:
            await change.connection.execute(statement)

    async def read_progress(self) -> Mapping[str, Any]:
        """Return the progress, and how many events are parked as `parked`."""
        async with self._database.read() as connection:
            parked = (await connection.execute(select(func.count()).select_from(lago_events))).scalar_one()
            row = (await connection.execute(select(lago_progress))).mappings().one_or_none()
        return {"parked": parked} | (dict(row) if row is not None else {})


def _customer(row: Mapping[Any, Any]) -> LagoCustomer:
    return LagoCustomer.model_validate(dict(row) | {"updated_at": row["updated_at"].astimezone(UTC)})


def _parked(row: Mapping[Any, Any]) -> ParkedLagoEvent:
    return ParkedLagoEvent(
        attempt_id=row["attempt_id"],
        tenant=row["tenant"],
        reason=row["reason"],
        tokens=row["properties"]["tokens"],
        ended_at=row["ended_at"].astimezone(UTC),
        parked_at=row["parked_at"].astimezone(UTC),
        replays=row["replays"],
    )


def _event(row: Mapping[Any, Any]) -> UsageEvent:
    return UsageEvent(row["attempt_id"], row["tenant"], row["ended_at"].astimezone(UTC), row["properties"])
