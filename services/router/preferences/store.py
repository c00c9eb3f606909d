"""Saved preferences in PostgreSQL. Each write puts its message for the view into the outbox in the same transaction."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Protocol

from sqlalchemy import BigInteger, Column, Row, Table, Text, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.preferences import Preferences, PreferenceScope, SavedPreferences, SavePreferences
from keyferry.contracts.routing_management import PREFERENCES_VIEW
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.database.tenant_isolation import as_service
from services.router.database import METADATA, RouterDatabase, RouterTransaction
from services.router.preferences.index import view_key

_LOCK = "preferences"
_preferences = Table(
    "preferences",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("scope_id", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("preferences", JSONB, nullable=False),
)
_ORDER = {scope: place for place, scope in enumerate(PreferenceScope)}

Check = Callable[[Sequence[SavedPreferences]], None]
"""Checks a change against what is saved; raises what the handlers expect."""


class RevisionChanged(Exception):
    """Somebody else has saved the scope in the meantime."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"revision {revision}")
        self.revision = revision
        """The one that is saved; 0 if nothing is."""


class PreferenceStore(Protocol):
    """The store as the handlers see it. Every method raises DatabaseUnavailable."""

    async def save(self, command: SavePreferences, check: Check) -> SavedPreferences:
        """Replace the preferences of one scope. Raises RevisionChanged, and what `check` raises."""

    async def relevant_to(self, tenant: str) -> list[SavedPreferences]:
        """Return what is saved for a tenant and for the platform, the broadest scope first."""


class PostgresPreferenceStore:
    """The implementation."""

    def __init__(self, database: RouterDatabase) -> None:
        self._database = database

    async def save(self, command: SavePreferences, check: Check) -> SavedPreferences:
        """Insert or update the row. Guards: a lock for all changes of preferences, and the expected revision if there is one.

        A scope that is cleared keeps its row, so that its revision goes on.
        """
        async with self._database.change() as transaction:
            connection = transaction.connection
            # A change is compared with other scopes, so no two may be made at the same time.
            await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(_LOCK, 0))))
            query = select(_preferences)
            if command.tenant != PLATFORM_TENANT:
                query = query.where(_preferences.c.tenant.in_((command.tenant, PLATFORM_TENANT)))
            # What the platform changes is compared with every tenant's preferences.
            async with as_service(connection) if command.tenant == PLATFORM_TENANT else nullcontext():
                stored = [_saved(row) for row in await connection.execute(query)]
            before = _find(stored, command)
            revision = before.revision if before is not None else 0
            if command.expected_revision not in (None, revision):
                raise RevisionChanged(revision)
            check(stored)
            saved = SavedPreferences(
                tenant=command.tenant,
                scope=command.scope,
                scope_id=command.scope_id,
                revision=revision + 1,
                preferences=Preferences.model_validate(command.preferences.model_dump()),
            )
            await self._write(transaction, saved)
            await _audit(transaction, command.actor, before, saved)
        return saved

    async def _write(self, transaction: RouterTransaction, saved: SavedPreferences) -> None:
        values = saved.model_dump(mode="json", exclude_none=True)
        statement = insert(_preferences).values(values)
        changed = {key: statement.excluded[key] for key in ("revision", "preferences")}
        await transaction.connection.execute(
            statement.on_conflict_do_update(index_elements=["tenant", "scope", "scope_id"], set_=changed)
        )
        await transaction.publish(PREFERENCES_VIEW, view_key(saved), saved.encode() if _says_anything(saved) else None)

    async def relevant_to(self, tenant: str) -> list[SavedPreferences]:
        """Read the table and not the view, so that operators see what was saved."""
        query = select(_preferences).where(_preferences.c.tenant.in_((tenant, PLATFORM_TENANT)))
        async with self._database.read() as connection:
            found = [_saved(row) for row in await connection.execute(query)]
        return sorted(found, key=lambda saved: (_ORDER[saved.scope], saved.scope_id))

    async def view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return the entries of the view by bucket name and key. Raises SQLAlchemyError, which the relay expects."""
        async with self._database.engine.connect() as connection:
            found = [_saved(row) for row in await connection.execute(select(_preferences))]
        return {PREFERENCES_VIEW.name: {view_key(saved): saved.encode() for saved in found if _says_anything(saved)}}


def _find(stored: Sequence[SavedPreferences], command: SavePreferences) -> SavedPreferences | None:
    wanted = (command.tenant, command.scope, command.scope_id)
    return next((each for each in stored if (each.tenant, each.scope, each.scope_id) == wanted), None)


def _says_anything(saved: SavedPreferences) -> bool:
    return bool(saved.preferences.model_dump(exclude_none=True))


def _saved(row: Row[tuple[object, ...]]) -> SavedPreferences:
    return SavedPreferences.model_validate(row._asdict())


async def _audit(
    transaction: RouterTransaction, actor: str, before: SavedPreferences | None, saved: SavedPreferences
) -> None:
    """Record the values that changed, from what to what."""
    old = before.preferences.model_dump(mode="json") if before is not None else {}
    new = saved.preferences.model_dump(mode="json")
    await transaction.audit(
        actor=actor,
        action="preferences.save",
        tenant=saved.tenant,
        target=f"{saved.scope}:{saved.scope_id}",
        details=describe_changes(old, new),
    )
