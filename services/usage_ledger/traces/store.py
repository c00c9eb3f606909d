"""What the ledger's tables have of a trace: the requests in it."""

from sqlalchemy import text

from keyferry.runtime.database.tenant_isolation import as_service
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.request_log.queries import select_ids

MAX_REQUESTS = 1000
"""Of one trace that are looked for."""
_BEGIN = "SET LOCAL statement_timeout = '10s'; SET LOCAL jit = off"


class TraceStore(TransactionalStore):
    """Requests by trace. Every method raises DatabaseUnavailable."""

    async def list_requests(self, tenant: str, trace_id: str) -> list[str]:
        """Return the ids of a tenant's requests in a trace, sorted, which is by time for ids that Keyferry made."""
        found: set[str] = set()
        async with self.snapshot() as connection:
            await connection.execute(text(_BEGIN))
            # The indexes by trace have expressions, which row-level security does not let a tenant's statement use.
            async with as_service(connection):
                for statement in select_ids(tenant, trace_id, None, MAX_REQUESTS):
                    found.update(await connection.scalars(statement))
        return sorted(found)
