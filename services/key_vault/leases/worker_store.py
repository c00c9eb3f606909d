"""The rows of the workers that are registered."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from keyferry.contracts.key import WorkerRegistration
from services.key_vault.database.tables import lease_nonces, workers
from services.key_vault.database.transaction import Transactions

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WorkerStore(Transactions):
    """The table `workers`. Every method raises DatabaseUnavailable."""

    async def register_worker(self, registration: WorkerRegistration) -> None:
        """Know a worker process from now on. Guard: none, the newest registration of a process counts.

        Forgets on the way what has run out by the vault's clock, the nonces of lease requests included.
        """
        values = {
            "registration": registration.model_dump(mode="json"),
            "not_after": _EPOCH + timedelta(milliseconds=registration.not_after_unix_ms),
            "registered_at": self._clock(),
        }
        statement = upsert(workers).values(
            worker_id=registration.worker_id, instance_id=registration.instance_id, **values
        )
        async with self._transaction() as connection:
            now = self._clock()
            await connection.execute(delete(workers).where(workers.c.not_after <= now))
            await connection.execute(delete(lease_nonces).where(lease_nonces.c.not_after <= now))
            await connection.execute(
                statement.on_conflict_do_update(index_elements=["worker_id", "instance_id"], set_=values)
            )

    async def workers(self, now: datetime) -> list[WorkerRegistration]:
        """Whose registration has not run out, the newest first."""
        query = select(workers.c.registration).where(workers.c.not_after > now).order_by(workers.c.registered_at.desc())
        async with self._transaction() as connection:
            return [WorkerRegistration.model_validate(found) for found in await connection.scalars(query)]

    async def worker(self, worker_id: str, instance_id: str) -> WorkerRegistration | None:
        """The registration of one worker process, run out or not."""
        query = select(workers.c.registration).where(
            workers.c.worker_id == worker_id, workers.c.instance_id == instance_id
        )
        async with self._transaction() as connection:
            found = await connection.scalar(query)
        return None if found is None else WorkerRegistration.model_validate(found)
