"""The pools of connections to PostgreSQL of this process."""

from typing import Protocol
from weakref import WeakSet


class ConnectionPool(Protocol):
    """SQLAlchemy's pool, as far as it is counted."""

    def checkedout(self) -> int:
        """Return the connections in use."""

    def checkedin(self) -> int:
        """Return the idle connections."""


class ConnectionPools:
    """Every pool that is in use, for as long as its engine is."""

    def __init__(self) -> None:
        self._pools: WeakSet[ConnectionPool] = WeakSet()

    def add(self, pool: ConnectionPool) -> None:
        """Count the connections of a pool from now on."""
        self._pools.add(pool)

    def readings(self) -> dict[tuple[str, ...], float]:
        """Return the connections by state; nothing for a process without a database."""
        pools = list(self._pools)
        if not pools:
            return {}
        return {
            ("in_use",): sum(pool.checkedout() for pool in pools),
            ("idle",): sum(pool.checkedin() for pool in pools),
        }


POOLS = ConnectionPools()
"""Those of this process: engines are made in several places, and each is one of them."""
