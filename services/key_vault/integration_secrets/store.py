"""Integration secrets in PostgreSQL: each change is committed together with its audit event."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Text, delete, func, insert, literal, select, true, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.integration_secrets import IntegrationKind, IntegrationSecret
from services.key_vault.database.errors import Conflict
from services.key_vault.database.tables import (
    EncryptedRecord,
    integration_secret_leases,
    integration_secret_of,
    integration_secret_versions,
    integration_secrets,
    record_of,
)
from services.key_vault.database.transaction import VAULT, Act, Database, lock_tenant, require_data_key
from services.key_vault.integration_secrets.rules import check_new, check_replacement

SecretRecord = tuple[IntegrationSecret, EncryptedRecord]
"""A record with its secret at the record's own version, as it was encrypted."""
EXPIRE_ACTION = "integration_secret.expire"
KEEP_LEASES = timedelta(days=30)

_secrets = integration_secrets.c
_versions = integration_secret_versions.c
_leases = integration_secret_leases.c


class IntegrationSecretStore:
    """The tables of integration secrets. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_for_tenant(
        self, tenant: str, kind: IntegrationKind | None = None, secret_id: str | None = None
    ) -> list[IntegrationSecret]:
        """Return an owner's secrets in the order in which they were added, perhaps of one kind or id only."""
        async with self._database.transaction() as connection:
            return await _list(connection, tenant, kind, secret_id)

    async def insert(self, secret: IntegrationSecret, record: EncryptedRecord, act: Act) -> None:
        """Store a new secret. Guard: the owner's lock, under which `check_new` sees all that it has.

        Raises RequestRejected as that does, and Conflict where the owner's data keys were destroyed.
        """
        async with self._database.transaction() as connection:
            await lock_tenant(connection, secret.tenant)
            check_new(secret, await _list(connection, secret.tenant))
            values = secret.model_dump() | {"kind": secret.kind.value}
            await connection.execute(insert(integration_secrets).values(**values))
            await _insert_version(connection, secret, record)
            await self._database.write_audit(connection, act)

    async def rotate(
        self, before: IntegrationSecret, after: IntegrationSecret, record: EncryptedRecord, act: Act
    ) -> None:
        """Replace a secret that was read as `before`, and destroy all versions that are not valid any more.

        Guards: the owner's lock, and the version. Raises RequestRejected, and Conflict if it was changed meanwhile.
        """
        async with self._database.transaction() as connection:
            await lock_tenant(connection, after.tenant)
            check_replacement(before, after, await _list(connection, after.tenant))
            chosen = (_secrets.tenant == before.tenant) & (_secrets.secret_id == before.secret_id)
            changed = after.model_dump(
                include={"masked", "fingerprint", "version", "rotated_at", "rotated_by", "previous_until"}
            )
            statement = update(integration_secrets).where(chosen & (_secrets.version == before.version))
            if await connection.scalar(statement.values(**changed).returning(_secrets.secret_id)) is None:
                raise Conflict("the secret was rotated or removed meanwhile")
            await _insert_version(connection, after, record)
            kept = [after.version] if after.previous_until is None else [before.version, after.version]
            await _delete_versions(connection, after.secret_id, kept)
            await self._database.write_audit(connection, act)

    async def delete(self, secret: IntegrationSecret, act: Act) -> None:
        """Destroy a secret with all its versions. Raises Conflict where it is gone already."""
        chosen = (_secrets.tenant == secret.tenant) & (_secrets.secret_id == secret.secret_id)
        statement = delete(integration_secrets).where(chosen).returning(_secrets.secret_id)
        async with self._database.transaction() as connection:
            if await connection.scalar(statement) is None:
                raise Conflict("the secret was removed meanwhile")
            await self._database.write_audit(connection, act)

    async def lease(
        self, secret: IntegrationSecret, reader: str, instance_id: str, now: datetime, act: Act
    ) -> list[SecretRecord]:
        """Return the versions that are valid at `now`, the current one first; empty if the secret is gone.

        A version that this process has not read before is audited, which is committed on return.
        """
        chosen = (_secrets.tenant == secret.tenant) & (_secrets.secret_id == secret.secret_id)
        query = select(integration_secrets).where(chosen & (_secrets.kind == secret.kind.value))
        async with self._database.transaction() as connection:
            # The lock keeps a rotation out until the versions are read, so that they fit the row.
            row = (await connection.execute(query.with_for_update(read=True))).one_or_none()
            if row is None:
                return []
            found = await _valid_versions(connection, integration_secret_of(row), now)
            values = [
                {"secret_id": one.secret_id, "version": one.version, "reader": reader, "instance_id": instance_id}
                for one, _ in found
            ]
            fresh = await _record_leases(connection, values, now)
            if fresh:
                await self._database.write_audit(connection, act, versions=", ".join(map(str, fresh)))
            return found

    async def expire(self, now: datetime, limit: int) -> int:
        """Destroy the previous versions whose time is over at `now`, each with its audit event, and return how many.

        Guard: the rows are locked, and rows that another process has locked are skipped.
        """
        query = select(integration_secrets).where(_secrets.previous_until <= now).order_by(_secrets.previous_until)
        async with self._database.transaction() as connection:
            rows = await connection.execute(query.limit(limit).with_for_update(skip_locked=True))
            found = [integration_secret_of(row) for row in rows]
            for secret in found:
                chosen = update(integration_secrets).where(_secrets.secret_id == secret.secret_id)
                await connection.execute(chosen.values(previous_until=None))
                await _delete_versions(connection, secret.secret_id, [secret.version])
            for secret in found:
                details = {"kind": secret.kind.value, "destroyed": f"versions before {secret.version}"}
                act = Act(VAULT, EXPIRE_ACTION, secret.tenant, secret.secret_id, details=details)
                await self._database.write_audit(connection, act)
            await connection.execute(delete(integration_secret_leases).where(_leases.leased_at < now - KEEP_LEASES))
        return len(found)

    # --- for the whole vault: integrity, data keys

    async def list_after(
        self, last: tuple[str, int], limit: int, *, data_key_id: str | None = None, tenant: str | None = None
    ) -> list[SecretRecord]:
        """Return a page of all records by secret id and version; start after `("", 0)`. The others filter them."""
        query = select(integration_secrets, _versions.version.label("at"), _versions.data_key_id, _versions.record)
        query = query.join(integration_secret_versions).where(
            func.row(_versions.secret_id, _versions.version) > func.row(*last)
        )
        if data_key_id is not None:
            query = query.where(_versions.data_key_id == data_key_id)
        if tenant is not None:
            query = query.where(_secrets.tenant == tenant)
        async with self._database.transaction() as connection:
            rows = await connection.execute(query.order_by(_versions.secret_id, _versions.version).limit(limit))
            return [(_at(integration_secret_of(row), row.at), record_of(row)) for row in rows]

    async def list_first(self, data_key_ids: Collection[str], each: int) -> dict[str, list[SecretRecord]]:
        """Return up to `each` records under each of these data keys, by data key."""
        wanted = func.unnest(literal(list(data_key_ids), ARRAY(Text))).table_valued("data_key_id").render_derived()
        chosen = select(integration_secret_versions).where(_versions.data_key_id == wanted.c.data_key_id)
        first = chosen.order_by(_versions.secret_id, _versions.version).limit(each).lateral("first_versions")
        query = select(integration_secrets, first.c.version.label("at"), first.c.data_key_id, first.c.record)
        query = query.select_from(wanted).join(first, true())
        query = query.join(integration_secrets, _secrets.secret_id == first.c.secret_id)
        found: dict[str, list[SecretRecord]] = {}
        async with self._database.transaction() as connection:
            for row in await connection.execute(query.order_by(first.c.secret_id, first.c.version)):
                record = _at(integration_secret_of(row), row.at), record_of(row)
                found.setdefault(row.data_key_id, []).append(record)
        return found

    async def replace(self, secret: IntegrationSecret, before: EncryptedRecord, after: EncryptedRecord) -> bool:
        """Replace a record by another one of the same version; False where it is no longer there.

        Guard: the record still is `before`. Raises Conflict where the new data key was destroyed.
        """
        chosen = (_versions.secret_id == secret.secret_id) & (_versions.version == secret.version)
        statement = update(integration_secret_versions).where(chosen & (_versions.record == before.record))
        statement = statement.values(data_key_id=after.data_key_id, record=after.record)
        async with self._database.transaction() as connection:
            await lock_tenant(connection, secret.tenant)
            await require_data_key(connection, after.data_key_id)
            return await connection.scalar(statement.returning(_versions.secret_id)) is not None


async def _list(
    connection: AsyncConnection, tenant: str, kind: IntegrationKind | None = None, secret_id: str | None = None
) -> list[IntegrationSecret]:
    query = select(integration_secrets).where(_secrets.tenant == tenant)
    if kind is not None:
        query = query.where(_secrets.kind == kind.value)
    if secret_id is not None:
        query = query.where(_secrets.secret_id == secret_id)
    rows = await connection.execute(query.order_by(_secrets.created_at, _secrets.secret_id))
    return [integration_secret_of(row) for row in rows]


async def _valid_versions(connection: AsyncConnection, secret: IntegrationSecret, now: datetime) -> list[SecretRecord]:
    query = select(integration_secret_versions).where(_versions.secret_id == secret.secret_id)
    if secret.previous_until is None or secret.previous_until <= now:
        query = query.where(_versions.version == secret.version)
    rows = await connection.execute(query.order_by(_versions.version.desc()).limit(2))
    return [(_at(secret, row.version), record_of(row)) for row in rows]


async def _record_leases(connection: AsyncConnection, values: Sequence[dict[str, object]], now: datetime) -> list[int]:
    """Record who reads which versions, and return those that are new to this process."""
    rows = [{**one, "leased_at": now} for one in values]
    statement = upsert(integration_secret_leases).values(rows).on_conflict_do_nothing().returning(_leases.version)
    return [row.version for row in await connection.execute(statement)]


async def _insert_version(connection: AsyncConnection, secret: IntegrationSecret, record: EncryptedRecord) -> None:
    await require_data_key(connection, record.data_key_id)
    values = {"secret_id": secret.secret_id, "version": secret.version}
    values |= {"data_key_id": record.data_key_id, "record": record.record}
    await connection.execute(insert(integration_secret_versions).values(**values))


async def _delete_versions(connection: AsyncConnection, secret_id: str, kept: Collection[int]) -> None:
    chosen = (_versions.secret_id == secret_id) & _versions.version.not_in(list(kept))
    await connection.execute(delete(integration_secret_versions).where(chosen))


def _at(secret: IntegrationSecret, version: int) -> IntegrationSecret:
    return secret.model_copy(update={"version": version})
