"""People and their sessions in PostgreSQL.

Every change of a session is committed together with the outbox row for the view. What has expired is removed when somebody signs
in; until then the view may have it, and its readers compare the times themselves.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.membership import SignOutMember
from keyferry.contracts.sessions import ChooseTenant, EndSession, Session, StartSession, TouchSessions
from keyferry.contracts.sign_in_management import SESSIONS_VIEW
from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.database.outbox import enqueue
from keyferry.runtime.database.tenant_isolation import as_service
from services.tenant_directory import members, sessions, tenants
from services.tenant_directory.claimed_members import apply_memberships
from services.tenant_directory.member_store import acting_role, memberships_of, read_member
from services.tenant_directory.member_tables import members_table
from services.tenant_directory.session_tables import sessions_table, used_codes_table, users_table
from services.tenant_directory.store import apply_tenant_update
from services.tenant_directory.tables import outbox, tenants_table
from services.tenant_directory.transactions import lock_tenant, record_audit, tenant_of, transaction
from services.tenant_directory.user_store import save_user

_SWEPT = 500
"""Expired sessions that one sign-in removes at most."""


class SessionStore:
    """The tables of sessions. Every method raises DatabaseUnavailable, and RuleViolation if the command breaks a rule."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def start(self, command: StartSession, session_id: str, user_id: str, now: datetime) -> Session:
        """Add a session. `user_id` is for somebody new. Guards: the unique digest, and the primary key of used codes."""
        sessions.check_start(command, now)
        async with transaction(self._engine) as connection:
            await _use_code(connection, command)
            await _sweep(connection, now)
            known = await _lock_claimed(connection, command)
            user_id = await save_user(connection, command, user_id, now)
            members = await apply_memberships(connection, command, user_id, now)
            session = sessions.start(command, session_id, user_id, members, now)
            await _end_replaced(connection, command, session)
            row = session.model_dump(exclude={"tenant"}) | {"digest": command.digest, "chosen_tenant": session.tenant}
            statement = upsert(sessions_table).values(**row)
            statement = statement.on_conflict_do_nothing(index_elements=["digest"])
            if await connection.scalar(statement.returning(sessions_table.c.session_id)) is None:
                raise sessions.already_started()
            await _publish(connection, command.digest, session)
            for change in sessions.tier_changes(command, members, known, user_id):
                await apply_tenant_update(connection, change)
            await _audit(connection, session, "session.start", user_id)
        return session

    async def touch(self, command: TouchSessions) -> int:
        """Store when sessions were last seen; return how many are known. Guard: the row locks, taken in one order."""
        seen = {entry.session_id: entry.seen_at for entry in command.seen}
        async with transaction(self._engine) as connection:
            columns = sessions_table.c
            query = select(sessions_table).where(columns.session_id.in_(seen)).order_by(columns.session_id)
            rows = (await connection.execute(query.with_for_update())).all()
            for row in rows:
                session = _session(row)
                moment = min(seen[session.session_id].astimezone(UTC), session.expires_at)
                if moment > session.last_seen_at:
                    await _replace(connection, row, session.model_copy(update={"last_seen_at": moment}))
        return len(rows)

    async def choose(self, command: ChooseTenant) -> Session:
        """Store the tenant that a session acts for. Guard: the row lock."""
        # Sessions are no tenant's: a transaction that is confined to the chosen one has no right to them.
        async with transaction(self._engine) as connection, as_service(connection):
            row = await _locked(connection, command.session_id)
            if row is None:
                raise sessions.unknown()
            if command.tenant is not None:
                query = select(tenants_table.c.tenant).where(tenants_table.c.tenant == command.tenant)
                if await connection.scalar(query) is None:
                    raise tenants.unknown(command.tenant)
            session = _session(row).model_copy(update={"tenant": command.tenant})
            await _replace(connection, row, session)
        return session

    async def end(self, command: EndSession) -> None:
        """Remove a session. Guard: the row lock."""
        async with transaction(self._engine) as connection:
            row = await _locked(connection, command.session_id)
            if row is None or row.user_id != command.user_id:
                raise sessions.unknown()
            await _remove(connection, row)
            await _audit(connection, _session(row), "session.end", command.actor)

    async def sign_out(self, command: SignOutMember) -> int:
        """End all sessions of a member; return how many. Guard: the tenant's row lock, under which roles stay as they are."""
        async with transaction(self._engine) as connection:
            await lock_tenant(connection, command.tenant)
            acting = await acting_role(connection, command)
            member = await read_member(connection, command.tenant, command.member_id)
            async with as_service(connection):  # sessions are no tenant's
                theirs = select(sessions_table).where(sessions_table.c.user_id == member.user_id)
                rows = (await connection.execute(theirs.with_for_update())).all()
                members.check_sign_out(member, acting, any(row.operator for row in rows))
                for row in rows:
                    await _remove(connection, row)
            details = {"sessions": str(len(rows))}
            await record_audit(connection, command.actor, "member.sign_out", command.tenant, member.member_id, details)
        return len(rows)

    async def list_sessions(self, user_id: str) -> list[Session]:
        """Return somebody's sessions, oldest first."""
        columns = sessions_table.c
        query = (
            select(sessions_table).where(columns.user_id == user_id).order_by(columns.created_at, columns.session_id)
        )
        async with transaction(self._engine) as connection:
            return [_session(row) for row in await connection.execute(query)]


async def end_sessions_of(connection: AsyncConnection, tenant: str, user_id: str) -> None:
    """End all sessions of somebody who leaves `tenant`, in the caller's transaction: they may sign in again to others."""
    query = select(sessions_table).where(sessions_table.c.user_id == user_id).with_for_update()
    async with as_service(connection):  # sessions are no tenant's
        rows = (await connection.execute(query)).all()
        for row in rows:
            await _remove(connection, row)
    for row in rows:
        session = _session(row)
        details = {"channel": session.channel.value, "name": session.name}
        await record_audit(connection, "tenant-directory", "session.end", tenant, session.session_id, details)


async def session_entries(connection: AsyncConnection) -> dict[str, bytes]:
    """Return the entries of the view of sessions, by digest."""
    rows = (await connection.execute(select(sessions_table))).all()
    return {row.digest: _session(row).encode() for row in rows}


async def _use_code(connection: AsyncConnection, command: StartSession) -> None:
    """Note that a code was exchanged. Raises RuleViolation for the second time."""
    if command.code_digest is None:
        return
    values = {"digest": command.code_digest, "expires_at": command.code_expires_at}
    statement = upsert(used_codes_table).values(**values).on_conflict_do_nothing()
    if await connection.scalar(statement.returning(used_codes_table.c.digest)) is None:
        raise sessions.code_used()


async def _sweep(connection: AsyncConnection, now: datetime) -> None:
    """Remove sessions and codes that have expired."""
    await connection.execute(delete(used_codes_table).where(used_codes_table.c.expires_at < now))
    columns = sessions_table.c
    idle_until = columns.last_seen_at + func.make_interval(0, 0, 0, 0, 0, 0, columns.idle_seconds)
    over = select(sessions_table).where((columns.expires_at < now) | (idle_until < now)).limit(_SWEPT)
    for row in (await connection.execute(over.with_for_update(skip_locked=True))).all():
        await _remove(connection, row)


async def _lock_claimed(connection: AsyncConnection, command: StartSession) -> Sequence[Tenant]:
    """Return the tenants that a command makes somebody a member of, or no member any more, locked in one order for all."""
    if command.memberships is None:
        return []
    columns, users = tenants_table.c, users_table.c
    person = (users.issuer == command.issuer) & (users.subject == command.subject)
    present = select(members_table.c.tenant).join(users_table, users.user_id == members_table.c.user_id).where(person)
    chosen = columns.tenant.in_({membership.tenant for membership in command.memberships}) | columns.tenant.in_(present)
    query = select(tenants_table).where(chosen).order_by(columns.tenant).with_for_update()
    return [tenant_of(row) for row in await connection.execute(query)]


async def _end_replaced(connection: AsyncConnection, command: StartSession, session: Session) -> None:
    """Remove the session that the browser had, and the oldest ones of somebody who has too many."""
    if command.replaces is not None and (row := await _locked(connection, command.replaces)) is not None:
        await _remove(connection, row)
        await _audit(connection, _session(row), "session.end", session.user_id)
    columns = sessions_table.c
    query = select(sessions_table).where(columns.user_id == session.user_id).order_by(columns.created_at.desc())
    surplus = query.offset(sessions.MAX_SESSIONS_PER_USER - 1).with_for_update()
    for row in (await connection.execute(surplus)).all():
        await _remove(connection, row)


async def _locked(connection: AsyncConnection, session_id: str) -> Row[tuple[object, ...]] | None:
    query = select(sessions_table).where(sessions_table.c.session_id == session_id).with_for_update()
    return (await connection.execute(query)).one_or_none()


async def _replace(connection: AsyncConnection, row: Row[tuple[object, ...]], session: Session) -> None:
    values = {"last_seen_at": session.last_seen_at, "chosen_tenant": session.tenant}
    await connection.execute(
        update(sessions_table).where(sessions_table.c.session_id == session.session_id).values(**values)
    )
    await _publish(connection, row.digest, session)


async def _remove(connection: AsyncConnection, row: Row[tuple[object, ...]]) -> None:
    await connection.execute(delete(sessions_table).where(sessions_table.c.session_id == row.session_id))
    await enqueue(connection, outbox, SESSIONS_VIEW.name, row.digest, None)


async def _publish(connection: AsyncConnection, digest: str, session: Session) -> None:
    await enqueue(connection, outbox, SESSIONS_VIEW.name, digest, session.encode())


async def _audit(connection: AsyncConnection, session: Session, action: str, actor: str) -> None:
    details = {"channel": session.channel.value, "name": session.name}
    if session.acr is not None:
        details["acr"] = session.acr
    for tenant in sessions.audited_tenants(session.operator, await memberships_of(connection, session.user_id)):
        await record_audit(connection, actor, action, tenant, session.session_id, details)


def _session(row: Row[tuple[object, ...]]) -> Session:
    session = Session.model_validate({**row._mapping, "tenant": row.chosen_tenant})
    times = ("created_at", "expires_at", "last_seen_at", "auth_time")
    return session.model_copy(update={name: _utc(getattr(session, name)) for name in times})


def _utc(moment: datetime | None) -> datetime | None:
    """Convert to UTC: PostgreSQL returns the session's time zone, and the bytes in a view must not depend on it."""
    return None if moment is None else moment.astimezone(UTC)
