"""The tenant that this task works for, so that the database shows it no other tenant's rows.

`Bus.respond` enters the scope of the tenant that a request names. Every transaction that begins in it, on an engine of
`engine_for`, runs as the schema's tenant role (`keyferry.runtime.database.tenant_isolation`). Outside of a scope transactions run
as the service's own role, as ingestion, projections, sweeps and relays do. A task that is created in a scope stays in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_tenant: ContextVar[str | None] = ContextVar("tenant", default=None)


def scoped_tenant() -> str | None:
    """Return the tenant of the current scope; None where work is for all tenants."""
    return _tenant.get()


@contextmanager
def tenant_scope(tenant: str | None) -> Iterator[None]:
    """Work for one tenant until the end of the block; for all with None.

    Use None inside a scope only for a statement that cannot be answered from the tenant's own rows, and say why beside it.
    """
    token = _tenant.set(tenant)
    try:
        yield
    finally:
        _tenant.reset(token)
