"""Rows of registered worker processes."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from keyferry.contracts.lease import WorkerRegistration
from services.key_vault.database.tables import lease_nonces, workers
from services.key_vault.database.transaction import Database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WorkerStore:
    """The table `workers`. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, registration: WorkerRegistration) -> None:
        """Store the registration of a worker process. Guard: none, the newest one of a process wins.

        Expired registrations and nonces of lease requests are deleted on the way, by the vault's clock.
        """
        now = self._database.clock()
        values = {
            "registration": registration.model_dump(mode="json"),
            "not_after": _EPOCH + timedelta(milliseconds=registration.not_after_unix_ms),
            "registered_at": now,
        }
        statement = upsert(workers).values(
            worker_id=registration.worker_id, instance_id=registration.instance_id, **values
        )
        async with self._database.transaction() as connection:
            await connection.execute(delete(workers).where(workers.c.not_after <= now))
            await connection.execute(delete(lease_nonces).where(lease_nonces.c.not_after <= now))
            await connection.execute(
                statement.on_conflict_do_update(index_elements=["worker_id", "instance_id"], set_=values)
            )

    async def list_live(self, now: datetime) -> list[WorkerRegistration]:
        """Return the registrations that have not expired, the newest first."""
        query = select(workers.c.registration).where(workers.c.not_after > now).order_by(workers.c.registered_at.desc())
        async with self._database.transaction() as connection:
            return [WorkerRegistration.model_validate(found) for found in await connection.scalars(query)]

    async def get(self, worker_id: str, instance_id: str) -> WorkerRegistration | None:
        """Return the registration of one worker process, expired or not."""
        query = select(workers.c.registration).where(
            workers.c.worker_id == worker_id, workers.c.instance_id == instance_id
        )
        async with self._database.transaction() as connection:
            found = await connection.scalar(query)
        return None if found is None else WorkerRegistration.model_validate(found)
