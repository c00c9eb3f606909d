"""Internal services in PostgreSQL. Revoked ones stay, so that no key is registered twice."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Row, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.internal_services import (
    INTERNAL_SERVICES_VIEW,
    CreateInternalService,
    InternalService,
    ListInternalServices,
    RevokeInternalService,
    view_key,
)
from keyferry.runtime.database.outbox import enqueue
from services.tenant_directory import internal_services, tenants
from services.tenant_directory.tables import outbox, services_table, tenants_table
from services.tenant_directory.transactions import lock_tenant, record_audit, transaction

_IS_LIVE = services_table.c.revoked_at.is_(None)


class InternalServiceStore:
    """The table. Every method raises DatabaseUnavailable, and RuleViolation if the command breaks a rule."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create(self, command: CreateInternalService, now: datetime) -> InternalService:
        """Add a service. Guards: the tenant's row lock, which makes its count exact, and the unique keys."""
        columns = services_table.c
        async with transaction(self._engine) as connection:
            owner = await lock_tenant(connection, command.tenant)
            of_owner = _IS_LIVE & (columns.tenant == owner.tenant)
            live = await connection.scalar(select(func.count()).select_from(services_table).where(of_owner)) or 0
            service = internal_services.register(command, owner, live, now)
            if await connection.scalar(select(columns.name).where(of_owner, columns.name == service.name)) is not None:
                raise internal_services.name_taken(service.tenant, service.name)
            statement = upsert(services_table).values(**service.model_dump()).on_conflict_do_nothing()
            if await connection.scalar(statement.returning(columns.nkey_public)) is None:
                raise internal_services.key_reused()
            await _publish(connection, service)
            await _audit(connection, command.actor, "internal_service.create", service)
        return service

    async def revoke(self, command: RevokeInternalService, now: datetime) -> InternalService:
        """Revoke the service of that name; if none is live, return the last one. Guard: the tenant's row lock."""
        columns = services_table.c
        latest = (
            select(services_table)
            .where(columns.tenant == command.tenant, columns.name == command.name)
            .order_by(_IS_LIVE.desc(), columns.created_at.desc())
            .limit(1)
        )
        async with transaction(self._engine) as connection:
            await lock_tenant(connection, command.tenant)
            row = (await connection.execute(latest)).one_or_none()
            if row is None:
                raise internal_services.unknown(command.tenant, command.name)
            service = internal_services.revoke(_service(row), command, now)
            if row.revoked_at is None:
                values = service.model_dump(include={"revoked_at", "revoked_by"})
                chosen = columns.nkey_public == service.nkey_public
                await connection.execute(update(services_table).where(chosen).values(values))
                await _publish(connection, service)
                await _audit(connection, command.actor, "internal_service.revoke", service)
        return service

    async def list(self, command: ListInternalServices) -> list[InternalService]:
        """Return a tenant's services, or everybody's. Raises RuleViolation if there is no such tenant."""
        columns = services_table.c
        query = select(services_table).order_by(columns.tenant, columns.name, columns.created_at)
        if not command.revoked:
            query = query.where(_IS_LIVE)
        async with transaction(self._engine) as connection:
            if command.tenant is not None:
                known = select(tenants_table.c.tenant).where(tenants_table.c.tenant == command.tenant)
                if await connection.scalar(known) is None:
                    raise tenants.unknown(command.tenant)
                query = query.where(columns.tenant == command.tenant)
            found = [_service(row) for row in await connection.execute(query)]
        if command.without_operations:
            return [service.model_copy(update={"operations": None}) for service in found]
        return found

    async def view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return the view's entries by bucket name and key. Raises SQLAlchemyError, which the relay expects."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(select(services_table).where(_IS_LIVE))).all()
        return {INTERNAL_SERVICES_VIEW.name: {view_key(row.tenant, row.name): _service(row).encode() for row in rows}}


async def _publish(connection: AsyncConnection, service: InternalService) -> None:
    """Put the service into the view, or take a revoked one out of it."""
    value = service.encode() if service.revoked_at is None else None
    await enqueue(connection, outbox, INTERNAL_SERVICES_VIEW.name, view_key(service.tenant, service.name), value)


async def _audit(connection: AsyncConnection, actor: str, action: str, service: InternalService) -> None:
    details = internal_services.describe(service)
    await record_audit(connection, actor, action, service.tenant, service.name, details)


def _service(row: Row[tuple[object, ...]]) -> InternalService:
    """Return a row as its message, with times in UTC: the bytes in the view must not depend on the session's time zone."""
    service = InternalService.model_validate(dict(row._mapping))
    revoked_at = None if service.revoked_at is None else service.revoked_at.astimezone(UTC)
    return service.model_copy(update={"created_at": service.created_at.astimezone(UTC), "revoked_at": revoked_at})
